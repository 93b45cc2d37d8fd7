"""Each forecaster's row: forecasts of a task, how good they are, and what they took.

A forecast that is not finite is an error, never dropped.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lvlora.evaluation import answers
from lvlora.evaluation.folder import Piece, Pieces
from lvlora.evaluation.foreign import KIND, ForeignForecasts
from lvlora.evaluation.protocol import Task
from lvlora.flops.budget import NOTHING, Price
from lvlora.forecast import likelihood
from lvlora.forecast.forecaster import Forecaster
from lvlora.forecast.plan import Plan
from lvlora.forecast.sampling import Sampling
from lvlora.series.dataset import Dataset, FloatArray
from lvlora.series.known import known_so_far
from lvlora.series.metrics.scores import Scores, score
from lvlora.series.metrics.skill import Interval
from lvlora.series.rivals import Rival, RoundingFloor, default_rivals, rivals_for
from lvlora.series.rivals.processes import RivalProcesses
from lvlora.series.seasons import seasons_of, seasons_used
from lvlora.text.scaling import Scale, scale_for

Progress = Callable[[int], None]

_FUTURES_AT_A_TIME = 160
_SERIES_AT_A_TIME = 32
"""A killed evaluation repeats at most so much of a model's work; less would decode slower."""


@dataclass(frozen=True)
class Difference:
    """A mean over series, and its 95 % interval.

    Attributes:
        low, high: NaN where there are too few series for an interval.
    """

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Past:
    """What a forecaster makes of the ends of the histories, from earlier origins.

    Attributes:
        losses: (n, W) `contest.loss` from W origins, NaN where a history is too short.
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
            combination (of models and rivals).
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
        skill: by how much its scaled errors are below seasonal naive's; win_rate: against all
            others; None where there is nothing to compare with.
        past: for a forecast of all together.
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
    uses_known: bool = False
    season: str = ""
    are_quantiles: bool = False

    def __repr__(self) -> str:
        return f"Entry({self.name!r}, {self.kind}: MAE {self.scores.errors.mae:.4g})"

    @property
    def row(self) -> answers.ForecasterScores:
        """What a table and JSON say of it."""
        scores, nll, price, training = self.scores, self.nll, self.price, self.training_price
        return answers.ForecasterScores(
            name=self.name,
            kind=self.kind,
            **scores.errors.model_dump(),
            **scores.dynamics.errors.model_dump(),
            valid_by_step=scores.dynamics.valid_by_step.tolist(),
            uses_known=self.uses_known,
            season=self.season,
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
            flops=None if price is None else price.as_answer(),
            training_flops=None if training is None else training.as_answer(),
            mae_minus={
                name: answers.Difference(mean=gap.mean, low=gap.low, high=gap.high)
                for name, gap in self.against.items()
            },
            skill=_interval(self.skill),
            win_rate=_interval(self.win_rate),
        )

    def to_dict(self) -> dict[str, Any]:
        """Its row in ``lvlora evaluate --json``."""
        return self.row.model_dump(mode="json")


def _by_level(shares: Mapping[float, float]) -> dict[str, float | None]:
    return {f"{level:g}": share for level, share in shares.items()}


def _interval(found: Interval | None) -> answers.Interval | None:
    if found is None:
        return None
    return answers.Interval(value=found.value, low=found.low, high=found.high)


def group_size(n_futures: int) -> int:
    """Series that are forecast together, with so many futures each."""
    return max(1, min(_SERIES_AT_A_TIME, _FUTURES_AT_A_TIME // n_futures))


def unfinished(given: Task, pieces: Pieces, n_futures: int) -> list[list[int]]:
    """Positions of the series that a model has yet to forecast, in the groups it does them in.

    The groups do not depend on what is finished, so that an interrupted evaluation ends with the
    very numbers of one that was not: sums in a larger batch are rounded otherwise.

    Args:
        n_futures: of each series.
    """
    n = len(given.histories)
    size = group_size(n_futures)
    groups = [list(range(n))[i : i + size] for i in range(0, n, size)]
    return [g for g in groups if not pieces.has([given.ids[i] for i in g])]


def score_model(
    forecaster: Forecaster,
    given: Task,
    sampling: Sampling,
    levels: Sequence[float],
    pieces: Pieces | None = None,
    progress: Progress | None = None,
    *,
    name: str = "",
) -> Entry:
    """The language model: point forecast is the median of its samples.

    Args:
        pieces: what is finished already, and where to keep what will be.
        progress: told how many futures were finished.
        name: for the table, if not the forecaster's own.
    """
    pieces = Pieces() if pieces is None else pieces
    for group in unfinished(given, pieces, sampling.n_futures):
        pieces.begin()
        begin, before = time.perf_counter(), forecaster.usage.price
        forecasts = forecaster.predict(
            [given.histories[i] for i in group], given.protocol.horizon, sampling, progress=progress
        )
        nll = likelihood.negative_log_likelihood(
            forecaster, [given.histories[i] for i in group], [given.futures[i] for i in group]
        )
        pieces.add(
            Piece(
                series=tuple(given.ids[i] for i in group),
                point=np.stack([f.median for f in forecasts]),
                samples=None if sampling.greedy else np.stack([f.samples for f in forecasts]),
                seconds=time.perf_counter() - begin,
                price=forecaster.usage.price - before,
                nll=np.stack(nll),
            )
        )
    entry = _entry(name or forecaster.name, "model", given, pieces, levels)
    entry.uses_known = given.has_known
    return entry


def at_most(plan: Plan, given: Task, pieces: Pieces, sampling: Sampling) -> Price:
    """The most that `score_model` can cost with a forecaster of this plan."""
    groups = unfinished(given, pieces, sampling.n_futures)
    asked = [given.histories[i] for group in groups for i in group]
    price = plan.at_most(asked, given.protocol.horizon, sampling)
    for group in groups:
        price += likelihood.price(
            plan, [given.histories[i] for i in group], [given.futures[i] for i in group]
        )
    return price


def rivals_of(given: Task) -> tuple[list[Rival], str]:
    """New rivals that can forecast the histories, and a sentence about the others."""
    seen = Dataset(tuple(given.histories), given.variables)
    return rivals_for(seen, every=default_rivals(given.season))


def score_rival(
    rival: Rival,
    given: Task,
    train: Dataset,
    levels: Sequence[float],
    pieces: Pieces | None = None,
    progress: Progress | None = None,
    processes: RivalProcesses | None = None,
    n_samples: int = 0,
) -> Entry:
    """A rival: fitted on the training part where it learns from one, then series by series.

    Its point forecast is its own, not the median of its samples.
    Of series of the training part that are scored it learns from the histories alone.

    Args:
        n_samples: futures of each series, for CRPS and coverage; 0 for none.
        pieces: what is finished already, and where to keep what will be.
        progress: told how many series were finished.
        processes: who shares the work where it is slow; None does it all here.
    """
    pieces = Pieces() if pieces is None else pieces
    left = [i for i, name in enumerate(given.ids) if not pieces.has([name])]
    if left:
        pieces.begin()
        begin = time.perf_counter()
        rival.fit(
            given.learnable(train),
            given.context,
            given.protocol.horizon,
        )
        pieces.add(Piece((), np.empty(0), seconds=time.perf_counter() - begin))
        moments = [np.concatenate([given.histories[i].time, given.futures[i].time]) for i in left]
        work = [
            (
                t,
                given.histories[i].values,
                n_samples,
                given.ids[i],
                known_so_far(given.histories[i], given.protocol.horizon),
            )
            for t, i in zip(moments, left, strict=True)
        ]
        for at, found, seconds in (processes or RivalProcesses(1)).predictions(rival, work):
            pieces.add(
                Piece(
                    series=(given.ids[left[at]],),
                    point=found.point[None],
                    samples=None if found.samples is None else found.samples[None],
                    seconds=seconds,
                    price=None if found.flops is None else Price(*found.flops),
                )
            )
            if progress is not None:
                progress(1)
    entry = _entry(rival.name, rival.kind, given, pieces, levels)
    entry.uses_known = given.has_known and rival.uses_known
    if rival.uses_season:
        entry.season = seasons_used(
            [
                [rival.period_used(p, len(h)) for p in seasons_of(h, rival.season).tolist()]
                for h in given.histories
            ]
        )
    return entry


def score_floor(
    given: Task, decimals: int, levels: Sequence[float], stored: Scale | None = None
) -> Entry:
    """What writing the truth with so many decimals would cost.

    Args:
        stored: a model's scale; each history is read at it where it fits, else at its own.
    """
    point = given.truth.copy()
    for truth, history in zip(point, given.histories, strict=True):
        if np.isfinite(history.values).any():
            scale = scale_for(history, stored)
            floor = RoundingFloor(decimals, np.array(scale.divisors), np.array(scale.offsets))
            truth[:] = floor.of(truth)
    return Entry("rounding floor", "floor", score_of(given, point, None, levels), point)


def score_foreign(found: ForeignForecasts, given: Task, levels: Sequence[float]) -> Entry:
    """Another program's forecasts; what they took is not known."""
    scores = score_of(given, found.point, found.samples, levels, fair=not found.are_quantiles)
    return Entry(
        found.name,
        KIND,
        scores,
        found.point,
        found.samples,
        math.nan,
        are_quantiles=found.are_quantiles,
    )


def _entry(name: str, kind: str, given: Task, pieces: Pieces, levels: Sequence[float]) -> Entry:
    point, samples = pieces.in_order(given.ids)
    prices = [p.price for p in pieces.finished if p.price is not None]
    nll = pieces.nll(given.ids)
    return Entry(
        name,
        kind,
        score_of(given, point, samples, levels),
        point,
        samples,
        pieces.seconds,
        sum(prices, NOTHING) if prices else None,
        None if nll is None else likelihood.Score.of(nll),
    )


def score_of(
    given: Task,
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
        given.truth,
        point,
        history=[h.values for h in given.clean],
        samples=samples,
        quantiles=levels,
        periods=given.periods,
        fair=fair,
    )
