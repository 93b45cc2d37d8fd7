"""The contract of rivals, which are no language models, and their kinds.

A `Rival` has a name and a `forecast`. `ChosenOnHistory` chooses its settings on each history,
`OwnDistribution` draws its own futures, and `EachByItself` does so for one variable at a time.
"""

from __future__ import annotations

import importlib.util
import sys
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lvlora.answers import Price
from lvlora.data.dataset import Dataset, FloatArray, Series
from lvlora.data.gaps import complete
from lvlora.data.periods import seasons, seasons_of, seasons_used, whole_season
from lvlora.forecast import workers
from lvlora.forecast.forecaster import (
    Forecast,
    Forecaster,
    Part,
    PlannedForecasts,
    Progress,
    times_ahead,
)
from lvlora.forecast.rivals.algebra import counting
from lvlora.forecast.rivals.futures import (
    astray,
    futures,
    guarded,
    origins,
    recent_origins,
    stream,
    surprise_of,
    widened,
)
from lvlora.forecast.rivals.standardising import Problem, Standardised, standardised
from lvlora.forecast.sampling import Sampling
from lvlora.settings.base import Season

GREEDY = Sampling(greedy=True)
_LOST = 4.0
"""Spreads beyond which an error is no worse."""
_N_BEST = 5
PointAndPast = tuple[FloatArray, list[FloatArray]]
"""(H, V) a forecast, and (T - n, V) hindcasts from the first n steps of a history."""


@dataclass(frozen=True)
class Prediction:
    """Forecast of a rival for one series."""

    point: FloatArray
    """(H, V) the one that point errors are taken of."""
    samples: FloatArray | None = None
    """(S, H, V) equally probable futures, if there are any."""
    flops: Price | None = None
    """Of its linear algebra, futures included; None where they are not counted."""

    def of_series(self, history: Series, time: FloatArray) -> Forecast:
        """Return it as a `Forecast`; without samples its point forecast is its only future."""
        return Forecast(
            series=history.id,
            time=time,
            samples=self.point[None] if self.samples is None else self.samples,
            scale=None,
            context=len(history),
            calendar=history.calendar,
            history=history,
            point=self.point,
        )


class Rival(Forecaster):
    """A forecaster that is not a language model: a name and a `forecast` of one series.

    It costs no FLOPs of a budget. Futures are drawn around the forecast by the errors of its
    hindcasts. Inside `workers.processes` several processes share the series of one that is slow.
    """

    kind = "rival"
    uses_known = False
    """It takes known columns for inputs; others never see them."""
    uses_season = False
    season: Season = "auto"
    """The rule for the season of one that has one."""
    speed = "slow"
    """"instant", "quick" or "slow": no time, some hundredths of a second a series, or more."""
    takes_part = True
    """In the ensemble; False for one that only chooses among others that do."""
    learns = False
    """From several series; whether it can decides its refusal."""
    learns_from: Dataset | None = None
    """Series to learn from; None: the histories that it forecasts."""
    max_samples = sys.maxsize
    """Last steps of a history that are used; older ones hardly weigh, but cost."""
    fewest = 0
    """Steps that some series must have."""
    package = ""
    """Of the extra ``rivals`` that it needs."""
    needs_positive = False

    @abstractmethod
    def forecast(self, time: FloatArray, history: FloatArray) -> FloatArray:
        """Return the future of one series, (H, V) finite.

        Args:
            time: (T + H,) times of history and horizon.
            history: (T, V) in original units, NaN where missing.
        """

    def refusal(self, dataset: Dataset) -> str:
        """Say why it cannot forecast such data, so that its row is left out; empty if it can."""
        if max((len(s) for s in dataset), default=self.fewest) < self.fewest:
            return f"it needs {self.fewest} steps of history"
        if self.needs_positive and any(np.any(s.values <= 0) for s in dataset):
            return "a value is not positive"
        if self.package and importlib.util.find_spec(self.package) is None:
            return f"{self.package} is not installed: pip install 'lvlora[rivals]'"
        return ""

    def fit(self, train: Dataset, horizon: int) -> None:
        """Learn from whole series, if it learns anything; called before `forecast`."""

    def hindcasts(
        self, time: FloatArray, history: FloatArray, known: FloatArray | None, at: Sequence[int]
    ) -> PointAndPast:
        """Return the forecast, and the same method's from the first steps of the history.

        Args:
            known: (T + H, K) columns whose future is known, None where there are none.
            at: numbers of first steps; a method that cannot be fitted has no hindcasts.
        """
        past = time[: len(history)]
        return self.forecast(time, history), [self.forecast(past, history[:n]) for n in at]

    def prediction(
        self,
        time: FloatArray,
        history: FloatArray,
        n_samples: int = 0,
        name: str = "",
        known: FloatArray | None = None,
    ) -> Prediction:
        """Return the forecast, futures drawn around it (0 for none), and their cost.

        Draws depend on the name of the series alone; for ``known`` see `hindcasts`.
        """
        start = max(0, len(history) - self.max_samples)
        recent = time[start:], history[start:], None if known is None else known[start:]
        with counting() as tally:
            at = origins(len(history) - start) if n_samples else []
            point, past = self.hindcasts(*recent, at)
        samples = None
        if n_samples:
            samples = futures(point, past, complete(time, history), history, n_samples, name)
        return Prediction(point, samples, tally.price if tally.price.executed else None)

    def period_used(self, period: float, n_steps: int) -> float:
        """Return the season that it takes from a period and so many steps; NaN for none."""
        return period

    def seasons_used(self, histories: Sequence[Series]) -> str:
        """Say which seasons it takes these histories to have; empty for one without a season."""
        if not self.uses_season:
            return ""
        periods = [(len(h), seasons_of(h, self.season)) for h in histories]
        return seasons_used([[self.period_used(p, n) for p in each] for n, each in periods])

    def for_points(self, sampling: Sampling) -> Sampling:
        """Return a sampling without futures, which no point forecast needs."""
        return GREEDY

    def __getstate__(self) -> dict[str, Any]:
        """Results of learning go to other processes, and `learns_from` does not."""
        return {**self.__dict__, "learns_from": None}

    def planned(
        self,
        histories: Sequence[Series],
        horizons: Sequence[int],
        sampling: Sampling,
        *,
        context: int | None = None,
        at_a_time: int | None = None,
    ) -> PlannedForecasts:
        """See `Forecaster.planned`; each history's forecast is finished by itself."""
        seen = [h.last_steps(context) for h in histories]
        ahead = [times_ahead(h, n) for h, n in zip(seen, horizons, strict=True)]
        n_samples = 0 if sampling.greedy else sampling.samples
        work = []  # arguments of `prediction`
        for h, t in zip(seen, ahead, strict=True):
            known = None if h.known is None else h.known[: len(h) + len(t)]
            work.append((np.concatenate([h.time, t]), h.values, n_samples, h.id, known))

        def parts(progress: Progress) -> Iterator[Part]:
            if not seen:
                return
            begin, data = time.perf_counter(), self.learns_from
            if data is None:
                data = Dataset(tuple(seen), tuple(f"v{i}" for i in range(seen[0].values.shape[1])))
            self.fit(data, max(map(len, ahead)))
            yield Part((), (), time.perf_counter() - begin)
            for at, prediction, seconds in _shared(self, work):
                forecast = prediction.of_series(seen[at], ahead[at])
                yield Part((at,), (forecast,), seconds, prediction.flops)
                progress(1)

        return PlannedForecasts(parts, len(seen))


def _shared(rival: Rival, work: Sequence[Any]) -> Iterator[tuple[int, Prediction, float]]:
    """Place in the work, prediction and seconds; shared once that is worth starting processes."""
    begin = time.perf_counter()
    for at, arguments in enumerate(work):
        spent = time.perf_counter() - begin
        if at and spent / at * (len(work) - at) > workers.WORTH_SECONDS:
            pieces = ((rival, place, work[place]) for place in range(at, len(work)))
            yield from workers.shared(_timed, pieces, in_order=False)
            return
        yield _timed(rival, at, arguments)


def _timed(rival: Rival, place: int, arguments: Any) -> tuple[int, Prediction, float]:
    begin = time.perf_counter()
    prediction = rival.prediction(*arguments)
    return place, prediction, time.perf_counter() - begin


class Refitted(Rival):
    """A rival that settles something on the whole history, which its `hindcasts` then use, too."""

    def forecast(self, time: FloatArray, history: FloatArray) -> FloatArray:
        return self.prediction(time, history).point


class ChosenOnHistory(Refitted):
    """A method with settings, which are chosen for each series by forecasting its own past.

    Each setting forecasts the last quarter of the standardised history from the rest. Its error is
    the mean absolute one, plus the share of its real forecast that the guard would cut: who is
    right about the past and then flies away was right by chance. The median of the five best,
    refitted to the whole history, is the forecast. A history of too few steps for any setting goes
    on as its last value.
    """

    max_samples = 400
    on_logs = True
    """Take logarithms of positive variables."""
    unit = True
    """Standardise variances as well."""
    even = True
    """The method takes steps for equal; uneven ones are made so."""
    trials: tuple[float, ...] = (0.75,)
    """Shares of the history from which its rest is forecast."""

    @abstractmethod
    def settings(self, n_known: int, n_variables: int, n_inputs: int) -> Sequence[Any]:
        """Settings that ``n_known`` steps and ``n_inputs`` known columns allow, plainest first."""

    @abstractmethod
    def continued(self, problem: Problem, settings: Sequence[Any]) -> FloatArray:
        """(C, H, V) the forecast with each of C settings; one that diverges may not be finite."""

    def hindcasts(
        self, time: FloatArray, history: FloatArray, known: FloatArray | None, at: Sequence[int]
    ) -> PointAndPast:
        """See `Rival.hindcasts`; hindcasts have the settings chosen for the whole history."""

        def part(time: FloatArray, n: int) -> Standardised:
            inputs = known[: len(time)] if self.uses_known and known is not None else None
            return standardised(time, history[:n], self.on_logs, self.unit, self.even, inputs)

        def ahead(of: Standardised) -> FloatArray:
            if not chosen:
                return np.repeat(of.filled[-1:], len(of.time_ahead), axis=0)
            levels = of.back(self.continued(of.problem, chosen))
            return np.asarray(np.median(guarded(levels, of.filled), axis=0))

        with np.errstate(all="ignore"):
            standard = part(time, len(history))
            chosen = self._chosen(standard)
            past = time[: len(history)]
            return ahead(standard), [ahead(part(past, n)) for n in at]

    def _chosen(self, of: Standardised) -> list[Any]:
        """The best settings; none where the history is too short for any."""
        problem = of.problem
        n_known, n_variables = problem.values.shape
        cuts = sorted({min(n, n_known - 1) for s in self.trials if (n := int(s * n_known)) >= 2})
        if not cuts:
            return []
        settings = list(self.settings(cuts[0], n_variables, problem.inputs.shape[1]))
        if len(settings) < 2:
            return settings
        spread = problem.values.std(axis=0)
        spread = np.where(spread > 0, spread, 1.0)
        errors = np.zeros(len(settings))
        for n in cuts:
            tried = self.continued(problem.cut(n), settings)
            gaps = np.abs(tried - problem.values[n:]) / spread
            gaps = np.where(np.isnan(gaps), _LOST, np.minimum(gaps, _LOST))
            known = problem.known[n:]
            errors += np.sum(gaps * known, axis=(1, 2)) / max(int(known.sum()), 1)
        errors += astray(of.back(self.continued(problem, settings)), of.filled)
        return [settings[i] for i in np.argsort(errors, kind="stable")[:_N_BEST]]


def grouped(settings: Sequence[Any], key: Callable[[Any], Any]) -> dict[Any, list[int]]:
    """Return the positions of the settings that share a key, the first key first."""
    groups: dict[Any, list[int]] = {}
    for i, setting in enumerate(settings):
        groups.setdefault(key(setting), []).append(i)
    return groups


class OwnDistribution(Refitted):
    """A method that draws its own futures, apart by what its hindcasts were surprised by.

    The history is standardised (`standardised`) and continued by the method; one that is too short
    goes on as its last value.
    """

    speed = "quick"
    max_samples = 300
    fewest = 8
    """Steps of a history without which it goes on as its last value."""
    on_logs = True
    """Take logarithms of positive variables."""
    unit = True
    """Standardise variances as well."""

    @abstractmethod
    def together(
        self, scaled: Standardised, seasons: list[int], n_samples: int, rng: np.random.Generator
    ) -> FloatArray | None:
        """(1 + n_samples, H, V) the standardised forecast and futures of all variables.

        None where the history is too short for the method. Seasons are of each variable in whole
        steps; 1 for none, or for a method without.
        """

    def prediction(
        self,
        time: FloatArray,
        history: FloatArray,
        n_samples: int = 0,
        name: str = "",
        known: FloatArray | None = None,
    ) -> Prediction:
        """See `Rival.prediction`; futures are of the method's own distribution."""
        start = max(0, len(history) - self.max_samples)
        time, history = time[start:], history[start:]
        paths = self.paths(time, history, n_samples, name)
        if not n_samples:
            return Prediction(paths[0])
        filled = complete(time, history)
        earlier, hindcasts = self.before(), []
        for n, n_ahead in recent_origins(len(history), len(paths[0])):
            part = earlier.paths(time[: n + n_ahead], history[:n], n_samples, name)
            hindcasts.append((history[n : n + n_ahead], part))
        surprise = surprise_of(hindcasts, bool(np.all(filled > 0)))
        return Prediction(paths[0], widened(paths[0], paths[1:], filled, surprise))

    def before(self) -> OwnDistribution:
        """Return the same method, as it was before the recent origins of its histories."""
        return self

    def paths(self, time: FloatArray, history: FloatArray, n_samples: int, name: str) -> FloatArray:
        """(1 + n_samples, H, V) the forecast of a history, and futures; guarded."""
        scaled = standardised(time, history, self.on_logs, self.unit)
        paths = None
        if len(history) >= self.fewest:
            periods = self.whole_seasons(time[: len(history)], scaled.filled)
            paths = self.together(scaled, periods, n_samples, stream(name))
        if paths is None:
            problem = scaled.problem
            paths = np.tile(problem.values[-1], (1 + n_samples, problem.n_ahead, 1))
        return guarded(scaled.back(paths), scaled.filled)

    def period_used(self, period: float, n_steps: int) -> float:
        """See `Rival.period_used`: whole steps, no more than `longest_season`."""
        steps = whole_season(period)
        return float(steps) if 2 <= steps <= self.longest_season(n_steps) else float("nan")

    def longest_season(self, n_steps: int) -> int:
        """Return the longest season that a history of so many steps shows."""
        return n_steps // 2

    def whole_seasons(self, time: FloatArray, filled: FloatArray) -> list[int]:
        """Return the season of each variable of a complete history in steps; 1 for none."""
        if not self.uses_season:
            return [1] * filled.shape[1]
        periods = seasons(time, filled, self.season).tolist()
        return [whole_season(self.period_used(period, len(filled))) for period in periods]


class Variable(NamedTuple):
    """One variable of a standardised history, to go on with."""

    values: FloatArray
    """(T,) of mean 0."""
    known: NDArray[np.bool_]
    """(T,) False where a value was missing."""
    centre: float
    """The mean that was taken off."""
    season: int
    """In whole steps, 1 for none or for a method without."""
    n_ahead: int


class EachByItself(OwnDistribution):
    """A method that continues each variable by itself; a constant one goes on as it is."""

    @abstractmethod
    def continued(self, of: Variable, n_samples: int, rng: np.random.Generator) -> FloatArray:
        """(1 + n_samples, H) the standardised forecast of a variable, and futures after it."""

    def together(
        self, scaled: Standardised, seasons: list[int], n_samples: int, rng: np.random.Generator
    ) -> FloatArray:
        problem = scaled.problem
        facts = problem.values.T, problem.known.T, scaled.centre.tolist(), seasons
        variables = [Variable(*of, problem.n_ahead) for of in zip(*facts, strict=True)]
        return np.stack(
            [
                self.continued(of, n_samples, rng)
                if np.ptp(of.values) > 0
                else np.full((1 + n_samples, of.n_ahead), of.values[-1])
                for of in variables
            ],
            axis=-1,
        )
