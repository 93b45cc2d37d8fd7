"""The row of models and rivals together, each weighted by how well it forecasts a history's end.

What each makes of that end is worked out beside its forecasts, and kept like them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lvlora.evaluation.folder import Piece, Pieces
from lvlora.evaluation.protocol import Task
from lvlora.evaluation.scores import Entry, Past, group_size, score_of
from lvlora.flops.budget import NOTHING
from lvlora.forecast.ensemble import Hindcasts, Origin, before, by_origin
from lvlora.forecast.forecaster import Forecaster, Progress
from lvlora.forecast.sampling import Sampling
from lvlora.series import contest
from lvlora.series.dataset import Dataset
from lvlora.series.rivals import Prediction

NAME = "chosen on the history"
KIND = "combination"
_UNKNOWN = -1.0
"""Stands for NaN, which JSON lacks, where no value of a part is known."""


class Hindsight:
    """The ends of the histories that a forecaster has yet to forecast.

    Args:
        forecasters: one for each origin of a history; they may have learnt from different data.
        pieces: what is finished already, and where to keep what will be.
    """

    def __init__(
        self,
        forecasters: Sequence[Forecaster],
        given: Task,
        sampling: Sampling,
        pieces: Pieces | None = None,
    ) -> None:
        self._given, self._pieces = given, Pieces() if pieces is None else pieces
        self._planned = []
        for forecaster, every in zip(forecasters, by_origin(given.histories), strict=True):
            left = [origin for origin in every if not self._pieces.has([self._key(origin)])]
            self._planned.append(
                Hindcasts.plan(
                    forecaster,
                    given.histories,
                    left,
                    sampling,
                    at_a_time=group_size(sampling.n_futures),
                )
            )
        self.n_units = sum(hindcasts.planned.n_units for hindcasts in self._planned)
        self.price_bound = sum((h.planned.price_bound for h in self._planned), NOTHING)

    def run(self, progress: Progress | None = None) -> Past:
        """Forecast them; return how far all were off.

        Args:
            progress: called with the number of units that were finished.
        """
        given, pieces = self._given, self._pieces
        for hindcasts in self._planned:
            for origins, part in hindcasts.losses(progress):
                losses = np.array(list(map(hindcasts.loss, origins, part.forecasts)))
                pieces.add(
                    Piece(
                        tuple(map(self._key, origins)),
                        np.where(np.isnan(losses), _UNKNOWN, losses)[:, None, None],
                        seconds=part.seconds,
                        price=part.price,
                    )
                )
        losses = np.full((len(given.ids), len(contest.SHARES)), np.nan)
        for which, origins in enumerate(by_origin(given.histories)):
            if origins:
                values, _ = pieces.in_order([self._key(origin) for origin in origins])
                places = [origin.place for origin in origins]
                losses[places, which] = np.where(values[:, 0, 0] < 0, np.nan, values[:, 0, 0])
        prices = [p.price for p in pieces.finished if p.price is not None]
        return Past(losses, pieces.seconds, sum(prices, NOTHING) if prices else None)

    def _key(self, origin: Origin) -> str:
        return f"{origin.which} {self._given.ids[origin.place]}"


def learnable(given: Task, train: Dataset) -> list[Dataset]:
    """What may be learnt for each origin of the histories: nothing that is forecast from there.

    Args:
        train: the training part.
    """
    datasets = []
    for origins in by_origin(given.histories):
        ends = {origin.place: origin.n_before for origin in origins}
        seen = [before(h, ends.get(i, len(h))) for i, h in enumerate(given.histories)]
        datasets.append(replace(given, histories=seen).learnable(train))
    return datasets


def score_together(
    entries: Sequence[Entry], given: Task, levels: Sequence[float], n_samples: int
) -> Entry:
    """The row of all that have a past, with weights of its own for each series.

    Its seconds and FLOPs are those of all of them, the past included.

    Args:
        n_samples: futures of each series; 0 for none.
    """
    members = [(e, e.past) for e in entries if e.past is not None]
    point, samples = np.empty_like(given.truth), []
    for i in range(len(given.ids)):
        predictions = [
            Prediction(e.point[i], None if e.samples is None else e.samples[i]) for e, _ in members
        ]
        shares = contest.weights(np.stack([past.losses[i] for _, past in members]))
        found = contest.together(predictions, shares, n_samples)
        point[i] = found.point
        samples.append(found.samples)
    drawn = None if n_samples < 1 else np.stack([s for s in samples if s is not None])
    prices = [p for e, past in members for p in (e.price, past.price) if p is not None]
    return Entry(
        NAME,
        KIND,
        score_of(given, point, drawn, levels),
        point,
        drawn,
        sum(e.seconds + past.seconds for e, past in members),
        sum(prices, NOTHING) if prices else None,
    )
