"""Each forecaster's row: forecasts of a task, how good they are, and what they took.

A forecast that is not finite is an error, never dropped.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from lvlora.answers import NOTHING, Price
from lvlora.data.dataset import Dataset, FloatArray, Series
from lvlora.data.metrics.measures import Difference, Interval
from lvlora.data.metrics.scores import Scores, score
from lvlora.evaluation.answers import ForecasterScores
from lvlora.evaluation.folder import Piece, Pieces
from lvlora.evaluation.protocol import Task
from lvlora.forecast import likelihood
from lvlora.forecast.ensemble import (
    KIND,
    N_HINDCASTS,
    NAME,
    Hindcasts,
    Origin,
    before,
    by_origin,
    origins,
    pooled,
    weights,
)
from lvlora.forecast.forecaster import Forecaster, Progress
from lvlora.forecast.language_model import LanguageModel, OutlinedModel
from lvlora.forecast.rivals import Prediction, Rival, RoundingFloor, default_rivals, rivals_for
from lvlora.forecast.sampling import Sampling
from lvlora.text.scaling import Scale, scale_for

_FUTURES_AT_A_TIME = 160
_UNKNOWN = -1.0
"""Stands for the NaN of a hindcast none of whose values is known, which JSON lacks."""
_SERIES_AT_A_TIME = 32
"""A killed evaluation repeats at most so much of a model's work; less would decode slower."""


@dataclass(frozen=True)
class Past:
    """Hindcasts of a forecaster.

    Attributes:
        losses: (n, W) `ensemble.loss` of W hindcasts, NaN where a history is too short.
        seconds: that it took; price: FLOPs where they are counted.
    """

    losses: FloatArray
    seconds: float = 0.0
    price: Price | None = None


@dataclass
class Entry:
    """One forecaster's row in the table.

    Attributes:
        kind: model, rival, floor (what rounding alone costs), foreign (of another program), or
            ensemble (of models and rivals).
        point: (n, H, V); samples: (n, S, H, V) or None.
        are_quantiles: the samples are no draws but a quantile function at even levels.
        seconds: all of its work, fitting included, added up over processes.
        price: FLOPs where they are counted: of a rival, those of its linear algebra.
        nll: of the truth, for a model.
        training_price: of the run that made its adapter; nothing for a model without one; None
            where nobody counted: a rival's, that of an adapter from elsewhere.
        calibrated_coverage: as ``scores.coverage``, of the calibrated intervals.
        per_cluster: name of a cluster of similar dynamics -> MAE of its series.
        against: name of a model -> this forecaster's MAE minus that model's, with its interval.
        skill: by how much its scaled errors are below those of `comparison.skill_baseline`;
            win_rate: against all others; None where there is nothing to compare with.
        past: its hindcasts, for the ensemble; weights: of the ensemble, name of a member -> mean.
        uses_known: it was given columns whose future is known.
        season: the steps of the season that it used; empty for one without.
    """

    name: str
    kind: str
    scores: Scores
    point: FloatArray
    samples: FloatArray | None = None
    seconds: float = 0.0
    price: Price | None = None
    nll: likelihood.Score | None = None
    training_price: Price | None = None
    calibrated_coverage: dict[float, float] = field(default_factory=dict)
    per_cluster: dict[str, float] = field(default_factory=dict)
    against: dict[str, Difference] = field(default_factory=dict)
    skill: Interval | None = None
    win_rate: Interval | None = None
    past: Past | None = None
    weights: dict[str, float] = field(default_factory=dict)
    uses_known: bool = False
    season: str = ""
    are_quantiles: bool = False

    @property
    def row(self) -> ForecasterScores:
        """Its row of the record: plain numbers."""
        scores, nll, price, training = self.scores, self.nll, self.price, self.training_price
        return ForecasterScores(
            name=self.name,
            kind=self.kind,
            **scores.errors.model_dump(),
            **scores.dynamics.errors.model_dump(),
            valid_by_step=scores.dynamics.valid_by_step.tolist(),
            uses_known=self.uses_known,
            season=self.season,
            weights=dict(self.weights),
            coverage=_by_level(scores.coverage),
            per_variable={name: of.tolist() for name, of in scores.per_variable.items()},
            per_step={name: of.tolist() for name, of in scores.per_step.items()},
            mae_by_step=scores.mae_by_step.tolist(),
            n_values=scores.n_values,
            nll=None if nll is None else nll.per_dimension,
            nll_possible=None if nll is None else nll.possible,
            nll_impossible=None if nll is None else nll.n_impossible,
            calibrated_coverage=_by_level(self.calibrated_coverage),
            per_cluster=dict(self.per_cluster),
            seconds=self.seconds,
            flops=None if price is None else price,
            training_flops=None if training is None else training,
            mae_minus=dict(self.against),
            skill=self.skill,
            win_rate=self.win_rate,
        )


def _by_level(shares: Mapping[float, float]) -> dict[str, float | None]:
    return {f"{level:g}": share for level, share in shares.items()}


def group_size(n_futures: int) -> int:
    """Series that are forecast together, with so many futures each."""
    return max(1, min(_SERIES_AT_A_TIME, _FUTURES_AT_A_TIME // n_futures))


class Scoring:
    """The forecasts of a task that one forecaster has yet to make.

    What is finished does not change how the others are grouped, so that an interrupted evaluation
    ends with the very numbers of one that was not: sums in a larger batch are rounded otherwise.

    Attributes:
        left: positions of the histories without a forecast.
        planned: their forecasts.
    """

    def __init__(
        self,
        forecaster: Forecaster,
        task: Task,
        sampling: Sampling,
        pieces: Pieces | None = None,
    ) -> None:
        """Plan them.

        Args:
            pieces: what is finished already, and where to keep what will be.
        """
        self.forecaster, self._given, self._sampling = forecaster, task, sampling
        self._pieces = Pieces() if pieces is None else pieces
        self.left = [i for i, name in enumerate(task.ids) if not self._pieces.has([name])]
        self.planned = forecaster.planned(
            [task.histories[i] for i in self.left],
            [task.protocol.horizon] * len(self.left),
            sampling,
            at_a_time=group_size(sampling.n_futures),
        )
        self.n_units = self.planned.n_units

    @property
    def price_bound(self) -> Price:
        """The most FLOPs that they can cost, likelihoods included."""
        price, forecaster = self.planned.price_bound, self.forecaster
        if isinstance(forecaster, OutlinedModel):
            for places in self.planned.places:
                price += likelihood.price(forecaster.plan, *self._at(places))
        return price

    def run(
        self, levels: Sequence[float], progress: Progress | None = None, *, name: str = ""
    ) -> Entry:
        """Make them; return the forecaster's row.

        Args:
            progress: called with the number of units that were finished.
            name: for the table, if not the forecaster's own.
        """
        task, forecaster = self._given, self.forecaster
        if self.left:
            self._pieces.begin()
        for part in self.planned.parts(progress):
            begin, nll, price = time.perf_counter(), None, part.price
            if isinstance(forecaster, LanguageModel):
                before = forecaster.usage.price
                nll = np.stack(
                    likelihood.negative_log_likelihood(forecaster, *self._at(part.places))
                )
                price = (price or NOTHING) + (forecaster.usage.price - before)
            forecasts, is_greedy = part.forecasts, self._sampling.greedy or not part.forecasts
            self._pieces.add(
                Piece(
                    series=tuple(task.ids[self.left[place]] for place in part.places),
                    point=np.stack([f.median for f in forecasts]) if forecasts else np.empty(0),
                    samples=None if is_greedy else np.stack([f.samples for f in forecasts]),
                    seconds=part.seconds + time.perf_counter() - begin,
                    price=price,
                    nll=nll,
                )
            )
        entry = _entry(name or forecaster.name, forecaster.kind, task, self._pieces, levels)
        entry.uses_known = task.has_known and forecaster.uses_known
        entry.season = forecaster.seasons_used(task.histories)
        return entry

    def _at(self, places: Sequence[int]) -> tuple[list[Series], list[Series]]:
        """Histories and futures at places of what is left."""
        task, chosen = self._given, [self.left[place] for place in places]
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
            floor = RoundingFloor(decimals, np.array(scale.divisors), np.array(scale.offsets))
            truth[:] = floor.of(truth)
    return Entry(RoundingFloor.name, "floor", score_of(task, point, None, levels), point)


def _entry(name: str, kind: str, task: Task, pieces: Pieces, levels: Sequence[float]) -> Entry:
    point, samples = pieces.in_order(task.ids)
    prices = [p.price for p in pieces.finished if p.price is not None]
    nll = pieces.nll(task.ids)
    return Entry(
        name,
        kind,
        score_of(task, point, samples, levels),
        point,
        samples,
        pieces.seconds,
        sum(prices, NOTHING) if prices else None,
        None if nll is None else likelihood.Score.of(nll),
    )


def score_of(
    task: Task,
    point: FloatArray,
    samples: FloatArray | None,
    levels: Sequence[float],
    *,
    fair: bool = True,
) -> Scores:
    """How good forecasts of a task are.

    Args:
        point: (n, H, V); samples: (n, S, H, V); fair: see `score`.
    """
    return score(
        task.truth,
        point,
        history=[h.values for h in task.clean],
        samples=samples,
        quantiles=levels,
        periods=task.periods,
        fair=fair,
    )


class Hindsight:
    """The hindcasts that a forecaster has yet to make, for the ensemble.

    Args:
        forecasters: one for each origin of a history; they may have learnt from different data.
        pieces: what is finished already, and where to keep what will be.
    """

    def __init__(
        self,
        forecasters: Sequence[Forecaster],
        task: Task,
        sampling: Sampling,
        pieces: Pieces | None = None,
    ) -> None:
        self._given, self._pieces = task, Pieces() if pieces is None else pieces
        self._planned = []
        self._from_origins = by_origin(task.histories, task.protocol.horizon)
        for forecaster, every in zip(forecasters, self._from_origins, strict=True):
            left = [origin for origin in every if not self._pieces.has([self._key(origin)])]
            self._planned.append(
                Hindcasts.plan(
                    forecaster,
                    task.histories,
                    left,
                    sampling,
                    at_a_time=group_size(sampling.n_futures),
                )
            )
        self.n_units = sum(hindcasts.planned.n_units for hindcasts in self._planned)
        self.price_bound = sum((h.planned.price_bound for h in self._planned), NOTHING)

    def run(self, progress: Progress | None = None) -> Past:
        """Make them; return how far all were off.

        Args:
            progress: called with the number of units that were finished.
        """
        task, pieces = self._given, self._pieces
        for hindcasts in self._planned:
            for part, of_part in hindcasts.losses(progress):
                losses = np.array(list(of_part.values()))
                pieces.add(
                    Piece(
                        tuple(map(self._key, of_part)),
                        np.where(np.isnan(losses), _UNKNOWN, losses)[:, None, None],
                        seconds=part.seconds,
                        price=part.price,
                    )
                )
        losses = np.full((len(task.ids), N_HINDCASTS), np.nan)
        for which, of_one in enumerate(self._from_origins):
            if of_one:
                values, _ = pieces.in_order([self._key(origin) for origin in of_one])
                places = [origin.place for origin in of_one]
                losses[places, which] = np.where(values[:, 0, 0] < 0, np.nan, values[:, 0, 0])
        prices = [p.price for p in pieces.finished if p.price is not None]
        return Past(losses, pieces.seconds, sum(prices, NOTHING) if prices else None)

    def _key(self, origin: Origin) -> str:
        return f"{origin.which} {self._given.ids[origin.place]}"


def learnable(task: Task, train: Dataset) -> list[Dataset]:
    """Return the series to learn from for each origin: nothing that is forecast from there.

    Args:
        train: the training part.
    """
    datasets = []
    for of_one in by_origin(task.histories, task.protocol.horizon):
        ends = {origin.place: origin.n_before for origin in of_one}
        seen = [before(h, ends.get(i, len(h))) for i, h in enumerate(task.histories)]
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
        n_steps = sum(n for _, n in origins(len(history), task.protocol.horizon))
        shares = weights(np.stack([past.losses[i] for _, past in members]), n_steps)
        mixed = pooled(predictions, shares, n_samples)
        point[i] = mixed.point
        samples.append(mixed.samples)
        every.append(shares)
    drawn = None if n_samples < 1 else np.stack([s for s in samples if s is not None])
    prices = [p for e, past in members for p in (e.price, past.price) if p is not None]
    mean = np.mean(every, axis=0)
    return Entry(
        NAME,
        KIND,
        score_of(task, point, drawn, levels),
        point,
        drawn,
        sum(e.seconds + past.seconds for e, past in members),
        sum(prices, NOTHING) if prices else None,
        weights={
            members[m][0].name: float(mean[m]) for m in np.argsort(-mean, kind="stable").tolist()
        },
    )
