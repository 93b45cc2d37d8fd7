"""A forecast: samples of a series' future, their quantiles, and the same as a table."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from lvlora.data.dataset import Dataset, FloatArray, Series
from lvlora.data.dates import Calendar, written
from lvlora.data.gaps import EVEN, are_even, usual_step
from lvlora.data.metrics.scores import of_samples
from lvlora.settings.checked import check_levels
from lvlora.text.scaling import Scale

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from lvlora.report.forecast import ForecastPicture

NIXTLA = ("unique_id", "ds", ("y",))
"""Ids, times and variables of a table in Nixtla's form."""
MODEL_COLUMN = "lvlora"
"""Point forecasts in a table of that form."""
_DIGITS = 12
"""Significant digits of a continued time, at least."""
_STEP_DIGITS = 9
"""The same of a step: Julian dates in steps of a second have more digits than `_DIGITS`."""


@dataclass(frozen=True)
class Forecast:
    """The futures of one series.

    Attributes:
        series: its id.
        time: (H,) continues the history's time.
        samples: (S, H, V) in original units.
        scale: that a model used, None for a forecaster without text; context: steps of history
            that were seen.
        calibrated: level -> (H, V) quantiles that are taken in place of the samples' own.
        calendar: what the times are where they are dates.
        history: what it was forecast from.
        point: (H, V) the point forecast of who has one of their own; None: the samples' median.
        weights: of the forecasters that it is made of, if several are; the greatest first.
        variables: V names; time_name, id_name: names of the input's columns.
    """

    series: str
    time: FloatArray
    samples: FloatArray
    scale: Scale | None
    context: int
    calibrated: Mapping[float, FloatArray] = field(default_factory=dict)
    calendar: Calendar | None = None
    history: Series | None = field(default=None, compare=False)
    point: FloatArray | None = None
    weights: Mapping[str, float] = field(default_factory=dict)
    variables: tuple[str, ...] = ()
    time_name: str = "time"
    id_name: str = "id"

    def named(self, dataset: Dataset) -> Forecast:
        """Return the same forecast with the names of a data set's columns."""
        return replace(
            self,
            variables=dataset.variables,
            time_name=dataset.time_name,
            id_name=dataset.id_name,
        )

    def to_frame(self, levels: Sequence[float] = (0.1, 0.5, 0.9)) -> DataFrame:
        """Return a pandas table: a row a time and variable; see `frame_of`."""
        return frame_of([self], levels)

    def __repr__(self) -> str:
        n, horizon, width = self.samples.shape
        return (
            f"Forecast({self.series!r}: {horizon} steps of {width} variables, {n} samples, after "
            f"{self.context} steps)"
        )

    def plot(
        self,
        *,
        truth: Series | None = None,
        levels: Sequence[float] = (0.1, 0.9),
    ) -> Figure:
        """A matplotlib figure: history, median, and the band between each pair of levels.

        Args:
            truth: what came next, where it is known.
            levels: quantiles, of which each pair as far from either end is a band.
        """
        from lvlora.report.forecast import forecast_figure

        check_levels(levels)
        future = None if truth is None else truth.values[: len(self.time)]
        return forecast_figure(self.picture(levels, truth=future, title=self.series))

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

    def picture(
        self, levels: Sequence[float], *, truth: FloatArray | None = None, title: str = ""
    ) -> ForecastPicture:
        """Return what a figure draws; see `ForecastPicture`."""
        from lvlora.report.forecast import ForecastPicture

        history, variables = self.history, _variables(self)
        return ForecastPicture(
            variables=variables,
            time_name=self.time_name,
            history_time=np.empty(0) if history is None else history.time,
            history=np.empty((0, len(variables))) if history is None else history.values,
            future_time=self.time,
            median=self.median,
            bands=self.bands(levels),
            truth=truth,
            title=title,
            calendar=self.calendar,
        )

    def _repr_html_(self) -> str:
        """Return the figure for a notebook."""
        from lvlora.report.drawing import style

        return style.image_tag(self.plot(), repr(self))

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
        """(H, V): the calibrated quantile, else that of the samples, see `metrics.scores`."""
        if level in self.calibrated:
            return self.calibrated[level]
        return of_samples(self.samples, level)


def _variables(forecast: Forecast) -> tuple[str, ...]:
    n_variables = forecast.samples.shape[2]
    return forecast.variables or tuple(f"x{i + 1}" for i in range(n_variables))


def frame_of(forecasts: Sequence[Forecast], levels: Sequence[float]) -> DataFrame:
    """Return forecasts as one pandas table, with the names of the input's columns.

    A row a series, time and variable: the id, the time, ``variable``, ``median``, ``mean``, and a
    column a level ("0.1"). Forecasts of a Nixtla table (unique_id, ds, y) have Nixtla's columns
    instead: unique_id, ds, ``lvlora`` (the median), ``lvlora-lo-80``, ``lvlora-hi-80``, ….

    Args:
        forecasts: of series that all have the same variables.
        levels: probabilities of the quantiles.
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

    Returns:
        dictionaries with the same keys: the ids' name, the time's name (a number, or a datetime
        where times are dates), ``variable``, ``median``, ``mean``, the quantiles, and what is
        ``known``.
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
            for v, variable in enumerate(_variables(forecast)):
                rows.append(
                    {
                        "id" if as_text else forecast.id_name: forecast.series,
                        forecast.time_name: t,
                        "variable": variable,
                        **{name: float(values[h, v]) for name, values in columns.items()},
                    }
                )
    return rows
