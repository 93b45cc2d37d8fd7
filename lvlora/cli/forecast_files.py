"""A forecast as JSON, CSV and pictures.

Knows: the shapes of each. Does not know: how the forecast was made, terminals.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lvlora.settings import ForecastSettings

if TYPE_CHECKING:
    from lvlora.forecast.futures import Forecast
    from lvlora.series.dataset import Dataset


def as_json(
    forecast: Forecast, variables: Sequence[str], levels: Sequence[float]
) -> dict[str, Any]:
    """One series of the command's JSON."""
    median, mean = forecast.median, forecast.mean
    quantiles = {f"{q:g}": forecast.quantile(q) for q in levels}
    return {
        "id": forecast.series,
        "time": forecast.time.tolist(),
        "scale": forecast.scale.to_dict(),
        "context": forecast.context,
        "variables": {
            name: {
                "median": median[:, v].tolist(),
                "mean": mean[:, v].tolist(),
                "quantiles": {q: values[:, v].tolist() for q, values in quantiles.items()},
            }
            for v, name in enumerate(variables)
        },
    }


def as_csv(dataset: Dataset, forecasts: Sequence[Forecast], levels: Sequence[float]) -> str:
    """The long table: a row a series, time and variable."""
    from lvlora.forecast.forecaster import to_rows

    rows = to_rows(forecasts, dataset.variables, levels, dataset.time_name)
    return table_text(list(rows[0]) if rows else [], [list(r.values()) for r in rows])


def table_text(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A CSV table; None is an empty cell."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([_harmless(h) for h in head])
    writer.writerows([[_harmless(c) for c in row] for row in rows])
    return stream.getvalue()


def _harmless(cell: Any) -> Any:
    """Text from a file must not be a formula when a spreadsheet opens the result."""
    if isinstance(cell, float):
        return f"{cell:.12g}"
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in "=+-@\t\r" and cell else cell


def write_files(
    settings: ForecastSettings, dataset: Dataset, forecasts: Sequence[Forecast]
) -> list[Path]:
    """What --output, --samples-out and --plot ask for; the files that were written."""
    from lvlora import durable

    written = []
    if settings.output is not None and settings.output != Path("-"):
        durable.write_text(settings.output, as_csv(dataset, forecasts, settings.quantiles))
        written.append(settings.output)
    if settings.samples_out is not None:
        rows = [
            [f.series, s, float(t), *map(float, f.samples[s, h])]
            for f in forecasts
            for s in range(len(f.samples))
            for h, t in enumerate(f.time)
        ]
        head = ["id", "sample", dataset.time_name, *dataset.variables]
        durable.write_text(settings.samples_out, table_text(head, rows))
        written.append(settings.samples_out)
    if settings.plot is not None:
        from lvlora.report.forecast_figure import ForecastPicture, draw_forecast

        pictures = [
            ForecastPicture(
                variables=dataset.variables,
                time_name=dataset.time_name,
                history_time=history.time,
                history=history.values,
                future_time=f.time,
                median=f.median,
                bands=bands_of(f, settings.quantiles),
                title=f.series if len(forecasts) > 1 else "",
            )
            for history, f in zip(dataset, forecasts, strict=True)
        ]
        draw_forecast(settings.plot, pictures)
        written.append(settings.plot)
    return written


def bands_of(forecast: Forecast, levels: Sequence[float]) -> dict[tuple[float, float], Any]:
    """Pairs of quantiles that are as far from either end."""
    if len(forecast.samples) < 2:
        return {}
    ordered = sorted(levels)
    pairs = [
        (low, high)
        for low in ordered
        for high in ordered
        if low < 0.5 < high and abs(low + high - 1) < 1e-9
    ]
    return {p: (forecast.quantile(p[0]), forecast.quantile(p[1])) for p in pairs}
