"""Each forecaster's row: forecasts of a task, how good they are, and what they took.

A forecast that is not finite is an error, never dropped.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from lvlora.answers import NOTHING, Price
from lvlora.data.dataset import Dataset, FloatArray, Series
from lvlora.data.metrics.scores import score, series_errors
from lvlora.evaluation.answers import ForecasterScores
from lvlora.evaluation.folder import Piece, Pieces
from lvlora.evaluation.protocol import Task
from lvlora.forecast import likelihood
from lvlora.forecast.ensemble import (
    KIND,
    NAME,
    Hindcasts,
    by_origin,
    pooled,
    weights,
)
from lvlora.forecast.forecaster import Forecaster, Part, Progress
from lvlora.forecast.language_model import LanguageModel
from lvlora.forecast.plan import OutlinedModel
from lvlora.forecast.rivals import default_rivals, rivals_for
from lvlora.forecast.rivals.contract import Prediction, Rival
from lvlora.forecast.rivals.naive import ROUNDING_FLOOR, as_written
from lvlora.forecast.rivals.parts.futures import N_HINDCASTS, recent_origins
from lvlora.forecast.sampling import Sampling
from lvlora.text.scaling import Scale, scale_for

_FUTURES_AT_A_TIME = 160
_SERIES_AT_A_TIME = 32
"""A killed evaluation repeats at most so much of a model's work; less would decode slower."""


class Past(NamedTuple):
    """Hindcasts of a forecaster, for the ensemble."""

    losses: FloatArray
    """(n, W) `ensemble.loss` of W hindcasts, NaN where a history is too short."""
    seconds: float
    price: Price | None


@dataclass
class Entry:
    """A forecaster's row of the table, and the arrays that it is from.

    Attributes:
        row: plain numbers; comparisons are added to it, see `add`.
        series_mae, series_mase: (n,) of each history.
        point: (n, H, V); samples: (n, S, H, V) or None.
        past: its hindcasts, where it takes part in an ensemble.
    """

    row: ForecasterScores
    series_mae: FloatArray
    series_mase: FloatArray
    point: FloatArray
    samples: FloatArray | None
    past: Past | None = None

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
            kind: model, rival, floor (what rounding alone costs), or ensemble (of both).
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


class Hindsight(Hindcasts):
    """The hindcasts that a forecaster has yet to make of a task, for the ensemble.

    Args:
        forecasters: one for each origin of a history, see `learnable`.
        pieces: what is finished already, and where to keep what will be.
    """

    def __init__(
        self,
        forecasters: Sequence[Forecaster],
        task: Task,
        sampling: Sampling,
        pieces: Pieces | None = None,
    ) -> None:
        self._pieces = Pieces() if pieces is None else pieces
        histories, horizon = task.histories, task.protocol.horizon
        # the name of each in the pieces
        self._names = {
            origin: f"{origin.which} {task.ids[origin.place]}"
            for of_one in by_origin(histories, horizon)
            for origin in of_one
        }
        super().__init__(
            forecasters,
            histories,
            horizon,
            sampling,
            at_a_time=_group_size(sampling),
            finished={origin for origin, name in self._names.items() if name in self._pieces},
        )

    def run(self, progress: Progress | None = None) -> Past:
        """Make them; return how far all were off.

        Args:
            progress: called with the number of units that were finished.
        """
        pieces = self._pieces
        for part, of_part in self.losses(progress):
            names = tuple(self._names[origin] for origin in of_part)
            values = np.array(list(of_part.values()))
            pieces.add(Piece(names, values, seconds=part.seconds, price=part.price))
        losses = np.full((len(self._histories), N_HINDCASTS), np.nan)
        for origin, name in self._names.items():
            losses[origin.place, origin.which] = pieces.number(name)
        return Past(losses, pieces.seconds, pieces.price)


class Scoring:
    """The forecasts of a task that one forecaster has yet to make.

    What is finished does not change how the others are grouped, so that an interrupted evaluation
    ends with the very numbers of one that was not: sums in a larger batch are rounded otherwise.

    Attributes:
        unfinished: positions of the histories without a forecast.
        planned: their forecasts.
        n_units: to count progress by, hindcasts included.
    """

    def __init__(
        self,
        forecaster: Forecaster,
        task: Task,
        sampling: Sampling,
        pieces: Pieces | None = None,
        past: Hindsight | None = None,
    ) -> None:
        """Plan them.

        Args:
            pieces: what is finished already, and where to keep what will be.
            past: hindcasts for the ensemble.
        """
        self.forecaster, self._task, self._sampling, self._past = forecaster, task, sampling, past
        self._pieces = Pieces() if pieces is None else pieces
        self.unfinished = [i for i, name in enumerate(task.ids) if name not in self._pieces]
        self.planned = forecaster.planned(
            [task.histories[i] for i in self.unfinished],
            [task.protocol.horizon] * len(self.unfinished),
            sampling,
            at_a_time=_group_size(sampling),
        )
        self.n_units = self.planned.n_units + (past.n_units if past else 0)

    @property
    def price_bound(self) -> Price:
        """The most FLOPs that they can cost, likelihoods and hindcasts included."""
        price, forecaster = self.planned.price_bound, self.forecaster
        if isinstance(forecaster, OutlinedModel):
            for places in self.planned.places:
                price += likelihood.price(forecaster, *self._at(places))
        return price + self._past.price_bound if self._past else price

    def run(
        self, levels: Sequence[float], progress: Progress | None = None, *, name: str = ""
    ) -> Entry:
        """Make them; return the forecaster's row.

        Args:
            progress: called with the number of units that were finished.
            name: for the table, if not the forecaster's own.
        """
        task, forecaster = self._task, self.forecaster
        for part in self.planned.parts(progress):
            self._pieces.add(self._piece(part))
        point, samples, likelihoods = (
            self._pieces.stacked(array, task.ids) for array in ("point", "samples", "nll")
        )
        assert point is not None  # every piece has it
        entry = Entry.of(
            name or forecaster.name,
            forecaster.kind,
            task,
            point,
            samples,
            levels,
            nll=None if likelihoods is None else likelihood.Score.of(list(likelihoods)),
            seconds=self._pieces.seconds,
            flops=self._pieces.price,
            uses_known=task.has_known and forecaster.uses_known,
            season=forecaster.seasons_used(task.histories),
        )
        entry.past = self._past.run(progress) if self._past else None
        return entry

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


def _group_size(sampling: Sampling) -> int:
    """Return how many series are forecast together."""
    return max(1, min(_SERIES_AT_A_TIME, _FUTURES_AT_A_TIME // sampling.n_futures))


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


def learnable(task: Task, train: Dataset) -> list[Dataset]:
    """Return the series to learn from for each origin: nothing that is forecast from there.

    Args:
        train: the training part.
    """
    datasets = []
    for of_one in by_origin(task.histories, task.protocol.horizon):
        ends = {origin.place: origin.n_before for origin in of_one}
        seen = [h.steps(0, ends.get(i, len(h))) for i, h in enumerate(task.histories)]
        datasets.append(replace(task, histories=seen).learnable(train))
    return datasets


def score_ensemble(
    entries: Sequence[Entry], task: Task, levels: Sequence[float], n_samples: int
) -> Entry:
    """Return the row of all that have hindcasts, with weights of its own for each series.

    Its seconds and FLOPs are those of all of them, the hindcasts included.

    Args:
        n_samples: futures of each series; 0 for none.
    """
    members = [(e, e.past) for e in entries if e.past is not None]
    point, samples, every = np.empty_like(task.truth), [], []
    for i, history in enumerate(task.histories):
        predictions = [
            Prediction(e.point[i], None if e.samples is None else e.samples[i]) for e, _ in members
        ]
        n_steps = sum(n for _, n in recent_origins(len(history), task.protocol.horizon))
        shares = weights(np.stack([past.losses[i] for _, past in members]), n_steps)
        mixed = pooled(predictions, shares, n_samples)
        point[i] = mixed.point
        samples.append(mixed.samples)
        every.append(shares)
    drawn = None if n_samples < 1 else np.stack([s for s in samples if s is not None])
    prices = [p for e, past in members for p in (e.row.flops, past.price) if p is not None]
    mean = np.mean(every, axis=0)
    order = np.argsort(-mean, kind="stable").tolist()
    return Entry.of(
        NAME,
        KIND,
        task,
        point,
        drawn,
        levels,
        seconds=sum((e.row.seconds or 0.0) + past.seconds for e, past in members),
        flops=sum(prices, NOTHING) if prices else None,
        weights={members[m][0].row.name: float(mean[m]) for m in order},
    )
