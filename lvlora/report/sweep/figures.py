"""What a sweep found: error against FLOPs, a map of two settings, or lines through many."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lvlora.report.drawing import style
from lvlora.report.drawing.errors import number
from lvlora.report.sweep.importance import importance_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Rows = Sequence[Mapping[str, Any]]
"""A trial each: ``trial``, ``stage``, ``params``, ``value`` (None where it failed), ``flops``,
``state`` (complete or pruned)."""

_WIDE = 3.0  # largest over smallest, from which an axis is logarithmic
_MARKERS = ("o", "s", "D", "^")


def draw_sweep(
    folder: Path,
    rows: Rows,
    metric: str,
    before: float | None,
    importances: Mapping[str, float],
) -> list[Path]:
    """Every figure that these trials give, as PNG files; none where no trial has a result."""
    figures = {"error-by-flops.png": error_by_flops_figure(rows, metric, before)}
    if is_map(rows):
        figures["map.png"] = map_figure(rows, metric)
    if searched(rows):
        figures["parallel.png"] = parallel_figure(rows, metric)
    if importances:
        figures["importances.png"] = importance_figure(importances, metric)
    if not _with_value(rows):
        return []
    for name, figure in figures.items():
        style.save(figure, folder / name)
    return [folder / name for name in figures]


def searched(rows: Rows) -> list[str]:
    """The settings that take more than one value among the trials with a result."""
    names = dict.fromkeys(name for row in rows for name in row["params"])
    found = []
    for name in names:
        values = {row["params"][name] for row in _with_value(rows) if name in row["params"]}
        if len(values) > 1:
            found.append(name)
    return found


def is_map(rows: Rows) -> bool:
    """The first stage is a grid of two settings, most of its cells with a result."""
    own = _first_stage(rows)
    names = searched(own)
    if len(names) != 2:
        return False
    sides = [{row["params"][n] for row in own if n in row["params"]} for n in names]
    return len(sides[0]) * len(sides[1]) <= 2 * len(own) and max(map(len, sides)) <= 12


def error_by_flops_figure(rows: Rows, metric: str, before: float | None = None) -> Figure:
    """The error of each trial against what it cost; a line joins those that nothing beats in both.

    Args:
        metric: what the error is, for the axis.
        before: the error of the model without training.
    """
    from matplotlib.lines import Line2D

    drawn = [r for r in _with_value(rows) if (number(r, "flops") or 0) > 0]
    with style.look():
        figure = style.new_figure(height=4.4)
        axes = figure.add_subplot()
        axes.set_xlabel("FLOPs of the trial")
        axes.set_ylabel(f"{metric} (less is better)")
        if not drawn:
            axes.text(0.5, 0.5, "no trial has a result", transform=axes.transAxes, ha="center")
            return figure
        stages = list(dict.fromkeys(str(r["stage"]) for r in drawn))
        handles: list[Any] = []
        for index, stage in enumerate(stages):
            marker, colour = _MARKERS[index % len(_MARKERS)], style.colour(index)
            for pruned in (False, True):
                own = [
                    r for r in drawn if r["stage"] == stage and (r["state"] == "pruned") == pruned
                ]
                axes.scatter(
                    [r["flops"] for r in own],
                    [r["value"] for r in own],
                    s=44,
                    zorder=3,
                    marker=marker,
                    facecolors="none" if pruned else colour,
                    edgecolors=colour,
                )
            name = style.plain(stage if len(stages) > 1 else "trial", 24)
            handles.append(Line2D([], [], color=colour, marker=marker, linestyle="", label=name))
        if any(r["state"] == "pruned" for r in drawn):
            handles.append(
                Line2D(
                    [],
                    [],
                    color=style.FAINT,
                    marker="o",
                    linestyle="",
                    label="ended early",
                    markerfacecolor="none",
                )
            )
        front = _front([r for r in drawn if r["state"] != "pruned"])
        if len(front) > 1:
            axes.plot(
                [r["flops"] for r in front],
                [r["value"] for r in front],
                color="#c3cad2",
                linewidth=1.2,
                drawstyle="steps-post",
                zorder=1,
            )
        if before is not None:
            line = axes.axhline(before, color=style.FAINT, linewidth=1, linestyle=":", zorder=1)
            line.set_label("before training")
            handles.append(line)
        _scale(axes, [float(r["flops"]) for r in drawn], "x")
        values = [float(r["value"]) for r in drawn]
        _scale(axes, [*values, *([] if before is None else [before])], "y")
        _mark(axes, drawn)
        style.legend_below(figure, handles)
    return figure


def map_figure(rows: Rows, metric: str, *, narrow: bool = False) -> Figure:
    """The error at each pair of values of the two settings that the first stage searched."""
    own = _first_stage(rows)
    down, across = sorted(searched(own), key=lambda n: len({r["params"].get(n) for r in own}))
    with style.look():
        ticks = [_sorted({r["params"][n] for r in own if n in r["params"]}) for n in (down, across)]
        width = style.NARROW if narrow else style.WIDTH
        figure = style.new_figure(width, 1.5 + 0.62 * len(ticks[0]))
        axes = figure.add_subplot()
        cells = np.full((len(ticks[0]), len(ticks[1])), np.nan)
        for row in own:
            if number(row, "value") is not None and {down, across} <= set(row["params"]):
                at = ticks[0].index(row["params"][down]), ticks[1].index(row["params"][across])
                cells[at] = min(float(row["value"]), np.nan_to_num(cells[at], nan=math.inf))
        low, high = float(np.nanmin(cells)), float(np.nanmax(cells))
        image = axes.pcolormesh(
            cells,
            cmap="cividis_r",
            vmin=low,
            vmax=max(high, low + 1e-12),
            edgecolors="white",
            linewidth=2,
        )
        for (i, j), value in np.ndenumerate(cells):
            dark = math.isfinite(value) and value > (low + high) / 2
            axes.text(
                j + 0.5,
                i + 0.5,
                style.short(value),
                ha="center",
                va="center",
                color="white" if dark else style.INK,
                fontweight="bold" if value == low else "normal",
            )
        axes.set_xticks(np.arange(len(ticks[1])) + 0.5, [_shown(v) for v in ticks[1]])
        axes.set_yticks(np.arange(len(ticks[0])) + 0.5, [_shown(v) for v in ticks[0]])
        axes.tick_params(length=0)
        axes.grid(visible=False)
        for side in axes.spines.values():
            side.set_visible(False)
        axes.set_xlabel(_title(across))
        axes.set_ylabel(_title(down))
        bar = figure.colorbar(image, ax=axes, label=metric, pad=0.02)
        bar.outline.set_visible(False)
    return figure


def parallel_figure(rows: Rows, metric: str) -> Figure:
    """A line for each trial through its settings to its error; the best is drawn boldly."""
    from matplotlib import colormaps

    drawn = _with_value(rows)
    names = searched(rows)[:8]
    with style.look():
        figure = style.new_figure(height=4.2)
        axes = figure.add_subplot()
        if not drawn or not names:
            axes.text(0.5, 0.5, "no trial has a result", transform=axes.transAxes, ha="center")
            return figure
        scales = [_Axis([r["params"].get(n) for r in drawn]) for n in names]
        errors = _Axis([float(r["value"]) for r in drawn])
        best = min(drawn, key=lambda r: float(r["value"]))
        for row in sorted(drawn, key=lambda r: -float(r["value"])):
            heights = [s.place(row["params"].get(n)) for s, n in zip(scales, names, strict=True)]
            heights.append(errors.place(float(row["value"])))
            is_best = row is best
            axes.plot(
                range(len(heights)),
                heights,
                linewidth=2.6 if is_best else 1.1,
                color=style.PALETTE[1]
                if is_best
                else colormaps["cividis"](0.9 * errors.place(float(row["value"]))),
                linestyle=":" if row["state"] == "pruned" else "-",
                zorder=3 if is_best else 2,
            )
        for at, scale in enumerate([*scales, errors]):
            axes.axvline(at, color="#8b949e", linewidth=0.8, zorder=1)
            for height, text in scale.ticks():
                axes.annotate(
                    style.plain(text, 16),
                    (at, height),
                    xytext=(5, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=8.5,
                    zorder=4,
                    bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.6},
                )
        axes.set_xticks(range(len(names) + 1), [*map(_title, names), metric])
        axes.set_xlim(-0.15, len(names) + 0.45)
        axes.set_ylim(-0.06, 1.06)
        axes.set_yticks([])
        axes.grid(visible=False)
        for side in axes.spines.values():
            side.set_visible(False)
        axes.tick_params(length=0)
        style.legend_below(figure, [], note=f"Bold: trial {best['trial']}, the best.")
    return figure


class _Axis:
    """Where a value of one setting stands between 0 and 1."""

    def __init__(self, values: Sequence[Any]) -> None:
        known = [v for v in values if v is not None]
        self.named = any(isinstance(v, (str, bool)) for v in known)
        self.values = _sorted(set(known))
        if not self.named:
            low, high = float(self.values[0]), float(self.values[-1])
            self.log = low > 0 and high > _WIDE * low
            self.low, self.high = (math.log(low), math.log(high)) if self.log else (low, high)

    def place(self, value: Any) -> float:
        if value is None:  # a trial of a stage that did not have the setting
            return 0.5
        if self.named:
            return self.values.index(value) / max(1, len(self.values) - 1)
        height = math.log(value) if self.log else float(value)
        return 0.5 if self.high == self.low else (height - self.low) / (self.high - self.low)

    def ticks(self) -> list[tuple[float, str]]:
        if self.named or len(self.values) <= 6:
            return [(self.place(v), _shown(v)) for v in self.values]
        return [(self.place(v), style.short(v)) for v in (self.values[0], self.values[-1])]


def _mark(axes: Axes, rows: Rows) -> None:
    """The trials' numbers, the best first; one that would cover another is left out."""
    placed: list[tuple[float, float]] = []
    for row in sorted(rows, key=lambda r: float(r["value"])):
        point = float(row["flops"]), float(row["value"])
        x, y = axes.transAxes.inverted().transform(axes.transData.transform(point))
        if any(abs(x - a) < 0.04 and abs(y - b) < 0.045 for a, b in placed):
            continue
        is_best = not placed
        placed.append((x, y))
        axes.annotate(
            str(row["trial"]),
            point,
            xytext=(6, 5),
            textcoords="offset points",
            fontsize=8.5,
            color=style.INK if is_best else style.FAINT,
            fontweight="bold" if is_best else "normal",
        )


def _scale(axes: Axes, values: Sequence[float], side: str) -> None:
    """Room around the points; logarithmic where they are far apart."""
    low, high = min(values), max(values)
    axis = axes.xaxis if side == "x" else axes.yaxis
    set_limits = axes.set_xlim if side == "x" else axes.set_ylim
    if low > 0 and high > _WIDE * low:
        (axes.set_xscale if side == "x" else axes.set_yscale)("log")
        room = (high / low) ** 0.08
        set_limits(low / room, high * room)
        style.plain_log_ticks(axis)
        return
    room = 0.1 * (high - low) or 0.1 * abs(high) or 1.0
    set_limits(low - room, high + room)
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(6))
    axis.set_major_formatter(FuncFormatter(lambda x, _: style.short(x)))


def _front(rows: Rows) -> list[Mapping[str, Any]]:
    """The trials that no other beats in both cost and error, cheapest first."""
    front: list[Mapping[str, Any]] = []
    for row in sorted(rows, key=lambda r: (float(r["flops"]), float(r["value"]))):
        if not front or float(row["value"]) < float(front[-1]["value"]):
            front.append(row)
    return front


def _first_stage(rows: Rows) -> list[Mapping[str, Any]]:
    return [r for r in rows if r["stage"] == rows[0]["stage"]]


def _with_value(rows: Rows) -> list[Mapping[str, Any]]:
    return [r for r in rows if number(r, "value") is not None]


def _sorted(values: set[Any]) -> list[Any]:
    return sorted(values, key=lambda v: (isinstance(v, str), v))


def _shown(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    return f"{value:g}" if value == 0 or abs(value) < 1e5 else style.short(value)


def _title(name: str) -> str:
    return style.plain(name.replace("_", " "))
