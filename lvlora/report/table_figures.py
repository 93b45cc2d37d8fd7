"""Forecasters side by side: their errors, the growth of these with the horizon, their cost.

Knows: rows of a result table and arrays of errors. Does not know: how they were scored.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lvlora.report import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FloatArray = NDArray[np.float64]
Rows = Sequence[Mapping[str, Any]]
Cost = Literal["flops", "seconds"]

MAX_FORECASTERS = 24
_MAX_PANELS = 6
_WIDE = 20.0  # largest over smallest, from which an axis is logarithmic
_MODEL_KINDS = ("model", "adapter", "zero-shot", "lora")
_LINE = 0.042  # of the axes' height: a line of small text
Side = Literal["left", "right"]
_BESIDE: tuple[tuple[float, Side], ...] = ((8.0, "left"), (-8.0, "right"))
_PLACES = tuple((x, y, side) for y in (0.0, 12.0, -12.0, 22.0, -22.0) for x, side in _BESIDE)
"""Where a point's name may stand: offsets in points, and the side that is next to the point."""
_COST_NAMES = {"flops": "FLOPs of the forecasts", "seconds": "seconds of the forecasts"}


def is_model(row: Mapping[str, Any]) -> bool:
    """Whether a table's row is a language model's: what the figures are about."""
    return str(row.get("kind", "")).lower().startswith(_MODEL_KINDS)


def draw_errors(path: Path, forecasters: Rows, metric: str = "mae") -> None:
    """`errors_figure` into a PNG, SVG or PDF file; see `style.save` for the errors."""
    style.check_suffix(path)
    style.save(errors_figure(forecasters, metric), path)


def draw_error_by_step(
    path: Path,
    errors: Mapping[str, ArrayLike],
    variables: Sequence[str],
    models: Sequence[str] = (),
) -> None:
    """`error_by_step_figure` into a PNG, SVG or PDF file; see `style.save` for the errors."""
    style.check_suffix(path)
    style.save(error_by_step_figure(errors, variables, models), path)


def draw_cost(path: Path, forecasters: Rows, cost: Cost = "flops", metric: str = "mae") -> None:
    """`cost_figure` into a PNG, SVG or PDF file; see `style.save` for the errors."""
    style.check_suffix(path)
    style.save(cost_figure(forecasters, cost, metric), path)


def errors_figure(forecasters: Rows, metric: str = "mae", *, narrow: bool = False) -> Figure:
    """A bar for each forecaster, the best on top; dots where only a logarithmic axis shows all.

    Args:
        forecasters: rows with ``name``, ``kind`` and ``metric`` (None where it is not defined).
        narrow: for a phone.
    """
    rows = sorted(
        (r for r in forecasters if _number(r, metric) is not None), key=lambda r: r[metric]
    )
    left_out = max(0, len(rows) - MAX_FORECASTERS)
    rows = rows[:MAX_FORECASTERS]
    values = [float(r[metric]) for r in rows]
    logarithmic = _needs_log(values)
    with style.look():
        width = style.NARROW if narrow else style.WIDTH
        figure = style.new_figure(width, 1.2 + (0.4 if narrow else 0.3) * max(2, len(rows)))
        axes = figure.add_subplot()
        places = np.arange(len(rows))[::-1]
        colours = [style.ACCENT if is_model(r) else style.REST for r in rows]
        if logarithmic:
            # a bar has no foot on a logarithmic axis: its length would mean nothing
            axes.hlines(
                places, min(values) / 2 if values else 0, values, colors="#d5dae0", linewidth=1
            )
            axes.scatter(values, places, color=colours, s=46, zorder=3)
            axes.set_xscale("log")
            axes.set_xlim(min(values) / 1.5, max(values) * (6 if narrow else 2.2))
            style.plain_log_ticks(axes.xaxis)
        else:
            axes.barh(places, values, color=colours, height=0.66)
            axes.set_xlim(0, max(values, default=1.0) * (1.3 if narrow else 1.14) or 1.0)
        for place, value, row in zip(places, values, rows, strict=True):
            axes.annotate(
                style.short(value), (value, place), xytext=(7, 0), textcoords="offset points",
                va="center", fontsize=9, fontweight="bold" if is_model(row) else "normal",
            )  # fmt: skip
        names = [style.plain(str(r["name"]), 44) for r in rows]
        if narrow:
            names = ["\n".join(textwrap.wrap(name, 20)) for name in names]
        axes.set_yticks(places, names, fontsize=8 if narrow else None)
        for label, row in zip(axes.get_yticklabels(), rows, strict=True):
            label.set_fontweight("bold" if is_model(row) else "normal")
        axes.set_ylim(-0.7, len(rows) - 0.3)
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", length=0)
        scale = " (logarithmic; less is better)" if logarithmic else " (less is better)"
        scale = "" if narrow else scale  # no room beside the names
        axes.set_xlabel(_metric_name(metric) + scale)
        style.legend_below(
            figure, _kinds(rows), note=f"{left_out} more forecasters not drawn" if left_out else ""
        )
    return figure


def error_by_step_figure(
    errors: Mapping[str, ArrayLike],
    variables: Sequence[str],
    models: Sequence[str] = (),
    *,
    narrow: bool = False,
) -> Figure:
    """How errors grow with the horizon: a panel for each variable, a line for each forecaster.

    Args:
        errors: name -> (H, V) mean absolute errors; or (H,), of all variables together.
        variables: V names; not looked at for (H,).
        models: names that are drawn boldly.
        narrow: for a phone, one variable under the other.
    """
    arrays = {name: np.asarray(e, dtype=np.float64) for name, e in errors.items()}
    flat = all(a.ndim == 1 for a in arrays.values())
    shaped = {n: a[:, None] if a.ndim == 1 else a for n, a in arrays.items()}
    titles = ["all variables"] if flat else list(variables)
    shown = min(_MAX_PANELS, len(titles))
    columns = 1 if narrow else min(shown, 2)
    lines = math.ceil(shown / columns)
    # the models keep the first colours, whatever their place in the table
    order = [n for n in models if n in shaped] + [n for n in shaped if n not in models]
    order = order[:MAX_FORECASTERS]
    with style.look():
        height = 0.9 + 2.9 * lines + 0.22 * math.ceil(len(order) / (1 if narrow else 3))
        figure = style.new_figure(style.NARROW if narrow else style.WIDTH, height)
        panels = figure.subplots(lines, columns, squeeze=False, sharex=True)
        handles: list[Any] = []
        for i, axes in enumerate(panels.flat):
            if i >= shown:
                axes.remove()
                continue
            lowest, highest = math.inf, 0.0
            for k, name in enumerate(order):
                values = shaped[name][:, min(i, shaped[name].shape[1] - 1)]
                bold = name in models
                (line,) = axes.plot(
                    np.arange(1, len(values) + 1), values, color=style.colour(k),
                    linestyle="-" if bold else ("--", "-.", ":")[k % 3],
                    linewidth=2.4 if bold else 1.2, zorder=3 if bold else 2,
                    marker="." if len(values) == 1 else None, label=style.plain(name, 32),
                )  # fmt: skip
                if i == 0:
                    handles.append(line)
                positive = values[np.isfinite(values) & (values > 0)]
                if positive.size:
                    lowest, highest = min(lowest, positive.min()), max(highest, positive.max())
            if highest > _WIDE * lowest:
                axes.set_yscale("log")
                style.plain_log_ticks(axes.yaxis)
            axes.set_title(style.plain(titles[i], 28))
            _whole_steps(axes)
            if i >= shown - columns:
                axes.set_xlabel("steps ahead")
                axes.tick_params(labelbottom=True)
            if i % columns == 0:
                axes.set_ylabel("mean absolute error")
        hidden = len(titles) - shown
        style.legend_below(
            figure,
            handles,
            columns=3,
            note=f"{hidden} more variables not drawn" if hidden > 0 else "",
        )
    return figure


def cost_figure(forecasters: Rows, cost: Cost = "flops", metric: str = "mae") -> Figure:
    """Cost and error of each forecaster; a line joins those that nothing beats in both.

    Forecasters whose cost is not known, or nothing, are lines across at the height of their error.

    Args:
        forecasters: rows with ``name``, ``kind``, ``metric`` and ``cost``.
    """
    usable = [r for r in forecasters if (_number(r, metric) or 0) > 0][:MAX_FORECASTERS]
    priced = [r for r in usable if (_number(r, cost) or 0) > 0]
    others = [r for r in usable if (_number(r, cost) or 0) <= 0]
    with style.look():
        figure = style.new_figure(height=5.0)
        axes = figure.add_subplot()
        axes.set_xlabel(f"{_COST_NAMES[cost]} (logarithmic)")
        axes.set_ylabel(f"{_metric_name(metric)} (logarithmic; less is better)")
        axes.set_xscale("log")
        axes.set_yscale("log")
        if not usable:
            axes.text(0.5, 0.5, "nothing to compare", transform=axes.transAxes, ha="center")
            return figure
        costs = [float(r[cost]) for r in priced] or [1.0]
        heights = [float(r[metric]) for r in usable]
        axes.set_xlim(min(costs) / 4, max(costs) * 6)
        axes.set_ylim(min(heights) / 1.5, max(heights) * 1.6)
        style.plain_log_ticks(axes.xaxis)
        style.plain_log_ticks(axes.yaxis)
        front = _front(priced, cost, metric)
        if len(front) > 1:
            axes.plot(
                [r[cost] for r in front], [r[metric] for r in front], color="#c3cad2",
                linewidth=1.2, drawstyle="steps-post", zorder=1,
            )  # fmt: skip
        for row in others:
            axes.axhline(float(row[metric]), color="#c3cad2", linewidth=1, linestyle=":", zorder=1)
        for row in priced:
            axes.scatter(
                float(row[cost]), float(row[metric]), s=56 if is_model(row) else 36, zorder=3,
                color=style.ACCENT if is_model(row) else style.REST,
                marker="o" if is_model(row) else "s",
            )  # fmt: skip
        _label_lines(axes, sorted(others, key=lambda r: float(r[metric])), metric)
        _label_points(figure, axes, priced, cost, metric)
        note = "Dotted lines: no such cost is counted for these." if others else ""
        style.legend_below(figure, _kinds(usable), note=note)
    return figure


def _label_lines(axes: Axes, rows: Rows, metric: str) -> None:
    """Names at the lines' right ends, moved apart where they would cover each other."""
    low, high = np.log(axes.get_ylim())
    at = (np.log([float(r[metric]) for r in rows]) - low) / (high - low)
    for row, y, place in zip(rows, at, _apart(at), strict=True):
        axes.annotate(
            style.plain(str(row["name"]), 26), (1.0, y), xytext=(1.03, place),
            xycoords="axes fraction", textcoords="axes fraction", va="center", fontsize=8.5,
            color=style.INK if is_model(row) else style.FAINT,
            arrowprops={"arrowstyle": "-", "color": "#c3cad2", "shrinkA": 0, "shrinkB": 0},
        )  # fmt: skip


def _apart(places: FloatArray) -> FloatArray:
    """Rising places in 0 … 1, moved up, or down from 1, until each has a line for itself."""
    spread = np.array(places, dtype=np.float64)
    for i in range(1, len(spread)):
        spread[i] = max(spread[i], spread[i - 1] + _LINE)
    ceiling = 1.0
    for i in reversed(range(len(spread))):
        spread[i] = min(spread[i], ceiling)
        ceiling = spread[i] - _LINE
    return spread


def _label_points(figure: Figure, axes: Axes, rows: Rows, cost: str, metric: str) -> None:
    """Put each name beside its point, where it covers no other name or point."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.transforms import Bbox

    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    figure.draw_without_rendering()  # the layout must be known before names can be fitted into it
    points = [(float(r[cost]), float(r[metric])) for r in rows]
    marks = axes.transData.transform(points) if points else np.empty((0, 2))
    taken = [Bbox([(x - 5, y - 5), (x + 5, y + 5)]) for x, y in marks]
    frame = axes.get_window_extent(renderer)
    for row, point in zip(rows, points, strict=True):
        text = axes.annotate(
            style.plain(str(row["name"]), 34), point, xytext=(0, 0), textcoords="offset points",
            va="center", fontsize=8.5, fontweight="bold" if is_model(row) else "normal",
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.8},
        )  # fmt: skip
        best = (math.inf, _PLACES[0])
        for place in _PLACES:
            text.xyann = place[:2]
            text.set_horizontalalignment(place[2])
            box = text.get_window_extent(renderer)
            outside = box.width * box.height - _overlap(box, frame)
            # a little cover is better than a name that could be anyone's
            badness = sum(_overlap(box, other) for other in taken) + 3 * outside + 6 * abs(place[1])
            if badness < best[0]:
                best = (badness, place)
        across, up, side = best[1]
        text.xyann = (across, up)
        text.set_horizontalalignment(side)
        taken.append(text.get_window_extent(renderer))
        if up:
            axes.annotate(
                "", point, xytext=(across, up), textcoords="offset points", zorder=2,
                arrowprops={"arrowstyle": "-", "color": style.REST, "shrinkA": 0, "shrinkB": 2},
            )  # fmt: skip


def _overlap(a: Any, b: Any) -> float:
    """Area that two boxes share."""
    width = min(a.x1, b.x1) - max(a.x0, b.x0)
    height = min(a.y1, b.y1) - max(a.y0, b.y0)
    return float(max(0.0, width) * max(0.0, height))


def _front(rows: Rows, cost: str, metric: str) -> list[Mapping[str, Any]]:
    """Those that no other beats in cost and error at once, from cheap to dear."""
    front: list[Mapping[str, Any]] = []
    for row in sorted(rows, key=lambda r: (r[cost], r[metric])):
        if not front or row[metric] < front[-1][metric]:
            front.append(row)
    return front


def _number(row: Mapping[str, Any], key: str) -> float | None:
    value = row.get(key)
    if isinstance(value, int | float) and math.isfinite(value):
        return float(value)
    return None


def _needs_log(values: Sequence[float]) -> bool:
    return len(values) > 1 and min(values) > 0 and max(values) / min(values) > _WIDE


def _metric_name(metric: str) -> str:
    names = {"mae": "mean absolute error", "mse": "mean squared error", "crps": "CRPS",
             "rmse": "root mean squared error", "smape": "sMAPE (%)", "mase": "MASE",
             "median_series_mae": "mean absolute error of the median series"}  # fmt: skip
    return names.get(metric, style.plain(metric))


def _kinds(rows: Rows) -> list[Any]:
    from matplotlib.patches import Patch

    kinds = {is_model(row) for row in rows}
    if len(kinds) < 2:
        return []
    return [
        Patch(color=style.ACCENT, label="language model"),
        Patch(color=style.REST, label="rival"),
    ]


def _whole_steps(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
