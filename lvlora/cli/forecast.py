"""`lvlora forecast FILE`: the future of a file's trajectories."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lvlora.cli import numbers
from lvlora.cli.context import CommandContext
from lvlora.cli.forecast_files import as_csv, as_json, bands_of, write_files
from lvlora.cli.from_settings import examples, settings_command
from lvlora.cli.inputs import load_dataset
from lvlora.cli.root import app
from lvlora.errors import DataError, SettingsError
from lvlora.settings import ForecastSettings

if TYPE_CHECKING:
    from lvlora.forecast.forecaster import Forecast, Forecaster
    from lvlora.series.dataset import Dataset

EXAMPLES = examples(
    ("lvlora forecast examples/trajectory.csv", "20 steps, by the newest run's adapter"),
    (
        "lvlora forecast examples/hare_lynx.csv --horizon 10 --plot hares.png",
        "with a picture; the file's own years go on",
    ),
    (
        "lvlora forecast - --greedy --output - < examples/trajectory.csv",
        "CSV in, CSV out, one likeliest future",
    ),
)

_TABLE_ROWS = 24
_CHARTS = 3


@settings_command(app, ForecastSettings, name="forecast", epilog=EXAMPLES)
def forecast(settings: ForecastSettings, context: CommandContext) -> None:
    """Forecast the future of a file's trajectories.

    Every future is a valid series of exactly the horizon: the model chooses digits, the grammar
    decides where digits may stand. Median and quantiles are of the drawn futures.
    """
    from lvlora.cli.progress import counted
    from lvlora.forecast.decoding import Sampling
    from lvlora.forecast.opening import choose, open_forecaster
    from lvlora.forecast.spending import charged
    from lvlora.model.devices import set_threads

    output = context.output
    _check_files(settings, context)
    dataset = _chosen(load_dataset(settings, output), settings)
    set_threads(settings.threads)
    begin = time.perf_counter()
    forecaster = open_forecaster(
        choose(settings, settings.runs, output.note), settings, settings.decimals
    )
    loaded = time.perf_counter() - begin
    sampling = Sampling(
        settings.samples, settings.greedy, settings.temperature, settings.top_p, settings.seed
    )
    histories = list(dataset)
    most = forecaster.most(histories, settings.horizon, sampling, context=settings.context)
    if context.dry_run:
        _show_price(most, forecaster, context)
        return
    begin = time.perf_counter()
    with (
        charged(settings, forecaster, most, command="forecast"),
        counted(output, "Forecasting", len(histories) * sampling.n_futures) as advance,
    ):
        forecasts = forecaster.predict(
            histories, settings.horizon, sampling, context=settings.context,
            progress=lambda n: advance(n),
        )  # fmt: skip
    decoded = time.perf_counter() - begin
    note = forecaster.context_note(histories, forecasts, settings.context)
    if note:
        output.note(note)
    price = forecaster.usage.price
    written = write_files(settings, dataset, forecasts)
    payload = {
        "series": [as_json(f, dataset.variables, settings.quantiles) for f in forecasts],
        "model": {
            "name": forecaster.base.name,
            "adapter": forecaster.adapter,
            "sha256": forecaster.base.sha256,
            "dtype": str(forecaster.base.placement.dtype).removeprefix("torch."),
            "device": str(forecaster.base.placement.device),
        },
        "horizon": settings.horizon,
        "samples": sampling.n_futures,
        "flops": {"executed": price.executed, "coursework": price.coursework},
        "timing": {
            "load_seconds": loaded,
            "prefill_seconds": forecaster.usage.trace.prefill_seconds,
            "decode_seconds": decoded,
        },
        "files": [str(p) for p in written],
    }
    if settings.output == Path("-"):
        output.write(as_csv(dataset, forecasts, settings.quantiles))
    else:
        output.report(
            payload, lambda: _show(dataset, forecasts, forecaster, settings, price, context)
        )
    for path in written:
        output.note(f"Written: {path}")
    if not settings.plot and settings.output != Path("-"):
        output.hint("Add --plot FILE.png for a picture, --output FILE.csv for the numbers.")


def _chosen(dataset: Dataset, settings: ForecastSettings) -> Dataset:
    if settings.series is None:
        return dataset
    known = [s.id for s in dataset]
    unknown = [i for i in settings.series if i not in known]
    if unknown:
        shown = ", ".join(known[:8]) + (", …" if len(known) > 8 else "")
        raise DataError(f"--series {unknown[0]}: no such id in {dataset.source}", f"Ids: {shown}.")
    return dataset.select(settings.series)


def _check_files(settings: ForecastSettings, context: CommandContext) -> None:
    """Before the work, not after it."""
    asked = {
        "--output": settings.output,
        "--samples-out": settings.samples_out,
        "--plot": settings.plot,
    }
    if settings.output == Path("-"):
        del asked["--output"]
        if context.json:
            raise SettingsError(
                "--output - and --json both write to standard output.", "Leave one of them out."
            )
    places: dict[Path, str] = {settings.data.resolve(): "the input"}
    for option, path in asked.items():
        if path is None:
            continue
        if not path.absolute().parent.is_dir():
            raise SettingsError(
                f"{option} {path}: the folder {path.parent} is not there", "Make it first."
            )
        taken = places.setdefault(path.resolve(), option)
        if taken != option or path.is_dir() or path == Path("-"):
            what = f"is {taken}" if taken != option else "is no file to write to"
            raise SettingsError(f"{option} {path}: {what}", "Choose another name.")
    if settings.plot is not None:
        from lvlora.report.style import check_suffix

        check_suffix(settings.plot)


def _show_price(most: Any, forecaster: Forecaster, context: CommandContext) -> None:
    payload = {
        "model": forecaster.name,
        "flops_at_most": {"executed": most.executed, "coursework": most.coursework},
    }

    def human() -> None:
        context.output.line(
            f"{forecaster.name}: at most {numbers.flops(most.executed)} FLOPs executed, "
            f"{numbers.flops(most.coursework)} by the coursework's rules. Nothing was spent."
        )

    context.output.report(payload, human)


def _show(
    dataset: Dataset,
    forecasts: Sequence[Forecast],
    forecaster: Forecaster,
    settings: ForecastSettings,
    price: Any,
    context: CommandContext,
) -> None:
    from lvlora.report.terminal import terminal_plot

    output = context.output
    for history, f in list(zip(dataset, forecasts, strict=True))[:_CHARTS]:
        bands = bands_of(f, settings.quantiles)
        _, band = max(bands.items(), key=lambda b: b[0][1] - b[0][0], default=(None, None))
        for v, name in enumerate(dataset.variables[:4]):
            import numpy as np

            title = name if len(forecasts) == 1 else f"{f.series}: {name}"
            recent = slice(-4 * settings.horizon, None)
            output.line(
                terminal_plot(
                    history.values[recent, v], f.median[:, v],
                    None if band is None else band[0][:, v],
                    None if band is None else band[1][:, v],
                    ascii_only=output.ascii_only, title=title, height=8,
                    time=np.concatenate([history.time[recent], f.time]),
                )
            )  # fmt: skip
            output.line()
    levels = settings.quantiles if len(forecasts[0].samples) > 1 else ()
    several = len(forecasts) > 1
    head = [*(["id"] if several else []), dataset.time_name]
    for name in dataset.variables:
        head += [name, *(f"{q:g}" for q in levels if q != 0.5)]
    rows: list[list[str]] = []
    for f in forecasts:
        quantiles = {q: f.quantile(q) for q in levels}
        for h, t in enumerate(f.time):
            row = [*([f.series] if several else []), f"{t:.10g}"]
            for v in range(len(dataset.variables)):
                row.append(numbers.plain(float(f.median[h, v])))
                row += [numbers.plain(float(quantiles[q][h, v])) for q in levels if q != 0.5]
            rows.append(row)
    output.table(head, rows[:_TABLE_ROWS])
    if len(rows) > _TABLE_ROWS:
        output.line(f"… {len(rows) - _TABLE_ROWS} more rows: add --output FILE.csv")
    rules = " or ".join(sorted({f.scale.rule for f in forecasts}))
    output.line(
        f"{forecaster.name}, {len(forecasts[0].samples)} futures a series; scale by the "
        f"{rules} rule; {numbers.flops(price.executed)} FLOPs executed."
    )
