"""A forecaster: whoever says what comes after histories, at a price that is bounded before.

The language model is one (`language_model`), each rival is one (`rivals`), and so is the ensemble
(`ensemble`). Forecasts, hindcasts, scores and prices are worked out in the same way of all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lvlora.answers import NOTHING, Price
from lvlora.data.dataset import Dataset, Series
from lvlora.data.frames import to_dataset
from lvlora.errors import SettingsError
from lvlora.forecast.answers import EnsembleMember
from lvlora.forecast.forecast import Forecast
from lvlora.forecast.reading import Reading
from lvlora.forecast.sampling import Sampling
from lvlora.forecast.settings import LONGEST_HORIZON
from lvlora.settings.checked import check_count

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Part:
    """Forecasts that were finished together.

    Attributes:
        places: of their histories; none where something was learnt for all.
        forecasts: one for each place.
        seconds: of work, summed over processes; price: FLOPs where they are counted.
        members: of an ensemble, the greatest weight first.
    """

    places: Sequence[int]
    forecasts: Sequence[Forecast]
    seconds: float
    price: Price | None = None
    members: Sequence[EnsembleMember] = ()


@dataclass(frozen=True)
class PlannedForecasts:
    """Forecasts that are planned and priced, and not yet made.

    Attributes:
        make: makes them, and yields each part once it is finished; its argument is called with
            the number of units that were.
        n_units: to count progress by.
        price_bound: the most FLOPs that they can cost.
        places: histories whose forecasts a language model finishes together; none for others.
        readings: how a language model reads each history at its own scale; none for others.
    """

    make: Callable[[Progress], Iterator[Part]]
    n_units: int
    price_bound: Price = NOTHING
    places: Sequence[Sequence[int]] = ()
    readings: Sequence[Sequence[Reading]] = ()

    def parts(self, progress: Progress | None = None) -> Iterator[Part]:
        """Make them, and yield each part once it is finished."""
        return self.make(progress or (lambda n: None))


def in_order(parts: Iterable[Part]) -> list[Forecast]:
    """Return the forecasts of all parts in the order of their histories."""
    by_place = {
        place: forecast
        for part in parts
        for place, forecast in zip(part.places, part.forecasts, strict=True)
    }
    return [by_place[place] for place in sorted(by_place)]


class Forecaster(ABC):
    """Whoever forecasts. The same histories have the same forecasts.

    Attributes:
        name: in tables.
        kind: "model", "rival" or "ensemble".
        uses_known: it uses columns whose future is known.
    """

    name: str
    kind: str
    uses_known: bool = True

    @abstractmethod
    def planned(
        self,
        histories: Sequence[Series],
        horizons: Sequence[int],
        sampling: Sampling,
        *,
        context: int | None = None,
        at_a_time: int | None = None,
    ) -> PlannedForecasts:
        """Plan forecasts, and price them.

        Args:
            histories: with equally many variables, NaN where a value is missing.
            horizons: steps to forecast, of each history.
            sampling: how futures are drawn; a greedy one asks for a point forecast alone.
            context: use only this many last steps of each history.
            at_a_time: histories whose forecasts are finished together, at most; None: all.

        Raises:
            DataError: a history cannot be read.
        """

    def seasons_used(self, histories: Sequence[Series]) -> str:
        """Say which seasons it takes these histories to have; empty for one without a season."""
        return ""

    def for_points(self, sampling: Sampling) -> Sampling:
        """Return the least sampling that gives the same point forecasts."""
        return sampling

    def predict(
        self,
        histories: Any,
        horizon: int,
        sampling: Sampling | None = None,
        *,
        context: int | None = None,
        progress: Progress | None = None,
    ) -> list[Forecast]:
        """Draw samples of each history's future.

        Args:
            histories: a `Dataset`, a data frame, a column of one, an array, or one `Series` or
                several of (T, V) values, NaN where missing; V may differ between calls, not within
                one. Columns that are known ahead (`Series.known`) are used where they can be.
            horizon: H steps.
            sampling: how many futures S, and how they are drawn; its seed and the ids of the
                series alone decide the draws. Default: as ``lvlora forecast`` draws.
            context: use only this many last steps.
            progress: called with the number of units of work that were finished.

        Returns:
            one `Forecast` a history, in order; samples (S, H, V).

        Raises:
            DataError: a history is empty, holds no value, or has steps too long for the model;
                its known columns are not known so far; dates would go beyond the year 9999.
            NumericalError: the model gives no finite numbers.
            BudgetError: inside `charged`, what was reserved there does not pay for it.
        """
        data, planned = self._planned(histories, horizon, sampling, context)
        return [forecast.named(data) for forecast in in_order(planned.parts(progress))]

    def at_most(
        self,
        histories: Any,
        horizon: int,
        sampling: Sampling | None = None,
        *,
        context: int | None = None,
    ) -> Price:
        """Return the most that `predict` with these arguments can cost."""
        return self._planned(histories, horizon, sampling, context)[1].price_bound

    def _planned(
        self, histories: Any, horizon: int, sampling: Sampling | None, context: int | None
    ) -> tuple[Dataset, PlannedForecasts]:
        check_count("horizon", horizon, at_most=LONGEST_HORIZON)
        if not isinstance(sampling, Sampling | None):
            raise SettingsError(
                f"sampling: should be a Sampling, got {sampling!r}", "lvlora.Sampling(samples=50)"
            )
        data = to_dataset(histories, argument="histories")
        sampling, horizons = sampling or Sampling(), [horizon] * len(data)
        return data, self.planned(data.series, horizons, sampling, context=context)
