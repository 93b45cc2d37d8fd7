"""Forecasters side by side: their errors, how these grow with the horizon, and what they cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lvlora.data.answers import METRICS
from lvlora.report.drawing import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FloatArray = NDArray[np.float64]
MAX_FORECASTERS = 24
_MAX_PANELS = 6
_WIDE = 20.0  # largest over smallest, from which an axis is logarithmic


@dataclass(frozen=True)
class Bar:
    """One forecaster in a figure.

    Attributes:
        error: None where it is not defined; a score if more of it is better.
        is_model: language models stand out from all others.
        cost: FLOPs or seconds; None where nobody counted.
    """

    name: str
    error: float | None
    is_model: bool = False
    cost: float | None = None


def errors_figure(forecasters: Sequence[Bar], metric: str = "mae") -> Figure:
    """A bar for each forecaster, the best on top; dots where only a logarithmic axis shows all.

    Args:
        metric: name of the errors.
    """
    more = metric in METRICS and METRICS[metric].more_is_better
    pairs = [(r.error, r) for r in forecasters if r.error is not None and math.isfinite(r.error)]
    pairs.sort(key=lambda pair: pair[0], reverse=more)
    left_out = max(0, len(pairs) - MAX_FORECASTERS)
    rows = [row for _, row in pairs[:MAX_FORECASTERS]]
    values = [error for error, _ in pairs[:MAX_FORECASTERS]]
    logarithmic = style.widely_spread(values, _WIDE)
    with style.look():
        figure = style.new_figure(height=1.2 + 0.3 * max(2, len(rows)))
        axes = figure.add_subplot()
        places = np.arange(len(rows))[::-1]
        colours = [style.ACCENT if r.is_model else style.REST for r in rows]
        weights = ["bold" if r.is_model else "normal" for r in rows]
        if logarithmic:
            # a bar has no foot on a logarithmic axis: its length would mean nothing
            axes.hlines(places, min(values) / 2, values, colors="#d5dae0", linewidth=1)
            axes.scatter(values, places, color=colours, s=46, zorder=3)
            axes.set_xscale("log")
            axes.set_xlim(min(values) / 1.5, max(values) * 2.2)
            style.plain_log_ticks(axes.xaxis)
        else:
            axes.barh(places, values, color=colours, height=0.66)
            axes.set_xlim(0, max(values, default=1.0) * 1.14 or 1.0)
        for place, value, weight in zip(places, values, weights, strict=True):
            beside: dict[str, Any] = {
                "xytext": (7, 0),
                "textcoords": "offset points",
                "va": "center",
            }
            text = style.short(value)
            axes.annotate(text, (value, place), **beside, fontsize=9, fontweight=weight)
        axes.set_yticks(places, [style.plain(r.name, 44) for r in rows])
        for label, weight in zip(axes.get_yticklabels(), weights, strict=True):
            label.set_fontweight(weight)
        axes.set_ylim(-0.7, len(rows) - 0.3)
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", length=0)
        better = f"{'more' if more else 'less'} is better"
        scale = f" (logarithmic; {better})" if logarithmic else f" ({better})"
        axes.set_xlabel(metric_name(metric) + scale)
        note = f"{left_out} more forecasters not drawn" if left_out else ""
        style.legend_below(figure, key_of_kinds(rows), note=note)
    return figure


def error_by_step_figure(
    errors: Mapping[str, ArrayLike],
    variables: Sequence[str],
    models: Sequence[str] = (),
) -> Figure:
    """How errors grow with the horizon: a panel for each variable, a line for each forecaster.

    Args:
        errors: name -> (H, V) mean absolute errors.
        variables: V names.
        models: names that are drawn boldly.
    """
    from matplotlib.ticker import MaxNLocator

    shaped = {name: np.asarray(e, dtype=np.float64) for name, e in errors.items()}
    shown = min(_MAX_PANELS, len(variables))
    columns = min(shown, 2)
    lines = math.ceil(shown / columns)
    # the models keep the first colours, whatever their place in the table
    order = sorted(shaped, key=lambda name: name not in models)[:MAX_FORECASTERS]
    with style.look():
        figure = style.new_figure(height=0.9 + 2.9 * lines + 0.22 * math.ceil(len(order) / 3))
        handles: list[Any] = []
        first: Axes | None = None
        for i in range(shown):
            axes = first = figure.add_subplot(lines, columns, i + 1, sharex=first)
            handles = []
            for k, name in enumerate(order):
                values, bold = shaped[name][:, i], name in models
                handles += axes.plot(
                    np.arange(1, len(values) + 1),
                    values,
                    color=style.colour(k),
                    linestyle="-" if bold else ("--", "-.", ":")[k % 3],
                    linewidth=2.4 if bold else 1.2,
                    zorder=3 if bold else 2,
                    marker="." if len(values) == 1 else None,
                    label=style.plain(name, 32),
                )
            every = np.concatenate([np.empty(0), *(shaped[name][:, i] for name in order)])
            if style.widely_spread(every[every > 0].tolist(), _WIDE):
                axes.set_yscale("log")
                style.plain_log_ticks(axes.yaxis)
            axes.set_title(style.plain(variables[i], 28))
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
            if i >= shown - columns:
                axes.set_xlabel("steps ahead")
            else:
                axes.tick_params(labelbottom=False)
            if i % columns == 0:
                axes.set_ylabel("mean absolute error")
        hidden = len(variables) - shown
        note = f"{hidden} more variables not drawn" if hidden > 0 else ""
        style.legend_below(figure, handles, columns=3, note=note)
    return figure


def cost_figure(forecasters: Sequence[Bar], cost: str, metric: str = "mae") -> Figure:
    """Cost and error of each forecaster; a line joins those that nothing beats in both.

    Forecasters whose cost is not known, or nothing, are lines across at the height of their error.

    Args:
        cost: what the costs are, for the axis; metric: name of the errors.
    """
    rows = [row for row in forecasters if row.error is not None and 0 < row.error < math.inf]
    rows = rows[:MAX_FORECASTERS]
    errors = np.array([row.error for row in rows], dtype=np.float64)
    costs = np.array([row.cost or math.nan for row in rows], dtype=np.float64)
    priced = np.flatnonzero(np.isfinite(costs))
    order = priced[np.lexsort((errors[priced], costs[priced]))]
    front = [i for k, i in enumerate(order) if errors[i] < errors[order[:k]].min(initial=np.inf)]
    with style.look():
        figure = style.new_figure(height=5.0)
        axes = figure.add_subplot()
        axes.set_xlabel(f"{cost} (logarithmic)")
        axes.set_ylabel(f"{metric_name(metric)} (logarithmic; less is better)")
        axes.set_xscale("log")
        axes.set_yscale("log")
        if not rows:
            axes.text(0.5, 0.5, "nothing to compare", transform=axes.transAxes, ha="center")
            return figure
        known = costs[priced] if len(priced) else np.ones(1)
        axes.set_xlim(known.min() / 4, known.max() * 40)
        axes.set_ylim(errors.min() / 1.5, errors.max() * 1.6)
        style.plain_log_ticks(axes.xaxis)
        style.plain_log_ticks(axes.yaxis)
        reference: dict[str, Any] = {"color": "#c3cad2", "zorder": 1}
        if len(front) > 1:
            line = {**reference, "linewidth": 1.2, "drawstyle": "steps-post"}
            axes.plot(costs[front], errors[front], **line)
        for error in errors[np.isnan(costs)]:
            axes.axhline(error, **reference, linewidth=1, linestyle=":")
        for i in priced:
            size, marker, colour = (
                (56, "o", style.ACCENT) if rows[i].is_model else (36, "s", style.REST)
            )
            axes.scatter(costs[i], errors[i], s=size, zorder=3, color=colour, marker=marker)
        _name(figure, axes, rows, costs, errors)
        note = "Dotted lines: they have no such cost, or it is not counted."
        note = note if len(priced) < len(rows) else ""
        style.legend_below(figure, key_of_kinds(rows), note=note)
    return figure


def _name(
    figure: Figure, axes: Axes, rows: Sequence[Bar], costs: FloatArray, errors: FloatArray
) -> None:
    """Put each name beside its point or at its line's end, where it covers no other."""
    from adjustText import adjust_text

    x = np.where(np.isnan(costs), axes.get_xlim()[1], costs)
    names = [
        axes.text(
            x[i],
            errors[i],
            style.plain(row.name, 34),
            fontsize=8.5,
            ha="right" if np.isnan(costs[i]) else "left",
            fontweight="bold" if row.is_model else "normal",
        )
        for i, row in enumerate(rows)
    ]
    style.lay_out(figure)  # names are placed in the layout as it will be drawn
    adjust_text(
        names,
        x=x,
        y=errors,
        ax=axes,
        expand=(1.25, 2.0),
        force_static=(0.4, 0.9),
        min_arrow_len=8,
        iter_lim=300,  # its default is a time, and the figure would differ from run to run
        arrowprops={"arrowstyle": "-", "color": style.REST},
    )


def metric_name(metric: str) -> str:
    """A metric as an axis calls it."""
    return METRICS[metric].axis if metric in METRICS else style.plain(metric)


def key_of_kinds(rows: Sequence[Bar]) -> list[Any]:
    """A legend's entries for models and rivals; none where all rows are of one kind."""
    from matplotlib.patches import Patch

    kinds = {row.is_model for row in rows}
    if len(kinds) < 2:
        return []
    return [
        Patch(color=style.ACCENT, label="language model"),
        Patch(color=style.REST, label="rival"),
    ]
