"""Forecasts, densities and their prices as people see them: charts, tables, a last sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lvlora import numbers
from lvlora.cli.terminal.output import Output

if TYPE_CHECKING:
    from lvlora.forecast.answers import (
        Distribution,
        ForecastDensity,
        Forecasts,
        ForecastSeries,
        HoldoutScores,
        ModelFacts,
    )
    from lvlora.forecast.density import Density
    from lvlora.forecast.forecast import Forecast

_TABLE_ROWS = 24
_CHARTS = 3
_CHARTED_VARIABLES = 4
_LEAST_WEIGHT, _MOST_WEIGHTS = 0.01, 6
_BINS = 16
_BAR = 40
_EDGES = (0.001, 0.999)
"""The chart of a density is of the values between these quantiles."""


def show_forecasts(found: Forecasts, output: Output) -> None:
    """A chart of the first series, the table of all, how near it came, and how it was made."""
    from lvlora.series.metrics.measures import METRICS

    _charts(found, output)
    _table(found, output)
    name = found.forecaster or _name(found.model)
    if found.scores is not None:
        output.line(_sentence(found.scores))
        output.line()
        entries = [(name, found.scores), *((r.name, r) for r in found.scores.rivals)]
        heads = {m: said.head for m, said in METRICS.items() if m in found.scores.model_fields_set}
        output.table(
            ["forecaster", *heads.values()],
            [[n, *(numbers.plain(getattr(s, m), 3) for m in heads)] for n, s in entries],
            bold=[0],
            title="Beside plain forecasters of the same steps",
        )
    rules = " or ".join(sorted({s.scale.rule for s in found.series if s.scale is not None}))
    how = "" if found.calibration is None else "calibrated intervals; "
    how += f"scale by the {rules} rule; " if rules else ""
    output.line(
        f"{name}, {found.samples} futures a series; {how}"
        f"{numbers.flops(found.flops.executed)} FLOPs executed."
    )
    for one in [s for s in found.series if s.weights][:_CHARTS]:
        output.line(_weights(one, len(found.series) > 1))


def _weights(one: ForecastSeries, several: bool) -> str:
    """Who has how much of a forecast of all together, in a sentence."""
    shares = [(n, w) for n, w in (one.weights or {}).items() if w >= _LEAST_WEIGHT]
    said = ", ".join(f"{n} {numbers.share(w)}" for n, w in shares[:_MOST_WEIGHTS])
    return f"Weights{f' of {one.id}' if several else ''}, by the end of the history: {said}."


def _charts(found: Forecasts, output: Output) -> None:
    import numpy as np

    from lvlora.forecast.dataset_forecast import bands_of
    from lvlora.report.drawing.text_chart import terminal_plot
    from lvlora.series.dates import written

    made = found.made
    dataset, several = made.histories, len(made.forecasts) > 1
    for history, f in list(zip(dataset, made.forecasts, strict=True))[:_CHARTS]:
        bands = bands_of(f, made.levels)
        _, band = max(bands.items(), key=lambda b: b[0][1] - b[0][0], default=(None, None))
        recent = slice(-4 * found.horizon, None)
        for v, name in enumerate(dataset.variables[:_CHARTED_VARIABLES]):
            output.line(
                terminal_plot(
                    history.values[recent, v],
                    f.median[:, v],
                    None if band is None else band[0][:, v],
                    None if band is None else band[1][:, v],
                    ascii_only=output.ascii_only,
                    title=f"{f.series}: {name}" if several else name,
                    height=8,
                    time=written(dataset.calendar, np.concatenate([history.time[recent], f.time])),
                )
            )
            output.line()


def _table(found: Forecasts, output: Output) -> None:
    """A row a series and time, as many as one may want to see."""
    several, time_name = len(found.series) > 1, found.made.histories.time_name
    levels = [f"{q:g}" for q in found.made.levels if q != 0.5 and found.samples > 1]
    head = [*(["id"] if several else []), time_name]
    for name in found.series[0].variables:
        head += [name, *levels, *([] if found.scores is None else ["truth"])]
    rows: list[list[str]] = []
    for f, one in zip(found.made.forecasts, found.series, strict=True):
        if len(rows) < _TABLE_ROWS:
            rows += _rows(f, one, levels, several)
    output.table(head, rows[:_TABLE_ROWS])
    n_rows = len(found.series) * found.horizon
    if n_rows > _TABLE_ROWS:
        output.line(f"… {n_rows - _TABLE_ROWS} more rows: add --output FILE.csv")


def _rows(
    f: Forecast, one: ForecastSeries, levels: Sequence[str], several: bool
) -> list[list[str]]:
    from lvlora.series.dates import text_of

    rows = []
    for h, t in enumerate(f.time[:_TABLE_ROWS]):
        row = [*([one.id] if several else []), text_of(f.calendar, t)]
        for name, future in one.variables.items():
            row.append(numbers.plain(future.median[h]))
            row += [numbers.plain(future.quantiles[level][h]) for level in levels]
            row += [] if one.truth is None else [numbers.plain(one.truth[name][h])]
        rows.append(row)
    return rows


def _sentence(found: HoldoutScores) -> str:
    """The scores for people."""
    words = [
        f"MAE {numbers.plain(found.mae, 3)}",
        *([] if found.mase is None else [f"MASE {numbers.plain(found.mase, 3)}"]),
        f"CRPS {numbers.plain(found.crps, 3)}",
    ]
    if found.nll_impossible is not None:
        words.append(f"NLL/D {_nll(found)} nats")
    words += [
        f"{100 * float(level):g} % intervals cover {numbers.share(share)}"
        for level, share in found.coverage.items()
        if share is not None
    ]
    said = f"Against the {found.n_values} values held out: {', '.join(words)}."
    if found.nll_impossible:
        said += (
            f" {found.nll_impossible} of them are beyond the grammar; without them NLL/D "
            f"is {numbers.plain(found.nll_possible, 3)}."
        )
    return said


def _nll(found: HoldoutScores) -> str:
    """Infinite as soon as one value cannot be written; JSON has no number for that."""
    return "inf" if found.nll_impossible else numbers.plain(found.nll, 3)


def _name(model: ModelFacts | None) -> str:
    if model is None:
        return ""
    return f"{model.name} + {model.adapter}" if model.adapter else f"{model.name} zero-shot"


def show_density(found: ForecastDensity, output: Output) -> None:
    """A chart of each variable of the first series, and what it says in numbers."""
    from lvlora.series.dates import text_of

    made = found.made
    dataset, several = made.histories, len(found.series) > 1
    for answer, densities in list(zip(found.series, made.densities, strict=True))[:_CHARTS]:
        for (name, numbers_of), one in zip(answer.variables.items(), densities, strict=True):
            given = ", ".join(f"{k} = {numbers.plain(x)}" for k, x in numbers_of.given.items())
            of = f"{one.series}: {name}" if several else name
            at = text_of(dataset.calendar, one.time)
            output.line(f"{of} at {at}" + (f", given {given}" if given else ""))
            for line in [*density_chart(one, output.ascii_only), *_summary(numbers_of, one)]:
                output.line(line)
            output.line()
    if len(found.series) > _CHARTS:
        output.line(f"… {len(found.series) - _CHARTS} more series: add --output FILE.csv")
    output.line(f"{_name(found.model)}; {numbers.flops(found.flops.executed)} FLOPs.")


def _summary(found: Distribution, one: Density) -> list[str]:
    ends = ", ".join(f"{numbers.plain(one.quantile(q))} at {q:g}" for q in (0.1, 0.5, 0.9))
    words = [f"{len(found.values)} values {numbers.plain(found.width)} apart"]
    if found.missing:
        words.append(f"missing {numbers.share(found.missing)}")
    words.append(f"not listed {numbers.share(found.remainder)}")
    return [f"most probable {numbers.plain(found.mode)}; quantiles {ends}", "; ".join(words)]


def density_chart(one: Density, ascii_only: bool = False) -> list[str]:
    """A histogram lying on its side: classes of as many bins each, with their probabilities."""
    import numpy as np

    if not len(one.values):
        return []
    low, high = (one.quantile(q) for q in _EDGES)
    n_bins = round((high - low) / one.width) + 1
    per_class = -(-n_bins // _BINS)
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
