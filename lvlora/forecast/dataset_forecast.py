"""Forecasts of all series of a data set: arrays, record, table and figure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lvlora.data.dataset import Dataset
from lvlora.data.dates import written
from lvlora.data.files.csv import csv_text
from lvlora.forecast import answers
from lvlora.forecast.answers import Forecasts, ForecastSeries, Future
from lvlora.forecast.forecast import Forecast, frame_of, rows_of
from lvlora.forecast.holdout import Truth

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


@dataclass(frozen=True)
class DatasetForecast:
    """The forecasts of a data set's series: a sequence of `Forecast`, one a series.

    Attributes:
        record: what ``lvlora forecast --json`` prints: plain numbers, scores, FLOPs, files.
        histories: what was forecast from.
        forecasts: of each of its series, in order, with the names of its columns.
        levels: quantiles to report.
        truth: what really came next, where it is known.
    """

    record: Forecasts
    histories: Dataset
    forecasts: Sequence[Forecast]
    levels: Sequence[float]
    truth: Truth | None = None

    def __iter__(self) -> Iterator[Forecast]:
        return iter(self.forecasts)

    def __len__(self) -> int:
        return len(self.forecasts)

    def __getitem__(self, which: int | str) -> Forecast:
        """Return the forecast of a series, by its place or its id, with all samples."""
        if isinstance(which, str):
            which = [one.id for one in self.histories].index(self.histories[which].id)
        return self.forecasts[which]

    def to_frame(self) -> DataFrame:
        """Return a pandas table: a row a series, time and variable; see `frame_of`."""
        return frame_of(self.forecasts, self.levels)

    def _repr_html_(self) -> str:
        """Return the figure for a notebook."""
        from lvlora.report.drawing import style

        return style.image_tag(self.plot(), f"Forecasts of {len(self)} series")

    def plot(self) -> Figure:
        """Draw every series: history, median, bands, and the truth where it is known."""
        from lvlora.report.forecast import forecast_figure

        truths = [None] * len(self.forecasts) if self.truth is None else self.truth.futures
        several = len(self.forecasts) > 1
        return forecast_figure(
            [
                forecast.picture(
                    self.levels,
                    truth=None if truth is None else truth.values,
                    title=forecast.series if several else "",
                )
                for forecast, truth in zip(self.forecasts, truths, strict=True)
            ]
        )

    def as_csv(self) -> str:
        """Return the long table: a row a series, time and variable."""
        known = () if self.truth is None else self.truth.columns
        rows = rows_of(self.forecasts, self.levels, as_text=True, known=known)
        return csv_text(list(rows[0]) if rows else [], [list(r.values()) for r in rows])


def series_records(
    histories: Dataset, forecasts: Sequence[Forecast], levels: Sequence[float], truth: Truth | None
) -> list[ForecastSeries]:
    """Return each series' part of the record."""
    names = histories.variables
    records = []
    for i, f in enumerate(forecasts):
        more: dict[str, Any] = {"weights": dict(f.weights)} if f.weights else {}
        if truth is not None:
            for key, values in truth.columns[i].items():
                more[key] = dict(zip(names, values.T.tolist(), strict=True))
        scale = None
        if f.scale is not None:
            divisors, offsets = list(f.scale.divisors), list(f.scale.offsets)
            scale = answers.Scale(divisors=divisors, rule=f.scale.rule, offsets=offsets)
        records.append(
            ForecastSeries(
                id=f.series,
                time=written(f.calendar, f.time),
                scale=scale,
                context=f.context,
                variables=dict(zip(names, _futures(f, levels), strict=True)),
                **more,
            )
        )
    return records


def _futures(f: Forecast, levels: Sequence[float]) -> list[Future]:
    """Return each variable's part of the record."""
    median, mean = f.median, f.mean
    quantiles = {f"{q:g}": f.quantile(q) for q in levels}
    return [
        Future(
            median=median[:, v].tolist(),
            mean=mean[:, v].tolist(),
            quantiles={q: values[:, v].tolist() for q, values in quantiles.items()},
        )
        for v in range(median.shape[1])
    ]
