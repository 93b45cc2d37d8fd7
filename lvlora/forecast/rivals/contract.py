"""Rivals: forecasters that are not language models, and what those share that are alike."""

from __future__ import annotations

import copy
import importlib.util
import sys
import time
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from lvlora.answers import Price
from lvlora.data.dataset import Dataset, FloatArray, Series
from lvlora.data.gaps import complete
from lvlora.data.known import known_so_far
from lvlora.data.seasons import seasons, seasons_of, seasons_used, whole_season
from lvlora.forecast import workers
from lvlora.forecast.even_steps import times_ahead
from lvlora.forecast.forecast import Forecast
from lvlora.forecast.forecaster import Forecaster, Part, PlannedForecasts, Progress
from lvlora.forecast.rivals.parts.algebra import counting
from lvlora.forecast.rivals.parts.futures import (
    futures,
    guarded,
    origins,
    recent_origins,
    stream,
    surprise_of,
    to_logs,
    widened,
)
from lvlora.forecast.rivals.parts.standardising import Standardised, standardised
from lvlora.forecast.sampling import Sampling
from lvlora.settings.base import Season

GREEDY = Sampling(greedy=True)
Work = tuple[FloatArray, FloatArray, int, str, FloatArray | None]
"""Arguments of `Rival.prediction` for a series."""


@dataclass(frozen=True)
class Prediction:
    """Forecast of a rival for one series.

    Attributes:
        point: (H, V) its forecast, the one that point errors are taken of.
        samples: (S, H, V) futures that it holds for equally probable; None where none were asked
            for.
        flops: of its linear algebra, futures included, in the conventions executed and
            coursework; None where they are not counted (see `parts.algebra`).
    """

    point: FloatArray
    samples: FloatArray | None = None
    flops: tuple[int, int] | None = None

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

    Attributes:
        uses_known: it takes known columns for inputs; others never see them.
        uses_season: it has a season where there is one; season: by which rule.
        speed: "instant", "quick" or "slow": no time, a few hundredths of a second a series, or
            more.
        takes_part: in the ensemble; False for one that only chooses among others that do.
        learns: from several series; whether it can decides its refusal.
        learns_from: series to learn from; None: the histories that it forecasts.
        max_samples: steps of a history that are used, the last ones: older ones hardly weigh, but
            cost.
        fewest: steps that some series must have; package: of the extra ``rivals`` that it needs;
            needs_positive: it refuses a value that is not positive.
    """

    kind = "rival"
    uses_known = False
    uses_season = False
    season: Season = "auto"
    speed = "slow"
    takes_part = True
    learns = False
    learns_from: Dataset | None = None
    max_samples = sys.maxsize
    fewest = 0
    package = ""
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
        self,
        time: FloatArray,
        history: FloatArray,
        known: FloatArray | None,
        origins: Sequence[int],
    ) -> tuple[FloatArray, list[FloatArray]]:
        """Return the forecast, and the same method's from some numbers of steps of the history.

        Args:
            known: (T + H, K) columns whose future is known, None where there are none.

        Returns:
            (H, V), and (T - origin, V) for each origin, or none at all.
        """
        past = time[: len(history)]
        return self.forecast(time, history), [self.forecast(past, history[:n]) for n in origins]

    def prediction(
        self,
        time: FloatArray,
        history: FloatArray,
        n_samples: int = 0,
        name: str = "",
        known: FloatArray | None = None,
    ) -> Prediction:
        """Return the forecast, futures drawn around it, and their cost.

        Args:
            time, history: as `forecast` has them; known: as `hindcasts`.
            n_samples: futures; 0 for none.
            name: of the series; the draws depend on it and on nothing else.
        """
        start = max(0, len(history) - self.max_samples)
        recent = time[start:], history[start:], None if known is None else known[start:]
        with counting() as tally:
            at = origins(len(history) - start) if n_samples else []
            point, past = self.hindcasts(*recent, at)
        samples = None
        if n_samples:
            samples = futures(point, past, complete(time, history), history, n_samples, name)
        return Prediction(point, samples, tally.total)

    def period_used(self, period: float, n_steps: int) -> float:
        """Return the season that it takes from a period and so many steps; NaN for none."""
        return period

    def seasons_used(self, histories: Sequence[Series]) -> str:
        """Say which seasons it takes these histories to have; empty for one without a season."""
        if not self.uses_season:
            return ""
        return seasons_used(
            [
                [self.period_used(p, len(h)) for p in seasons_of(h, self.season).tolist()]
                for h in histories
            ]
        )

    def for_points(self, sampling: Sampling) -> Sampling:
        """Return a sampling without futures, which no point forecast needs."""
        return GREEDY

    def learning_from(self, data: Dataset) -> Self:
        """Return the same rival, which learns from these series."""
        other = copy.copy(self)
        other.learns_from = data
        return other

    def __getstate__(self) -> dict[str, Any]:
        """What it has learnt goes to other processes, and not from what."""
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
        seen = [h.steps(max(0, len(h) - (context or len(h))), len(h)) for h in histories]
        ahead = [times_ahead(h, n) for h, n in zip(seen, horizons, strict=True)]
        n_samples = 0 if sampling.greedy else sampling.samples
        return PlannedForecasts(
            lambda progress: self._parts(seen, ahead, n_samples, progress), len(seen)
        )

    def _parts(
        self,
        histories: Sequence[Series],
        ahead: Sequence[FloatArray],
        n_samples: int,
        progress: Progress,
    ) -> Iterator[Part]:
        """Learn from the histories, then forecast each at its times ahead."""
        if not histories:
            return
        begin, data = time.perf_counter(), self.learns_from
        names = tuple(f"v{i}" for i in range(histories[0].values.shape[1]))
        self.fit(Dataset(tuple(histories), names) if data is None else data, max(map(len, ahead)))
        yield Part((), (), time.perf_counter() - begin)
        work = [
            (np.concatenate([h.time, t]), h.values, n_samples, h.id, known_so_far(h, len(t)))
            for h, t in zip(histories, ahead, strict=True)
        ]
        for at, prediction, seconds in predictions(self, work):
            price = None if prediction.flops is None else Price(*prediction.flops)
            yield Part((at,), (prediction.of_series(histories[at], ahead[at]),), seconds, price)
            progress(1)


def predictions(rival: Rival, work: Sequence[Work]) -> Iterator[tuple[int, Prediction, float]]:
    """Forecast all of it with a fitted rival; share it once that is worth starting processes.

    Yields:
        position in ``work``, prediction, and the seconds it took, as they are finished.
    """
    begin = time.perf_counter()
    for at, problem in enumerate(work):
        spent = time.perf_counter() - begin
        if at and spent / at * (len(work) - at) > workers.worth_seconds():
            pieces = ((rival, place, work[place]) for place in range(at, len(work)))
            yield from workers.shared(_timed, pieces, in_order=False)
            return
        yield _timed(rival, at, problem)


def _timed(rival: Rival, place: int, work: Work) -> tuple[int, Prediction, float]:
    begin = time.perf_counter()
    prediction = rival.prediction(*work)
    return place, prediction, time.perf_counter() - begin


class Refitted(Rival):
    """A rival that settles something on the whole history, which its `hindcasts` then use, too."""

    def forecast(self, time: FloatArray, history: FloatArray) -> FloatArray:
        """See `Rival.forecast`."""
        return self.prediction(time, history).point

    @abstractmethod
    def hindcasts(
        self,
        time: FloatArray,
        history: FloatArray,
        known: FloatArray | None,
        origins: Sequence[int],
    ) -> tuple[FloatArray, list[FloatArray]]:
        """See `Rival.hindcasts`."""


class OwnDistribution(Rival):
    """A method that says how sure it is.

    The history is standardised (`standardised`) and continued by the method; one that is too short
    goes on as its last value. The forecast is guarded (`guarded`).

    Attributes:
        fewest: steps of a history without which it is its last value.
        on_logs: take logarithms of positive variables; unit: standardise variances as well.
    """

    speed = "quick"
    max_samples = 300
    fewest = 8
    on_logs = True
    unit = True

    @abstractmethod
    def together(
        self, scaled: Standardised, seasons: list[int], n_samples: int, rng: np.random.Generator
    ) -> FloatArray | None:
        """(1 + n_samples, H, V) the standardised forecast and futures of all variables.

        Args:
            seasons: of each variable in whole steps; 1 for none, or for a method without.

        Returns:
            None where the history is too short for the method.
        """

    def forecast(self, time: FloatArray, history: FloatArray) -> FloatArray:
        """See `Rival.forecast`."""
        return self.prediction(time, history).point

    def prediction(
        self,
        time: FloatArray,
        history: FloatArray,
        n_samples: int = 0,
        name: str = "",
        known: FloatArray | None = None,
    ) -> Prediction:
        """See `Rival.prediction`; futures are of the method's own distribution.

        They are drawn apart by what its hindcasts were surprised by (`surprise_of`).
        """
        start = max(0, len(history) - self.max_samples)
        time, history = time[start:], history[start:]
        paths = self._paths(time, history, n_samples, name)
        if not n_samples:
            return Prediction(paths[0])
        filled = complete(time, history)
        earlier, hindcasts = self.before(), []
        for n, n_ahead in recent_origins(len(history), len(paths[0])):
            part = earlier._paths(time[: n + n_ahead], history[:n], n_samples, name)
            hindcasts.append((history[n : n + n_ahead], part))
        surprise = surprise_of(hindcasts, to_logs(filled)[1])
        return Prediction(paths[0], widened(paths[0], paths[1:], filled, surprise))

    def before(self) -> OwnDistribution:
        """Return the same method, as it was before the recent origins of its histories."""
        return self

    def _paths(
        self, time: FloatArray, history: FloatArray, n_samples: int, name: str
    ) -> FloatArray:
        """(1 + n_samples, H, V) the forecast of a history, and futures; guarded."""
        filled = complete(time, history)
        scaled = standardised(time, history, logs=self.on_logs, unit=self.unit)
        paths = None
        if len(history) >= self.fewest:
            periods = self.whole_seasons(time[: len(history)], filled)
            paths = self.together(scaled, periods, n_samples, stream(name))
        if paths is None:
            last = np.repeat(scaled.problem.values[-1:], scaled.problem.n_ahead, axis=0)
            paths = np.repeat(last[None], 1 + n_samples, axis=0)
        return guarded(scaled.back(paths), filled)

    def whole_seasons(self, time: FloatArray, filled: FloatArray) -> list[int]:
        """Return the season of each variable of a complete history in steps; 1 for none."""
        if not self.uses_season:
            return [1] * filled.shape[1]
        periods = seasons(time, filled, self.season).tolist()
        return [whole_season(self.period_used(period, len(filled))) for period in periods]


@dataclass(frozen=True)
class Variable:
    """One variable of a standardised history, to go on with.

    Attributes:
        values: (T,) of mean 0; centre: what was taken off.
        known: (T,) False where a value was missing.
        n_ahead: H; season: in whole steps, 1 for none or for a method without.
    """

    values: FloatArray
    centre: float
    known: NDArray[np.bool_]
    n_ahead: int
    season: int


class EachByItself(OwnDistribution):
    """A method that continues each variable by itself; a constant one goes on as it is."""

    @abstractmethod
    def continued(self, of: Variable, n_samples: int, rng: np.random.Generator) -> FloatArray:
        """(1 + n_samples, H) the standardised forecast of a variable, and futures after it."""

    def together(
        self, scaled: Standardised, seasons: list[int], n_samples: int, rng: np.random.Generator
    ) -> FloatArray:
        """See `OwnDistribution.together`."""
        problem, columns = scaled.problem, []
        for v, season in enumerate(seasons):
            values, centre = problem.values[:, v], float(scaled.centre[v])
            of = Variable(values, centre, problem.known[:, v], problem.n_ahead, season)
            if np.ptp(values) > 0:
                columns.append(self.continued(of, n_samples, rng))
            else:
                columns.append(np.full((1 + n_samples, problem.n_ahead), values[-1]))
        return np.stack(columns, axis=-1)
