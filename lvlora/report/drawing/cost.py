"""The cost of a forecaster against its error."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard

from lvlora.report.drawing import style
from lvlora.report.drawing.errors import (
    MAX_FORECASTERS,
    Bar,
    key_of_kinds,
    metric_name,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LINE = 0.042  # of the axes' height: a line of small text


def cost_figure(forecasters: Sequence[Bar], cost: str, metric: str = "mae") -> Figure:
    """Cost and error of each forecaster; a line joins those that nothing beats in both.

    Forecasters whose cost is not known, or nothing, are lines across at the height of their error.

    Args:
        cost: what the costs are, for the axis; metric: name of the errors.
    """
    usable = [_Point(r.cost or 0.0, r.error, r) for r in forecasters if _is_above_zero(r.error)]
    usable = usable[:MAX_FORECASTERS]
    priced = [p for p in usable if _is_above_zero(p.cost)]
    others = [p for p in usable if not _is_above_zero(p.cost)]
    with style.look():
        figure = style.new_figure(height=5.0)
        axes = figure.add_subplot()
        axes.set_xlabel(f"{cost} (logarithmic)")
        axes.set_ylabel(f"{metric_name(metric)} (logarithmic; less is better)")
        axes.set_xscale("log")
        axes.set_yscale("log")
        if not usable:
            axes.text(0.5, 0.5, "nothing to compare", transform=axes.transAxes, ha="center")
            return figure
        costs, heights = [p.cost for p in priced] or [1.0], [p.error for p in usable]
        axes.set_xlim(min(costs) / 4, max(costs) * 40)
        axes.set_ylim(min(heights) / 1.5, max(heights) * 1.6)
        style.plain_log_ticks(axes.xaxis)
        style.plain_log_ticks(axes.yaxis)
        reference: dict[str, Any] = {"color": "#c3cad2", "zorder": 1}
        front = _front(priced)
        if len(front) > 1:
            x, y = zip(*[point[:2] for point in front], strict=True)
            axes.plot(x, y, **reference, linewidth=1.2, drawstyle="steps-post")
        for point in others:
            axes.axhline(point.error, **reference, linewidth=1, linestyle=":")
        for point in priced:
            model = point.row.is_model
            axes.scatter(
                point.cost,
                point.error,
                s=56 if model else 36,
                zorder=3,
                color=style.ACCENT if model else style.REST,
                marker="o" if model else "s",
            )
        _name(figure, axes, usable)
        note = "Dotted lines: they have no such cost, or it is not counted." if others else ""
        style.legend_below(figure, key_of_kinds([p.row for p in usable]), note=note)
    return figure


def _is_above_zero(value: float | None) -> TypeGuard[float]:
    return value is not None and 0 < value < math.inf


class _Point(NamedTuple):
    cost: float
    error: float
    row: Bar


def _name(figure: Figure, axes: Axes, points: Sequence[_Point]) -> None:
    """Put each name beside its point or at its line's end, where it covers no other."""
    from adjustText import adjust_text

    end = axes.get_xlim()[1]
    at = [(point.cost if _is_above_zero(point.cost) else end, point.error) for point in points]
    names = [
        axes.text(
            *place,
            style.plain(point.row.name, 34),
            fontsize=8.5,
            ha="left" if place[0] < end else "right",
            fontweight="bold" if point.row.is_model else "normal",
        )
        for place, point in zip(at, points, strict=True)
    ]
    style.lay_out(figure)  # names are placed in the layout as it will be drawn
    adjust_text(
        names,
        x=[x for x, _ in at],
        y=[y for _, y in at],
        ax=axes,
        expand=(1.25, 2.0),
        force_static=(0.4, 0.9),
        min_arrow_len=8,
        iter_lim=300,  # its default is a time, and the figure would differ from run to run
        arrowprops={"arrowstyle": "-", "color": style.REST},
    )


def _front(rows: Sequence[_Point]) -> list[_Point]:
    """Those that no other beats in cost and error at once, from cheap to dear."""
    front: list[_Point] = []
    for point in sorted(rows, key=lambda point: point[:2]):
        if not front or point.error < front[-1].error:
            front.append(point)
    return front
