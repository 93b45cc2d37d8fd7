"""A forecast on the terminal: charts, a table, how near it came to the truth.

Knows: what a person wants to see. Does not know: files, how the forecast was made.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lvlora import numbers
from lvlora.cli.forecast_files import bands_of
from lvlora.cli.program.context import CommandContext
from lvlora.settings import ForecastSettings

if TYPE_CHECKING:
    from lvlora.cli.forecast_truth import Truth
    from lvlora.forecast.forecast import Forecast
    from lvlora.forecast.forecaster import Forecaster
    from lvlora.series.dataset import Dataset

_TABLE_ROWS = 24
_CHARTS = 3


def show(
    dataset: Dataset,
    forecasts: Sequence[Forecast],
    forecaster: Forecaster,
    settings: ForecastSettings,
    truth: Truth | None,
    context: CommandContext,
) -> None:
    """A chart of the first series, the table of all, and how it was made."""
    import numpy as np

    from lvlora.report.drawing.text_chart import terminal_plot
    from lvlora.series.dates import text_of, written

    output = context.output
    for history, f in list(zip(dataset, forecasts, strict=True))[:_CHARTS]:
        bands = bands_of(f, settings.quantiles)
        _, band = max(bands.items(), key=lambda b: b[0][1] - b[0][0], default=(None, None))
        for v, name in enumerate(dataset.variables[:4]):
            title = name if len(forecasts) == 1 else f"{f.series}: {name}"
            recent = slice(-4 * settings.n_steps, None)
            output.line(
                terminal_plot(
                    history.values[recent, v],
                    f.median[:, v],
                    None if band is None else band[0][:, v],
                    None if band is None else band[1][:, v],
                    ascii_only=output.ascii_only,
                    title=title,
                    height=8,
                    time=written(dataset.calendar, np.concatenate([history.time[recent], f.time])),
                )
            )
            output.line()
    levels = settings.quantiles if len(forecasts[0].samples) > 1 else ()
    several = len(forecasts) > 1
    head = [*(["id"] if several else []), dataset.time_name]
    for name in dataset.variables:
        head += [name, *(f"{q:g}" for q in levels if q != 0.5)]
        head += ["truth"] if truth is not None else []
    rows: list[list[str]] = []
    for i, f in enumerate(forecasts):
        quantiles = {q: f.quantile(q) for q in levels}
        for h, t in enumerate(f.time):
            row = [*([f.series] if several else []), text_of(dataset.calendar, t)]
            for v in range(len(dataset.variables)):
                row.append(numbers.plain(float(f.median[h, v])))
                row += [numbers.plain(float(quantiles[q][h, v])) for q in levels if q != 0.5]
                if truth is not None:
                    row.append(numbers.plain(float(truth.futures[i].values[h, v])))
            rows.append(row)
    output.table(head, rows[:_TABLE_ROWS])
    if len(rows) > _TABLE_ROWS:
        output.line(f"… {len(rows) - _TABLE_ROWS} more rows: add --output FILE.csv")
    if truth is not None:
        output.line(truth.sentence())
        output.line()
        head, rows = truth.table(forecaster.name)
        output.table(head, rows, bold=[0], title="Beside plain forecasters of the same steps")
    rules = " or ".join(sorted({f.scale.rule for f in forecasts}))
    how = "calibrated intervals; " if forecasts[0].calibrated else ""
    output.line(
        f"{forecaster.name}, {len(forecasts[0].samples)} futures a series; {how}scale by the "
        f"{rules} rule; {numbers.flops(forecaster.usage.price.executed)} FLOPs executed."
    )
