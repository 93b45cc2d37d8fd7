"""Forecasts, or densities, of all series of a data set: as parts of an answer, and as CSV."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lvlora.data.dataset import Dataset, FloatArray
from lvlora.data.dates import written
from lvlora.data.files.csv import csv_text
from lvlora.forecast import answers
from lvlora.forecast.answers import DensitySeries, Distribution, ForecastSeries, Future
from lvlora.forecast.density import Density
from lvlora.forecast.forecast import Forecast, to_rows
from lvlora.forecast.holdout import Truth, bands_of
from lvlora.text.scaling import Scale

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class DatasetForecast:
    """The forecasts of a data set's series.

    Attributes:
        histories: what was forecast from.
        forecasts: of each of its series, in order, with the names of its columns.
        levels: quantiles to report.
        truth: what really came next, where it is known.
    """

    histories: Dataset
    forecasts: Sequence[Forecast]
    levels: Sequence[float]
    truth: Truth | None = None

    def figure(self) -> Figure:
        """Draw every series: history, median, bands, and the truth where it is known."""
        from lvlora.report.forecast import forecast_figure

        truths = [None] * len(self.forecasts) if self.truth is None else self.truth.futures
        several = len(self.forecasts) > 1
        return forecast_figure(
            [
                forecast.picture(
                    bands_of(forecast, self.levels),
                    truth=None if truth is None else truth.values,
                    title=forecast.series if several else "",
                )
                for forecast, truth in zip(self.forecasts, truths, strict=True)
            ]
        )

    def answers(self) -> list[ForecastSeries]:
        """Each series as part of an answer."""
        found = []
        for i, f in enumerate(self.forecasts):
            more: dict[str, Any] = {"weights": dict(f.weights)} if f.weights else {}
            if self.truth is not None:
                more |= {k: self._by_variable(v) for k, v in self.truth.columns[i].items()}
            found.append(
                ForecastSeries(
                    id=f.series,
                    time=written(f.calendar, f.time),
                    scale=None if f.scale is None else _scale(f.scale),
                    context=f.context,
                    variables=dict(
                        zip(self.histories.variables, _futures(f, self.levels), strict=True)
                    ),
                    **more,
                )
            )
        return found

    def _by_variable(self, values: FloatArray) -> dict[str, list[float]]:
        """(H, V) by the variables' names."""
        return dict(zip(self.histories.variables, values.T.tolist(), strict=True))

    def as_csv(self) -> str:
        """The long table: a row a series, time and variable."""
        dataset = self.histories
        known = () if self.truth is None else self.truth.columns
        rows = to_rows(
            self.forecasts, dataset.variables, self.levels, dataset.time_name, known=known
        )
        if dataset.calendar is not None:  # as the file writes them, not as Python does
            times = [t for f in self.forecasts for t in written(f.calendar, f.time)]
            for i, row in enumerate(rows):
                row[dataset.time_name] = times[i // len(dataset.variables)]
        return csv_text(list(rows[0]) if rows else [], [list(r.values()) for r in rows])


@dataclass(frozen=True)
class DatasetDensity:
    """The distributions of the next values of a data set's series.

    Attributes:
        histories: what they follow.
        densities: V of each of its series, in order.
    """

    histories: Dataset
    densities: Sequence[Sequence[Density]]

    def answers(self, levels: Sequence[float]) -> list[DensitySeries]:
        """Each series as part of an answer, with the quantiles of these levels."""
        variables, calendar = self.histories.variables, self.histories.calendar
        return [
            DensitySeries(
                id=series_densities[0].series,
                time=series_densities[0].time
                if calendar is None
                else calendar.text(series_densities[0].time),
                variables={
                    name: Distribution(
                        given=dict(zip(variables, one.given, strict=False)),
                        mode=one.mode,
                        mean=one.mean,
                        quantiles={f"{q:g}": one.quantile(q) for q in levels},
                        width=one.width,
                        values=one.values.tolist(),
                        probabilities=one.probabilities.tolist(),
                        densities=one.densities.tolist(),
                        missing=one.missing,
                        remainder=one.remainder,
                        cut=one.cut,
                    )
                    for name, one in zip(variables, series_densities, strict=True)
                },
            )
            for series_densities in self.densities
        ]

    def as_csv(self) -> str:
        """The long table: a row a series, variable and value that can be written."""
        dataset, calendar = self.histories, self.histories.calendar
        head = ["id", dataset.time_name, "variable", "value", "width", "probability", "density"]
        rows = [
            [
                one.series,
                one.time if calendar is None else calendar.text(one.time),
                name,
                float(value),
                one.width,
                float(p),
                float(d),
            ]
            for of_series in self.densities
            for name, one in zip(dataset.variables, of_series, strict=True)
            for value, p, d in zip(one.values, one.probabilities, one.densities, strict=True)
        ]
        return csv_text(head, rows)


def _scale(scale: Scale) -> answers.Scale:
    return answers.Scale(
        divisors=list(scale.divisors), rule=scale.rule, offsets=list(scale.offsets)
    )


def _futures(f: Forecast, levels: Sequence[float]) -> list[Future]:
    """The answer about each variable."""
    median, mean, missing = f.median, f.mean, f.missing_share
    quantiles = {f"{q:g}": f.quantile(q) for q in levels}
    return [
        Future(
            median=median[:, v].tolist(),
            mean=mean[:, v].tolist(),
            quantiles={q: values[:, v].tolist() for q, values in quantiles.items()},
            **({"missing": missing[:, v].tolist()} if missing.any() else {}),
        )
        for v in range(median.shape[1])
    ]
