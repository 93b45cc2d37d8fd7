"""Each forecaster's row: forecasts of a task, how good they are, and what they took.

A forecast that is not finite is an error, never dropped.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lvlora.answers import NOTHING, Price
from lvlora.data.dataset import Dataset, FloatArray, Series
from lvlora.data.metrics import score, series_errors
from lvlora.evaluation.answers import ForecasterScores
from lvlora.evaluation.folder import Piece, Pieces
from lvlora.evaluation.protocol import Task
from lvlora.forecast import likelihood
from lvlora.forecast.forecaster import Forecaster, Part, Progress
from lvlora.forecast.language_model import LanguageModel
from lvlora.forecast.plan import OutlinedModel
from lvlora.forecast.rivals import default_rivals, rivals_for
from lvlora.forecast.rivals.contract import Rival
from lvlora.forecast.rivals.naive import ROUNDING_FLOOR, as_written
from lvlora.forecast.sampling import Sampling
from lvlora.text.scaling import Scale, scale_for

_FUTURES_AT_A_TIME = 160
_SERIES_AT_A_TIME = 32
"""A killed evaluation repeats at most so much of a model's work; less would decode slower."""


@dataclass
class Entry:
    """A forecaster's row of the table, and the arrays that it is from.

    Attributes:
        row: plain numbers; comparisons are added to it, see `add`.
        series_mae, series_mase: (n,) of each history.
        point: (n, H, V); samples: (n, S, H, V) or None.
    """

    row: ForecasterScores
    series_mae: FloatArray
    series_mase: FloatArray
    point: FloatArray
    samples: FloatArray | None

    @classmethod
    def of(
        cls,
        name: str,
        kind: str,
        task: Task,
        point: FloatArray,
        samples: FloatArray | None,
        levels: Sequence[float],
        *,
        nll: likelihood.Score | None = None,
        **facts: Any,
    ) -> Entry:
        """Score forecasts of a task.

        Args:
            kind: model, rival, or floor: what rounding alone costs.
            facts: other keys of the row.
        """
        history = [h.values for h in task.histories]
        scores = score(
            task.truth,
            point,
            history=history,
            samples=samples,
            quantiles=levels,
            periods=task.periods,
        )
        row = {
            **dict.fromkeys(ForecasterScores.model_fields),
            **{key: {} for key in ("calibrated_coverage", "per_cluster", "mae_minus", "weights")},
            **{"uses_known": False, "season": "", "seconds": 0.0},
            **scores.model_dump(),
            **facts,
            **{"name": name, "kind": kind},
        }
        if nll is not None:
            row["nll"], row["nll_possible"] = nll.per_dimension, nll.possible
            row["nll_impossible"] = nll.n_impossible
        errors = series_errors(task.truth, point, history, task.periods)
        return cls(ForecasterScores(**row), *errors, point, samples)

    def add(self, **facts: Any) -> None:
        """Change keys of the row."""
        self.row = ForecasterScores(**{**dict(self.row), **facts})


class Scoring:
    """Forecasts of a task by one forecaster: planned and priced, then made and scored.

    An interrupted evaluation ends with the very numbers of one that was not: finished series do not
    change how the others are grouped, and sums in a larger batch are rounded otherwise.

    Args:
        pieces: series that are finished already, and the place of those to come.
        name: for the table and the progress; default: the forecaster's.

    Attributes:
        unfinished: positions of the histories without a forecast.
        planned: their forecasts.
    """

    def __init__(
        self,
        forecaster: Forecaster,
        task: Task,
        sampling: Sampling,
        pieces: Pieces | None = None,
        name: str = "",
    ) -> None:
        self.forecaster, self._task, self._sampling = forecaster, task, sampling
        self.name, self._pieces = name or forecaster.name, Pieces() if pieces is None else pieces
        self.unfinished = [i for i, name in enumerate(task.ids) if name not in self._pieces]
        self.planned = forecaster.planned(
            [task.histories[i] for i in self.unfinished],
            [task.protocol.horizon] * len(self.unfinished),
            sampling,
            at_a_time=max(1, min(_SERIES_AT_A_TIME, _FUTURES_AT_A_TIME // sampling.n_futures)),
        )

    @property
    def price_bound(self) -> Price:
        """The most FLOPs that the unfinished forecasts can cost, likelihoods included."""
        price, forecaster = self.planned.price_bound, self.forecaster
        if isinstance(forecaster, OutlinedModel):
            for places in self.planned.places:
                price += likelihood.price(forecaster, *self._at(places))
        return price

    def run(self, levels: Sequence[float], progress: Progress | None = None) -> Entry:
        """Make the forecasts; return the forecaster's row.

        Args:
            progress: called with the number of units that were finished.
        """
        task, forecaster = self._task, self.forecaster
        for part in self.planned.parts(progress):
            self._pieces.add(self._piece(part))
        point, samples, likelihoods = (
            self._pieces.stacked(array, task.ids) for array in ("point", "samples", "nll")
        )
        assert point is not None  # every piece has it
        has_known = any(h.known is not None for h in task.histories)
        return Entry.of(
            self.name,
            forecaster.kind,
            task,
            point,
            samples,
            levels,
            nll=None if likelihoods is None else likelihood.Score.of(list(likelihoods)),
            seconds=self._pieces.seconds,
            flops=self._pieces.price,
            uses_known=has_known and forecaster.uses_known,
            season=forecaster.seasons_used(task.histories),
        )

    def _piece(self, part: Part) -> Piece:
        """Return what is kept of finished forecasts; a model's likelihoods are worked out here."""
        begin, nll, price = time.perf_counter(), None, part.price
        if isinstance(self.forecaster, LanguageModel):
            before = self.forecaster.usage.price
            nll = np.stack(
                likelihood.negative_log_likelihood(self.forecaster, *self._at(part.places))
            )
            price = (price or NOTHING) + (self.forecaster.usage.price - before)
        forecasts = part.forecasts
        is_greedy = self._sampling.greedy or not forecasts
        return Piece(
            series=tuple(self._task.ids[self.unfinished[place]] for place in part.places),
            point=np.stack([f.median for f in forecasts]) if forecasts else np.empty(0),
            samples=None if is_greedy else np.stack([f.samples for f in forecasts]),
            seconds=part.seconds + time.perf_counter() - begin,
            price=price,
            nll=nll,
        )

    def _at(self, places: Sequence[int]) -> tuple[list[Series], list[Series]]:
        """Histories and futures at places among the unfinished."""
        task, chosen = self._task, [self.unfinished[place] for place in places]
        return [task.histories[i] for i in chosen], [task.futures[i] for i in chosen]


def rivals_of(task: Task, train: Dataset | None = None) -> tuple[list[Rival], str]:
    """Return new rivals that can forecast the histories, and a sentence about the others.

    Args:
        train: the training part, from which some learn.
    """
    seen = Dataset(tuple(task.histories), task.variables)
    learnt = None if train is None else task.learnable(train)
    return rivals_for(seen, every=default_rivals(task.season), learns_from=learnt)


def score_floor(
    task: Task, decimals: int, levels: Sequence[float], stored: Scale | None = None
) -> Entry:
    """Score the truth written with so many decimals.

    Args:
        stored: a model's scale; each history is read at it where it fits, else at its own.
    """
    point = task.truth.copy()
    for truth, history in zip(point, task.histories, strict=True):
        if np.isfinite(history.values).any():
            scale = scale_for(history, stored)
            divisors, offsets = np.array(scale.divisors), np.array(scale.offsets)
            truth[:] = as_written(truth, decimals, divisors, offsets)
    return Entry.of(ROUNDING_FLOOR, "floor", task, point, None, levels)
