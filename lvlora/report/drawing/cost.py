"""What a forecaster costs against how good it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from lvlora.report.drawing import style
from lvlora.report.drawing.errors import (
    MAX_FORECASTERS,
    Bar,
    FloatArray,
    key_of_kinds,
    metric_name,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Cost = Literal["flops", "seconds", "training_flops"]

_LINE = 0.042  # of the axes' height: a line of small text
Side = Literal["left", "right", "center"]
Place = tuple[float, float, Side]
_UP = tuple(sign * 5.5 * k for k in range(9) for sign in ((1, -1) if k else (1,)))
_PLACES: tuple[Place, ...] = (
    *((8.0, up, "left") for up in _UP),
    *((-8.0, up, "right") for up in _UP),
    *((0.0, up, "center") for up in (12.0, -12.0)),
)
"""Where a point's name may stand: offsets in points, and the side that is next to the point."""
_NEAR = 40.0  # pixels: points nearly above each other
_ROUNDS = 6  # of moving each name to where it is best, given the others
_COST_NAMES = {
    "flops": "FLOPs of the forecasts",
    "seconds": "seconds of the forecasts",
    "training_flops": "FLOPs of the adapter's training",
}


def draw_cost(
    path: Path, forecasters: Sequence[Bar], cost: Cost = "flops", metric: str = "mae"
) -> None:
    """`cost_figure` into a PNG, SVG or PDF file; see `style.save` for the errors."""
    style.check_suffix(path)
    style.save(cost_figure(forecasters, cost, metric), path)


def cost_figure(forecasters: Sequence[Bar], cost: Cost = "flops", metric: str = "mae") -> Figure:
    """Cost and error of each forecaster; a line joins those that nothing beats in both.

    Forecasters whose cost is not known, or nothing, are lines across at the height of their error.

    Args:
        cost, metric: names of the costs and errors.
    """
    usable = [r for r in forecasters if _is_above_zero(r.error)][:MAX_FORECASTERS]
    priced = [_Point(r.cost or 0.0, r.error or 0.0, r) for r in usable if _is_above_zero(r.cost)]
    others = [(r.error or 0.0, r) for r in usable if not _is_above_zero(r.cost)]
    with style.look():
        figure = style.new_figure(height=5.0)
        axes = figure.add_subplot()
        axes.set_xlabel(f"{_COST_NAMES[cost]} (logarithmic)")
        axes.set_ylabel(f"{metric_name(metric)} (logarithmic; less is better)")
        axes.set_xscale("log")
        axes.set_yscale("log")
        if not usable:
            axes.text(0.5, 0.5, "nothing to compare", transform=axes.transAxes, ha="center")
            return figure
        costs = [p.cost for p in priced] or [1.0]
        heights = [r.error or 0.0 for r in usable]
        axes.set_xlim(min(costs) / 4, max(costs) * 6)
        axes.set_ylim(min(heights) / 1.5, max(heights) * 1.6)
        style.plain_log_ticks(axes.xaxis)
        style.plain_log_ticks(axes.yaxis)
        front = _front(priced)
        if len(front) > 1:
            axes.plot(
                [p.cost for p in front],
                [p.error for p in front],
                color="#c3cad2",
                linewidth=1.2,
                drawstyle="steps-post",
                zorder=1,
            )
        for error, _ in others:
            axes.axhline(error, color="#c3cad2", linewidth=1, linestyle=":", zorder=1)
        for point in priced:
            axes.scatter(
                point.cost,
                point.error,
                s=56 if point.row.is_model else 36,
                zorder=3,
                color=style.ACCENT if point.row.is_model else style.REST,
                marker="o" if point.row.is_model else "s",
            )
        _label_lines(axes, sorted(others, key=lambda pair: pair[0]))
        _label_points(figure, axes, priced)
        note = "Dotted lines: they have no such cost, or it is not counted." if others else ""
        style.legend_below(figure, key_of_kinds(usable), note=note)
    return figure


def _is_above_zero(value: float | None) -> bool:
    return value is not None and 0 < value < math.inf


class _Point(NamedTuple):
    cost: float
    error: float
    row: Bar


def _label_lines(axes: Axes, rows: Sequence[tuple[float, Bar]]) -> None:
    """Names at the lines' right ends, moved apart where they would cover each other."""
    low, high = np.log(axes.get_ylim())
    at = (np.log([error for error, _ in rows]) - low) / (high - low)
    for (_, row), y, place in zip(rows, at, _apart(at), strict=True):
        axes.annotate(
            style.plain(row.name, 32),
            (1.0, y),
            xytext=(1.03, place),
            xycoords="axes fraction",
            textcoords="axes fraction",
            va="center",
            fontsize=8.5,
            color=style.INK if row.is_model else style.FAINT,
            # to the middle of its left edge: a line to its centre would cross the names below
            arrowprops={
                "arrowstyle": "-",
                "color": "#c3cad2",
                "shrinkA": 2,
                "shrinkB": 0,
                "relpos": (0, 0.5),
            },
        )


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


def _label_points(figure: Figure, axes: Axes, rows: Sequence[_Point]) -> None:
    """Put each name beside its point, where it covers no other name or point."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.transforms import Bbox

    if not rows:
        return
    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    style.lay_out(figure)  # it must be known before names can be fitted into it
    points = [(point.cost, point.error) for point in rows]
    marks = [Bbox([(x - 6, y - 6), (x + 6, y + 6)]) for x, y in axes.transData.transform(points)]
    frame = axes.get_window_extent(renderer)
    names = [
        axes.annotate(
            style.plain(row.name, 34),
            point,
            xytext=(0, 0),
            textcoords="offset points",
            va="center",
            fontsize=8.5,
            fontweight="bold" if row.is_model else "normal",
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.8},
        )
        for row, point in zip((p.row for p in rows), points, strict=True)
    ]

    def box_at(name: Any, place: Place) -> Any:
        name.xyann = place[:2]
        name.set_horizontalalignment(place[2])
        return name.get_window_extent(renderer).padded(1.5)  # its white ground is larger

    boxes = [[box_at(name, place) for place in _PLACES] for name in names]
    chosen = [0] * len(names)

    def badness(i: int, k: int) -> float:
        box, (across, up, _) = boxes[i][k], _PLACES[k]
        others = [j for j in range(len(names)) if j != i]
        covered = sum(_overlap(box, marks[j]) for j in others)
        covered += sum(_overlap(box, boxes[j][chosen[j]]) for j in others)
        outside = box.width * box.height - _overlap(box, frame)
        # the lines to names that stand in another order than their points would cross
        crossed = sum(
            abs(marks[i].x0 - marks[j].x0) < _NEAR
            and across == _PLACES[chosen[j]][0]
            and (marks[i].y0 - marks[j].y0) * (box.y0 - boxes[j][chosen[j]].y0) < 0
            for j in others
        )
        return float(20 * (covered + outside) + 3000 * crossed + up**2)

    for _ in range(_ROUNDS):
        before = list(chosen)
        for i in range(len(names)):
            chosen[i] = min(range(len(_PLACES)), key=lambda k: badness(i, k))
        if chosen == before:
            break
    for name, point, k in zip(names, points, chosen, strict=True):
        box_at(name, _PLACES[k])
        across, up, side = _PLACES[k]
        if up and side != "center":
            axes.annotate(
                "",
                point,
                xytext=(across, up),
                textcoords="offset points",
                zorder=2,
                arrowprops={"arrowstyle": "-", "color": style.REST, "shrinkA": 0, "shrinkB": 2},
            )


def _overlap(a: Any, b: Any) -> float:
    """Area that two boxes share."""
    width = min(a.x1, b.x1) - max(a.x0, b.x0)
    height = min(a.y1, b.y1) - max(a.y0, b.y0)
    return float(max(0.0, width) * max(0.0, height))


def _front(rows: Sequence[_Point]) -> list[_Point]:
    """Those that no other beats in cost and error at once, from cheap to dear."""
    front: list[_Point] = []
    for point in sorted(rows, key=lambda point: point[:2]):
        if not front or point.error < front[-1].error:
            front.append(point)
    return front
