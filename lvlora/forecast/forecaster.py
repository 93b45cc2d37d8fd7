"""A forecast of one series, and a forecaster, which makes it at a price that is bounded before.

The language model is one (`language_model`), each rival is one (`rivals`), and so is the ensemble
(`ensemble`). Forecasts, hindcasts, scores and prices are worked out in the same way of all.
"""

from __future__ import annotations

import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from lvlora.answers import NOTHING, Price
from lvlora.data.dataset import Dataset, FloatArray, Series
from lvlora.data.dates import Calendar, written
from lvlora.data.frames import to_dataset
from lvlora.data.gaps import EVEN, are_even, usual_step
from lvlora.data.metrics import of_samples
from lvlora.errors import SettingsError
from lvlora.forecast.answers import EnsembleMember
from lvlora.forecast.sampling import Sampling
from lvlora.forecast.settings import LONGEST_HORIZON
from lvlora.settings.fields import check_count, check_levels
from lvlora.text.scaling import Scale

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from lvlora.forecast.reading import Reading
    from lvlora.report.forecast import ForecastPicture

NIXTLA = ("unique_id", "ds", ("y",))
"""Ids, times and variables of a table in Nixtla's form."""
MODEL_COLUMN = "lvlora"
"""Point forecasts in a table of that form."""
_DIGITS = 12
"""Significant digits of a continued time, at least."""
_STEP_DIGITS = 9
"""The same of a step: Julian dates in steps of a second have more digits than `_DIGITS`."""

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Forecast:
    """The futures of one series."""

    series: str
    """Its id."""
    time: FloatArray
    """(H,) continues the history's time."""
    samples: FloatArray
    """(S, H, V) in original units."""
    scale: Scale | None
    """That a model used; None for a forecaster without text."""
    context: int
    """Steps of history that were seen."""
    calendar: Calendar | None = None
    """Where the times are dates."""
    history: Series | None = field(default=None, compare=False)
    point: FloatArray | None = None
    """(H, V) the point forecast, where it is not the samples' median."""
    is_moved: bool = False
    """By `widths`: its quantile of 0.5 is the point forecast, to the last bit."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """Of the members of an ensemble, the greatest first."""
    variables: tuple[str, ...] = ()
    time_name: str = "time"
    id_name: str = "id"
    """Names of the input's columns."""

    def named(self, dataset: Dataset) -> Forecast:
        """Return the same forecast with the names of a data set's columns."""
        return replace(
            self,
            variables=dataset.variables,
            time_name=dataset.time_name,
            id_name=dataset.id_name,
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the variables: x1, x2, … where none are known."""
        return self.variables or tuple(f"x{i + 1}" for i in range(self.samples.shape[2]))

    @property
    def median(self) -> FloatArray:
        """(H, V): the point forecast: the pointwise median of the samples, or `point`."""
        if self.point is not None:
            return self.point
        return np.asarray(np.median(self.samples, axis=0), dtype=np.float64)

    @property
    def mean(self) -> FloatArray:
        """(H, V)."""
        return np.asarray(self.samples.mean(axis=0), dtype=np.float64)

    def quantile(self, level: float) -> FloatArray:
        """(H, V): the quantile of the samples, see `metrics.scores`."""
        if self.is_moved and level == 0.5:
            return self.median
        return of_samples(self.samples, level)

    def bands(
        self, levels: Sequence[float]
    ) -> dict[tuple[float, float], tuple[FloatArray, FloatArray]]:
        """Return the quantiles of each pair of levels that are as far from either end, (H, V)."""
        if len(self.samples) < 2:
            return {}
        ordered = sorted(levels)
        return {
            (low, high): (self.quantile(low), self.quantile(high))
            for low in ordered
            for high in ordered
            if low < 0.5 < high and abs(low + high - 1) < 1e-9
        }

    def to_frame(self, levels: Sequence[float] = (0.1, 0.5, 0.9)) -> DataFrame:
        """Return a pandas table: a row a time and variable; see `frame_of`."""
        return frame_of([self], levels)

    def plot(self, *, truth: Series | None = None, levels: Sequence[float] = (0.1, 0.9)) -> Figure:
        """A matplotlib figure: history, median, and the band between each pair of levels.

        Args:
            truth: what came next, where it is known.
            levels: quantiles, of which each pair as far from either end is a band.
        """
        from lvlora.report.forecast import forecast_figure

        check_levels(levels)
        future = None if truth is None else truth.values[: len(self.time)]
        return forecast_figure(self.picture(levels, truth=future, title=self.series))

    def picture(
        self, levels: Sequence[float], *, truth: FloatArray | None = None, title: str = ""
    ) -> ForecastPicture:
        """Return what a figure draws; see `ForecastPicture`."""
        from lvlora.report.forecast import ForecastPicture

        history = self.history
        return ForecastPicture(
            variables=self.names,
            time_name=self.time_name,
            history_time=np.empty(0) if history is None else history.time,
            history=np.empty((0, len(self.names))) if history is None else history.values,
            future_time=self.time,
            median=self.median,
            bands=self.bands(levels),
            truth=truth,
            title=title,
            calendar=self.calendar,
        )

    def __repr__(self) -> str:
        n, horizon, width = self.samples.shape
        return (
            f"Forecast({self.series!r}: {horizon} steps of {width} variables, {n} samples, after "
            f"{self.context} steps)"
        )

    def _repr_html_(self) -> str:
        """Return the figure for a notebook."""
        from lvlora.report.drawing import style

        return style.image_tag(self.plot(), repr(self))


def rows_of(
    forecasts: Sequence[Forecast],
    levels: Sequence[float],
    *,
    as_text: bool = False,
    known: Sequence[Mapping[str, FloatArray]] = (),
) -> list[dict[str, Any]]:
    """A long table: one row a series, time and variable, with median, mean and quantiles.

    Args:
        forecasts: of series that all have the same variables.
        levels: quantiles, each a column named by its number.
        as_text: as files have it: dates are texts, and the column of ids is called id.
        known: for each forecast, name of a further column -> (H, V), such as the truth.
    """
    rows: list[dict[str, Any]] = []
    for i, forecast in enumerate(forecasts):
        calendar, quantiles = forecast.calendar, {f"{q:g}": forecast.quantile(q) for q in levels}
        columns = {"median": forecast.median, "mean": forecast.mean, **quantiles}
        columns |= known[i] if known else {}
        times: Sequence[Any] = written(calendar, forecast.time)
        if calendar is not None and not as_text:
            times = calendar.datetimes(forecast.time)
        for h, t in enumerate(times):
            for v, variable in enumerate(forecast.names):
                rows.append(
                    {
                        "id" if as_text else forecast.id_name: forecast.series,
                        forecast.time_name: t,
                        "variable": variable,
                        **{name: float(values[h, v]) for name, values in columns.items()},
                    }
                )
    return rows


def frame_of(forecasts: Sequence[Forecast], levels: Sequence[float]) -> DataFrame:
    """Return forecasts as one pandas table, with the names of the input's columns.

    A row a series, time and variable, as `rows_of`. Forecasts of a Nixtla table (unique_id, ds, y)
    have Nixtla's columns instead: unique_id, ds, ``lvlora`` (the median), ``lvlora-lo-80``,
    ``lvlora-hi-80``, ….
    """
    import pandas

    check_levels(levels)
    if not forecasts:
        return pandas.DataFrame()
    first = forecasts[0]
    frame = pandas.DataFrame(rows_of(forecasts, levels))
    if (first.id_name, first.time_name, first.variables) != NIXTLA:
        return frame
    names = {"median": MODEL_COLUMN}
    for level in levels:
        if level != 0.5:
            side = "lo" if level < 0.5 else "hi"
            names[f"{level:g}"] = f"{MODEL_COLUMN}-{side}-{100 * abs(1 - 2 * level):.6g}"
    return frame[["unique_id", "ds", *names]].rename(columns=names)


def times_ahead(history: Series, horizon: int) -> FloatArray:
    """(H,) the times of its next steps: those that are known, then at its usual step.

    Raises:
        DataError: dates beyond the year 9999.
    """
    if history.ahead is None:
        return continue_time(history.time, horizon, history.calendar)
    known = history.ahead[:horizon]
    if len(known) == horizon:
        return known
    all_times = np.concatenate([history.time, known])
    return np.concatenate([known, continue_time(all_times, horizon - len(known), history.calendar)])


def continue_time(time: FloatArray, horizon: int, calendar: Calendar | None = None) -> FloatArray:
    """(H,) the interval of the history, repeated; without the noise of binary fractions.

    The interval is the mean of even steps, whose rounding errors would add up otherwise, and the
    median of uneven ones.

    Raises:
        DataError: dates beyond the year 9999.
    """
    if calendar is not None:  # a step that was really made: half a month is none
        step = usual_step(time) if len(time) > 1 else 1.0
        dated: FloatArray = time[-1] + step * np.arange(1, horizon + 1)
        calendar.dates(dated)
        return dated
    interval = 1.0
    if len(time) > 1:
        mean = (time[-1] - time[0]) / (len(time) - 1)
        interval = float(mean if are_even(time, EVEN) else np.median(np.diff(time)))
    future: FloatArray = time[-1] + interval * np.arange(1, horizon + 1)
    whole_digits = math.ceil(math.log10(float(np.abs(future).max(initial=0.0)) or 1.0))
    decimals = max(_DIGITS - whole_digits, _STEP_DIGITS - math.floor(math.log10(interval)), 0)
    if decimals + whole_digits > sys.float_info.dig:  # nothing is left to round
        return future
    return np.asarray(np.round(future, decimals))


@dataclass(frozen=True)
class Part:
    """Forecasts that were finished together."""

    places: Sequence[int]
    """Of their histories; none where something was learnt for all."""
    forecasts: Sequence[Forecast]
    seconds: float
    """Of work, summed over processes."""
    price: Price | None = None
    """FLOPs, where they are counted."""
    members: Sequence[EnsembleMember] = ()
    """Of an ensemble, the greatest weight first."""


@dataclass(frozen=True)
class PlannedForecasts:
    """Forecasts that are planned and priced, and not yet made."""

    make: Callable[[Progress], Iterator[Part]]
    """Calls its argument with the number of units that were finished."""
    n_units: int
    price_bound: Price = NOTHING
    places: Sequence[Sequence[int]] = ()
    """Histories whose forecasts a language model finishes together; none for others."""
    readings: Sequence[Sequence[Reading]] = ()
    """How a language model reads each history at its own scale; none for others."""

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
    """Whoever forecasts. The same histories have the same forecasts."""

    name: str
    """In tables."""
    kind: str
    """model, rival or ensemble."""
    uses_known: bool = True
    """It uses columns whose future is known."""

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
        """Draw samples of each history's future: one `Forecast` a history, in order.

        Args:
            histories: a `Dataset`, a data frame, a column of one, an array, or one `Series` or
                several of (T, V) values, NaN where missing; V may differ between calls, not within
                one. Columns that are known ahead (`Series.known`) are used where they can be.
            horizon: H steps.
            sampling: how many futures, and how they are drawn; its seed and the ids of the series
                alone decide the draws. Default: as ``lvlora forecast`` draws.
            context: use only this many last steps.
            progress: called with the number of units of work that were finished.

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
