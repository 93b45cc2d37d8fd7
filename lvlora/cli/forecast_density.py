"""`lvlora forecast --density`: the exact distribution of the next step's values.

Knows: its JSON, its CSV, its chart. Does not know: how the tree of digits is walked.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lvlora import numbers, output_files
from lvlora.cli.program.context import CommandContext
from lvlora.errors import SettingsError
from lvlora.series.files.formulas import csv_text
from lvlora.settings import ForecastSettings

if TYPE_CHECKING:
    from lvlora.forecast.density import Density
    from lvlora.forecast.forecaster import Forecaster
    from lvlora.series.dataset import Dataset

_SERIES = 3
_ROWS = 16
_BAR = 40
_EDGES = (0.001, 0.999)
"""The chart is of the values between these quantiles."""


def check(settings: ForecastSettings) -> None:
    """Refuse options that ask for futures, which are not drawn here."""
    asked = {
        "--horizon": settings.horizon not in (None, 1),
        "--holdout": settings.holdout is not None,
        "--calibrated": settings.calibrated,
        "--samples-out": settings.samples_out is not None,
        "--plot": settings.plot is not None,
        "--greedy": settings.greedy,
    }
    for option, given in asked.items():
        if given:
            raise SettingsError(
                f"--density and {option}: the distribution is of the next step, and no future is "
                "drawn.",
                "Leave one of them out.",
            )


def show_density(
    settings: ForecastSettings,
    context: CommandContext,
    dataset: Dataset,
    forecaster: Forecaster,
    load_seconds: float,
) -> None:
    """Walk the digits, write, show."""
    from lvlora.cli.terminal.progress import counted
    from lvlora.forecast import density
    from lvlora.forecast.spending import charged

    histories, floor = list(dataset), settings.density_floor
    calls = settings.density_calls
    most = density.at_most(
        forecaster, histories, threshold=floor, calls=calls, context=settings.context
    )
    n_values = len(histories) * len(dataset.variables)
    context.output.note(
        f"At most {calls:,} calls of the model for each of {n_values:,} values, "
        f"{numbers.flops(most.executed)} FLOPs in all."
    )
    begin = time.perf_counter()
    found = []
    with (
        charged(settings, forecaster, most, command="forecast"),
        counted(context.output, "Walking the digits", len(histories)) as advance,
    ):
        for history in histories:
            found += density.next_step(
                forecaster, [history], threshold=floor, calls=calls, context=settings.context
            )
            advance(1)
    seconds = time.perf_counter() - begin
    table = _table(dataset, found)
    written = []
    if settings.output is not None and settings.output != Path("-"):
        output_files.write_text(settings.output, table)
        written.append(settings.output)
    price = forecaster.usage.price
    payload = {
        "series": [_as_json(one, dataset, settings.quantiles) for one in found],
        "model": forecaster.facts(),
        "density_floor": floor,
        "density_calls": calls,
        "flops": price.to_dict(),
        "timing": {"load_seconds": load_seconds, "decode_seconds": seconds},
        "files": [str(p) for p in written],
    }
    if settings.output == Path("-"):
        context.output.write(table)
    else:
        context.output.report(payload, lambda: _show(found, dataset, forecaster, context))
    cut = [one for densities in found for one in densities if one.cut > 0]
    if cut:
        worst = max(cut, key=lambda one: one.cut)
        context.output.warning(
            f"{len(cut)} of {n_values} distributions were not walked to their end: of "
            f"{worst.series}, {dataset.variables[worst.variable]}, {numbers.share(worst.cut)} of "
            f"the mass lies behind what {calls:,} calls reached (--density-calls)."
        )
    for path in written:
        context.output.note(f"Written: {path}")


def _as_json(found: Sequence[Density], dataset: Dataset, levels: Sequence[float]) -> dict[str, Any]:
    variables, calendar = dataset.variables, dataset.calendar
    return {
        "id": found[0].series,
        "time": found[0].time if calendar is None else calendar.text(found[0].time),
        "variables": {
            name: {
                "given": dict(zip(variables, one.given, strict=False)),
                "mode": one.mode,
                "mean": one.mean,
                "quantiles": {f"{q:g}": one.quantile(q) for q in levels},
                "width": one.width,
                "values": one.values,
                "probabilities": one.probabilities,
                "densities": one.densities,
                "missing": one.missing,
                "remainder": one.remainder,
                "cut": one.cut,
            }
            for name, one in zip(variables, found, strict=True)
        },
    }


def _table(dataset: Dataset, found: Sequence[Sequence[Density]]) -> str:
    """A row a series, variable and value that can be written."""
    head = ["id", dataset.time_name, "variable", "value", "width", "probability", "density"]
    calendar = dataset.calendar
    times = [d[0].time if calendar is None else calendar.text(d[0].time) for d in found]
    rows = [
        [one.series, time, name, float(value), one.width, float(p), float(d)]
        for time, densities in zip(times, found, strict=True)
        for name, one in zip(dataset.variables, densities, strict=True)
        for value, p, d in zip(one.values, one.probabilities, one.densities, strict=True)
    ]
    return csv_text(head, rows)


def _show(
    found: Sequence[Sequence[Density]],
    dataset: Dataset,
    forecaster: Forecaster,
    context: CommandContext,
) -> None:
    from lvlora.series.dates import text_of

    output = context.output
    for densities in found[:_SERIES]:
        for name, one in zip(dataset.variables, densities, strict=True):
            pairs = zip(dataset.variables, one.given, strict=False)
            given = ", ".join(f"{other} = {numbers.plain(x)}" for other, x in pairs)
            of = f"{one.series}: {name}" if len(found) > 1 else name
            at = text_of(dataset.calendar, one.time)
            output.line(f"{of} at {at}" + (f", given {given}" if given else ""))
            for line in chart(one, output.ascii_only):
                output.line(line)
            for line in _summary(one):
                output.line(line)
            output.line()
    if len(found) > _SERIES:
        output.line(f"… {len(found) - _SERIES} more series: add --output FILE.csv")
    output.line(f"{forecaster.name}; {numbers.flops(forecaster.usage.price.executed)} FLOPs.")


def _summary(one: Density) -> list[str]:
    ends = ", ".join(f"{numbers.plain(one.quantile(q))} at {q:g}" for q in (0.1, 0.5, 0.9))
    words = [f"{len(one.values)} values {numbers.plain(one.width)} apart"]
    if one.missing:
        words.append(f"missing {numbers.share(one.missing)}")
    words.append(f"not listed {numbers.share(one.remainder)}")
    return [f"most probable {numbers.plain(one.mode)}; quantiles {ends}", "; ".join(words)]


def chart(one: Density, ascii_only: bool = False) -> list[str]:
    """A histogram lying on its side: classes of as many bins each, with their probabilities."""
    import numpy as np

    if not len(one.values):
        return []
    low, high = (one.quantile(q) for q in _EDGES)
    n_bins = round((high - low) / one.width) + 1
    per_class = -(-n_bins // _ROWS)
    n_classes = -(-n_bins // per_class)
    places = np.round((one.values - low) / one.width).astype(np.int64)
    inside = (places >= 0) & (places < n_classes * per_class)
    masses = np.bincount(
        places[inside] // per_class, weights=one.probabilities[inside], minlength=n_classes
    )
    labels = [
        f"{numbers.plain(low + i * per_class * one.width)} … "
        f"{numbers.plain(low + ((i + 1) * per_class - 1) * one.width)}"
        if per_class > 1
        else numbers.plain(low + i * one.width)
        for i in range(n_classes)
    ]
    if ascii_only:
        labels = [label.replace("…", "to") for label in labels]
    width, block = max(map(len, labels)), "#" if ascii_only else "█"
    top = float(masses.max()) or 1.0
    return [
        f"  {label:>{width}}  {_short(float(mass)):>7}  "
        f"{block * round(_BAR * float(mass) / top)}".rstrip()
        for label, mass in zip(labels, masses, strict=True)
    ]


def _short(mass: float) -> str:
    return numbers.share(mass) if mass >= 5e-4 else "< 0.1 %"
