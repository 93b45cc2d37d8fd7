"""Rivals: what each must say, and the bases of those that learn nothing beforehand."""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from lvlora.data.dataset import Dataset, FloatArray
from lvlora.data.gaps import complete
from lvlora.data.seasons import seasons, whole_season
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
from lvlora.settings.base import Season

KIND = "rival"
Speed = str
"""instant, quick or slow: no time, a few hundredths of a second a series, or more."""


@dataclass(frozen=True)
class Prediction:
    """Forecast of a rival for one series.

    Attributes:
        point: (H, V) its forecast, the one that point errors are taken of.
        samples: (S, H, V) futures that it holds for equally probable; None where none were asked
            for.
        flops: of its linear algebra, futures included, in the conventions executed and
            coursework; None where they are not counted (see `linear`).
    """

    point: FloatArray
    samples: FloatArray | None = None
    flops: tuple[int, int] | None = None


class Rival(Protocol):
    """A forecaster that is not a language model. The same input gives the same forecast.

    Attributes:
        name: what tables call it.
        kind: "rival", or "floor" for what no forecaster can beat.
        uses_known: it takes known columns for inputs; others never see them.
        uses_season: it has a season where there is one; season: by which rule.
        speed: about how long a forecast takes.
        takes_part: in `auto`; False for one that only chooses among others that do.
        learns: from several series; whether it can decides its refusal.
    """

    name: str
    kind: str
    uses_known: bool
    uses_season: bool
    season: Season
    speed: Speed
    takes_part: bool
    learns: bool

    def refusal(self, dataset: Dataset) -> str:
        """Say why it cannot forecast such data, so that its row is left out; empty if it can."""
        ...

    def period_used(self, period: float, n_steps: int) -> float:
        """The season that it takes from a variable's period and so many steps; NaN for none."""
        ...

    def fit(self, train: Dataset, context: int, horizon: int) -> None:
        """Learn from whole training series, if it learns anything; call it before `forecast`."""
        ...

    def forecast(self, time: FloatArray, history: FloatArray) -> FloatArray:
        """The future of one series.

        Args:
            time: (T + H,) times of history and horizon.
            history: (T, V) in original units, NaN where missing.

        Returns:
            (H, V) finite.
        """
        ...

    def predict(
        self,
        time: FloatArray,
        history: FloatArray,
        n_samples: int = 0,
        name: str = "",
        known: FloatArray | None = None,
    ) -> Prediction:
        """The same forecast, futures drawn around it, and what it cost.

        Args:
            n_samples: futures; 0 for none.
            name: of the series; the draws depend on it and on nothing else.
            known: (T + H, K) columns whose future is known, None where there are none.
        """
        ...


class Untrained(ABC):
    """The part of a rival that needs no training, forecasts any data and says how sure it is."""

    kind = KIND
    uses_known = False
    uses_season = False
    season: Season = "auto"
    speed: Speed = "slow"
    takes_part = True
    learns = False

    def refusal(self, dataset: Dataset) -> str:
        """See `Rival.refusal`: none."""
        return ""

    def period_used(self, period: float, n_steps: int) -> float:
        """The season that it takes from a variable's period and so many steps; NaN for none."""
        return period

    def fit(self, train: Dataset, context: int, horizon: int) -> None:  # noqa: B027
        """There is nothing to learn."""

    @abstractmethod
    def forecast(self, time: FloatArray, history: FloatArray) -> FloatArray:
        """See `Rival.forecast`."""

    def point_forecast(
        self, time: FloatArray, history: FloatArray, known: FloatArray | None
    ) -> FloatArray:
        """The forecast beside known columns, for who uses them."""
        return self.forecast(time, history)

    def with_hindcasts(
        self, time: FloatArray, history: FloatArray, known: FloatArray | None = None
    ) -> tuple[FloatArray, list[FloatArray]]:
        """The forecast, and what the same method makes of the history's own later parts.

        Returns:
            (H, V), and (T - origin, V) for each of some origins.
        """
        n_known = len(history)
        past = [
            self.point_forecast(time[:n_known], history[:n], first(known, n_known))
            for n in origins(n_known)
        ]
        return self.point_forecast(time, history, known), past

    def predict(
        self,
        time: FloatArray,
        history: FloatArray,
        n_samples: int = 0,
        name: str = "",
        known: FloatArray | None = None,
    ) -> Prediction:
        """See `Rival.predict`; futures by `futures` of the errors of the hindcasts."""
        with counting() as tally:
            if n_samples < 1:
                return Prediction(self.point_forecast(time, history, known), None, tally.total)
            point, past = self.with_hindcasts(time, history, known)
        filled = complete(time, history)
        drawn = futures(point, past, filled, history, n_samples, name)
        return Prediction(point, drawn, tally.total)


class Refitted(Untrained):
    """A rival that settles something on the whole history, which its hindcasts then use as well.

    Attributes:
        max_samples: of the history that are used, the last ones: what is older hardly weighs, but
            costs.
    """

    max_samples: int

    @abstractmethod
    def refit(
        self,
        time: FloatArray,
        history: FloatArray,
        origins: Sequence[int],
        known: FloatArray | None = None,
    ) -> tuple[FloatArray, list[FloatArray]]:
        """The forecast, and hindcasts from these numbers of steps of the history.

        Args:
            time: (T + H,); history: (T, V) with its gaps, T at most `max_samples`.
            known: (T + H, K) or None; who does not use known columns does not look at it.

        Returns:
            (H, V), and (T - origin, V) for each origin, or none at all.
        """

    def forecast(self, time: FloatArray, history: FloatArray) -> FloatArray:
        """See `Rival.forecast`."""
        return self.point_forecast(time, history, None)

    def point_forecast(
        self, time: FloatArray, history: FloatArray, known: FloatArray | None
    ) -> FloatArray:
        """See `Untrained.point_forecast`."""
        time, history, known = self._recent(time, history, known)
        return self.refit(time, history, (), known)[0]

    def with_hindcasts(
        self, time: FloatArray, history: FloatArray, known: FloatArray | None = None
    ) -> tuple[FloatArray, list[FloatArray]]:
        """See `Untrained.with_hindcasts`."""
        time, history, known = self._recent(time, history, known)
        return self.refit(time, history, origins(len(history)), known)

    def _recent(
        self, time: FloatArray, history: FloatArray, known: FloatArray | None
    ) -> tuple[FloatArray, FloatArray, FloatArray | None]:
        start = max(0, len(history) - self.max_samples)
        return time[start:], history[start:], None if known is None else known[start:]


class OwnDistribution(Untrained):
    """A method that says how sure it is.

    The history is standardised (`standardised`) and continued by the method; one that is too short
    goes on as its last value. The forecast is guarded (`guarded`).

    Attributes:
        max_samples: of the history that are used, the last ones.
        fewest: steps of a history without which it is its last value.
        on_logs: take logarithms of positive variables; unit: standardise variances as well.
    """

    speed = "quick"
    max_samples = 300
    fewest = 8
    on_logs = True
    unit = True

    def refusal(self, dataset: Dataset) -> str:
        """See `Rival.refusal`: every series is too short."""
        longest = max((len(s) for s in dataset), default=self.fewest)
        return f"it needs {self.fewest} steps of history" if longest < self.fewest else ""

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
        return self.predict(time, history).point

    def predict(
        self,
        time: FloatArray,
        history: FloatArray,
        n_samples: int = 0,
        name: str = "",
        known: FloatArray | None = None,
    ) -> Prediction:
        """See `Rival.predict`; futures are of the method's own distribution.

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
            periods = self.seasons_of(time[: len(history)], filled)
            paths = self.together(scaled, periods, n_samples, stream(name))
        if paths is None:
            last = np.repeat(scaled.problem.values[-1:], scaled.problem.n_ahead, axis=0)
            paths = np.repeat(last[None], 1 + n_samples, axis=0)
        return guarded(scaled.back(paths), filled)

    def seasons_of(self, time: FloatArray, filled: FloatArray) -> list[int]:
        """The season of each variable of a complete history in whole steps; 1 for none."""
        if not self.uses_season:
            return [1] * filled.shape[1]
        periods = seasons(time, filled, self.season).tolist()
        return [whole_season(self.period_used(period, len(filled))) for period in periods]


class EachByItself(OwnDistribution):
    """A method that continues each variable by itself; a constant one goes on as it is."""

    @abstractmethod
    def continued(
        self,
        scaled: Standardised,
        variable: int,
        season: int,
        n_samples: int,
        rng: np.random.Generator,
    ) -> FloatArray:
        """(1 + n_samples, H) the standardised forecast of one variable, and futures after it.

        Args:
            season: in whole steps; 1 for none, or for a method without.
        """

    def together(
        self, scaled: Standardised, seasons: list[int], n_samples: int, rng: np.random.Generator
    ) -> FloatArray:
        """See `OwnDistribution.together`."""
        problem = scaled.problem
        columns = [
            self.continued(scaled, v, season, n_samples, rng)
            if np.ptp(problem.values[:, v]) > 0
            else np.full((1 + n_samples, problem.n_ahead), problem.values[-1, v])
            for v, season in enumerate(seasons)
        ]
        return np.stack(columns, axis=-1)


def missing_package(name: str) -> str:
    """Say how to install a package of the extra ``rivals``; empty where it is there."""
    here = importlib.util.find_spec(name) is not None
    return "" if here else f"{name} is not installed: pip install 'lvlora[rivals]'"


def first(known: FloatArray | None, n: int) -> FloatArray | None:
    """The first n steps of known columns, if there are any."""
    return None if known is None else known[:n]
