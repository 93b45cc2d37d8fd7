"""Forecasts of all series of a data set: arrays, record, table, figure, and the files of these."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lvlora import output_files
from lvlora.data.dataset import Dataset
from lvlora.data.dates import written
from lvlora.data.files.csv import csv_text
from lvlora.forecast import answers
from lvlora.forecast.answers import Forecasts, ForecastSeries, Future
from lvlora.forecast.forecast import Forecast, frame_of, rows_of
from lvlora.forecast.holdout import Truth
from lvlora.forecast.settings import ForecastSettings
from lvlora.output_files import STANDARD_OUTPUT

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

    def samples_as_csv(self) -> str:
        """Return every drawn future: a row a series, sample and time, a column a variable."""
        head = ["id", "sample", self.histories.time_name, *self.histories.variables]
        rows = [
            [f.series, s, t, *map(float, f.samples[s, h])]
            for f in self.forecasts
            for s in range(len(f.samples))
            for h, t in enumerate(written(f.calendar, f.time))
        ]
        return csv_text(head, rows)

    def write(self, settings: ForecastSettings) -> None:
        """Write the files of --output, --samples-out and --plot."""
        if settings.output is not None and settings.output != STANDARD_OUTPUT:
            output_files.write_text(settings.output, self.as_csv())
        if settings.samples_out is not None:
            output_files.write_text(settings.samples_out, self.samples_as_csv())
        if settings.plot is not None:
            from lvlora.report.drawing import style

            with output_files.writing(settings.plot) as part:
                style.save(self.plot(), part)


def named_files(settings: ForecastSettings) -> dict[str, Path | None]:
    """Return each file that is asked for, by its option."""
    return {
        "--output": settings.output,
        "--samples-out": settings.samples_out,
        "--plot": settings.plot,
    }


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
        quantiles = {f"{q:g}": f.quantile(q).T.tolist() for q in levels}
        medians, means = f.median.T.tolist(), f.mean.T.tolist()
        records.append(
            ForecastSeries(
                id=f.series,
                time=written(f.calendar, f.time),
                scale=scale,
                context=f.context,
                variables={
                    name: Future(
                        median=medians[v],
                        mean=means[v],
                        quantiles={q: values[v] for q, values in quantiles.items()},
                    )
                    for v, name in enumerate(names)
                },
                **more,
            )
        )
    return records
