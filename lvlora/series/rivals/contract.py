"""What a rival is, and the guard that keeps every rival's forecast within reason."""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from lvlora.series.dataset import Dataset, FloatArray
from lvlora.series.gaps import complete
from lvlora.settings.base import Season

KIND = "rival"
Speed = str
"""instant, quick or slow: no time, a few hundredths of a second a series, or more."""
GUARD_RANGES = 1.0
"""A forecast may leave the range of its history by this many widths of that range."""
_ORIGINS = (0.625, 0.75, 0.875)
"""Shares of a history after which the rest is forecast from it, to see how good that is."""


@dataclass(frozen=True)
class Prediction:
    """What a rival says of one series.

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
    """

    name: str
    kind: str
    uses_known: bool
    uses_season: bool
    season: Season
    speed: Speed
    takes_part: bool

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

    def beside(self, time: FloatArray, history: FloatArray, known: FloatArray | None) -> FloatArray:
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
            self.beside(time[:n_known], history[:n], first(known, n_known))
            for n in origins(n_known)
        ]
        return self.beside(time, history, known), past

    def predict(
        self,
        time: FloatArray,
        history: FloatArray,
        n_samples: int = 0,
        name: str = "",
        known: FloatArray | None = None,
    ) -> Prediction:
        """See `Rival.predict`; futures by `bootstrap.futures` of the errors of the hindcasts."""
        from lvlora.series.rivals.parts.bootstrap import futures
        from lvlora.series.rivals.parts.linear import counting

        with counting() as tally:
            if n_samples < 1:
                return Prediction(self.beside(time, history, known), None, tally.total)
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
        return self.beside(time, history, None)

    def beside(self, time: FloatArray, history: FloatArray, known: FloatArray | None) -> FloatArray:
        """See `Untrained.beside`."""
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


def missing_package(name: str) -> str:
    """Say how to install a package of the extra ``rivals``; empty where it is there."""
    here = importlib.util.find_spec(name) is not None
    return "" if here else f"{name} is not installed: pip install 'lvlora[rivals]'"


def first(known: FloatArray | None, n: int) -> FloatArray | None:
    """The first n steps of known columns, if there are any."""
    return None if known is None else known[:n]


def origins(n_known: int) -> list[int]:
    """Numbers of steps of a history of ``n_known`` after which its rest is forecast."""
    return sorted({n for share in _ORIGINS if 2 <= (n := round(share * n_known)) < n_known})


def guarded(forecast: FloatArray, history: FloatArray) -> FloatArray:
    """A forecast that cannot blow up.

    Each variable stays within the range of its complete history, widened by `GUARD_RANGES` times
    its width on both sides, and does not become negative if the history is not. What is not
    finite becomes the last value.

    Args:
        forecast: (..., H, V).
    """
    low, high = history.min(axis=0), history.max(axis=0)
    margin = GUARD_RANGES * (high - low)
    floor = np.where(low >= 0, np.maximum(low - margin, 0.0), low - margin)
    finite = np.where(np.isfinite(forecast), forecast, history[-1])
    bounded: FloatArray = np.clip(finite, floor, high + margin)
    return bounded


def to_logs(history: FloatArray) -> tuple[FloatArray, bool]:
    """The logarithms and True if every value is positive, else the values and False."""
    positive = bool(np.all(history > 0))
    return (np.log(history) if positive else history), positive
