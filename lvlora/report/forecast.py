"""Forecasts as pictures: history, median, bands and, where it is known, the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lvlora.data.dates import Calendar
from lvlora.report.drawing import style
from lvlora.report.drawing.panels import name_variables, rows_needed, stacks, variable_key

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FloatArray = NDArray[np.float64]

MAX_SERIES = 6
MAX_VARIABLES = 8
"""Panels of one figure; a note says what is left out."""
_HISTORY_PER_HORIZON = 6  # a longer history would squeeze the forecast to a stroke
_HISTORY_LEAST = 60
_TRUTH: dict[str, Any] = {
    "marker": "o",
    "linestyle": "none",
    "markerfacecolor": "white",
    "markeredgewidth": 1.1,
    "zorder": 3,
}
_BEYOND = 3.0  # a band wider than this many ranges of all else is cut by the axis


@dataclass(frozen=True)
class ForecastPicture:
    """One series and its forecast, all in the series' own units.

    Attributes:
        variables: V names.
        time_name: what the file calls time.
        history_time: (T,); history: (T, V), NaN where missing.
        future_time: (H,); median: (H, V).
        bands: (lower quantile, upper quantile) -> (lower (H, V), upper (H, V)).
        truth: (H, V), NaN where missing; None where nothing is known.
        title: the series' id, or more.
        line_name: what the median is.
        calendar: what the times are where they are dates.
    """

    variables: tuple[str, ...]
    time_name: str
    history_time: FloatArray
    history: FloatArray
    future_time: FloatArray
    median: FloatArray
    bands: Mapping[tuple[float, float], tuple[FloatArray, FloatArray]] = field(default_factory=dict)
    truth: FloatArray | None = None
    title: str = ""
    line_name: str = "forecast (median)"
    calendar: Calendar | None = None


def forecast_figure(pictures: ForecastPicture | Sequence[ForecastPicture]) -> Figure:
    """One to six series, each in a panel (up to two variables alike) or a panel a variable."""
    several = [pictures] if isinstance(pictures, ForecastPicture) else list(pictures)
    shown, variables = several[:MAX_SERIES], several[0].variables
    ranges = ([float(np.ptp(_core(p, [v]))) for v in range(len(variables))] for p in shown)
    rows = rows_needed(ranges, len(variables), MAX_VARIABLES)
    together = rows == 1
    columns = 1 if len(shown) == 1 else 2 if len(shown) in (2, 4) else 3
    lines = -(-len(shown) // columns)
    panel = (3.4 if lines == 1 else 2.5) if together else max(1.35, 3.6 / rows)
    letters = max(12, int(panel * 11))  # that fit along a panel's height
    with style.look():
        width = style.WIDTH if columns < 3 else 10.5
        figure = style.new_figure(width, lines * (rows * panel + 0.35) + 0.8)
        stacked = stacks(
            figure,
            len(shown),
            columns=columns,
            rows=rows,
            time_name=shown[0].time_name,
            last=False,
        )
        for stack, picture in zip(stacked, shown, strict=True):
            for row, axes in enumerate(stack):
                chosen = range(len(variables)) if together else [row]
                _draw_panel(axes, picture, chosen)
                name_variables(axes, [variables[v] for v in chosen], letters)
                if len(shown) > 1 or rows > 2:
                    style.lighten(axes)
            title_letters = 60 if columns == 1 else 28
            stack[0].set_title(style.plain(picture.title, title_letters))
        # a panel of one variable is named by its axis, panels of several need a key
        handles = variable_key(variables) if together and len(variables) > 1 else []
        hidden = {
            "series": len(several) - len(shown),
            "variables": 0 if together else len(variables) - rows,
        }
        notes = [f"{n} more {what} not drawn" for what, n in hidden.items() if n]
        if any(_recent(p) < len(p.history_time) for p in shown):
            notes.append(f"of histories the last {_recent(shown[0])} steps are drawn")
        style.legend_below(figure, handles + _legend(shown), note="; ".join(notes))
    return figure


def _recent(picture: ForecastPicture) -> int:
    """How many steps at the history's end are drawn."""
    return max(_HISTORY_LEAST, _HISTORY_PER_HORIZON * len(picture.future_time))


def _core(picture: ForecastPicture, variables: Sequence[int]) -> FloatArray:
    """All finite values of variables that are drawn, but the bands."""
    parts = [picture.history[-_recent(picture) :], picture.median]
    parts += [] if picture.truth is None else [picture.truth]
    values = np.concatenate(parts)[:, list(variables)]
    values = values[np.isfinite(values)]
    return values if values.size else np.zeros(1)


def _draw_panel(axes: Axes, picture: ForecastPicture, variables: Sequence[int]) -> None:
    recent = slice(-_recent(picture), None)
    time = style.times(axes, picture.history_time[recent], picture.calendar)
    future_time = style.times(axes, picture.future_time, picture.calendar)
    widest_first = sorted(picture.bands, key=lambda q: q[0] - q[1])
    for v in variables:
        colour, history = style.colour(v), picture.history[recent, v]
        # the forecast begins where the history ends, so that no gap looks like missing data
        joined = len(time) > 0 and bool(np.isfinite(history[-1]))
        future = np.r_[time[-1:], future_time] if joined else future_time
        last = history[-1:] if joined else history[:0]
        for low, high in widest_first:
            lower, upper = (np.r_[last, edge[:, v]] for edge in picture.bands[low, high])
            opacity = _opacity(len(widest_first))
            axes.fill_between(future, lower, upper, color=colour, alpha=opacity, linewidth=0)
        style.line(axes, time, history, color=colour, linewidth=1.7)
        median = np.r_[last, picture.median[:, v]]
        style.line(axes, future, median, dashed=True, color=colour, linewidth=1.7)
        if picture.truth is not None:
            axes.plot(future_time, picture.truth[:, v], **_TRUTH, markersize=3.2, color=colour)
    if len(time):
        axes.axvline(float(time[-1]), color=style.FAINT, linewidth=1.0, linestyle=":", zorder=1)
    _limit(axes, picture, variables)


def _opacity(n_bands: int) -> float:
    return 0.22 if n_bands == 1 else 0.16


def _limit(axes: Axes, picture: ForecastPicture, variables: Sequence[int]) -> None:
    """Keep a band that explodes from flattening everything else."""
    core = _core(picture, variables)
    low, high = float(core.min()), float(core.max())
    edges = [edge[:, list(variables)].ravel() for pair in picture.bands.values() for edge in pair]
    values = np.concatenate([np.empty(0), *edges])
    values = values[np.isfinite(values)]
    span = high - low
    if span <= 0 or not values.size:
        return
    bottom, top = float(values.min()), float(values.max())
    if bottom < low - _BEYOND * span or top > high + _BEYOND * span:
        # each side keeps what it needs, up to the limit
        bottom = max(min(bottom, low), low - _BEYOND * span / 2)
        top = min(max(top, high), high + _BEYOND * span / 2)
        axes.set_ylim(bottom - 0.05 * span, top + 0.05 * span)
        note: dict[str, Any] = {
            "transform": axes.transAxes,
            "va": "top",
            "fontsize": 8,
            "color": style.FAINT,
        }
        axes.text(0.01, 0.97, "band goes beyond the axis", **note)


def _legend(pictures: Sequence[ForecastPicture]) -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    ink: dict[str, Any] = {"color": style.INK, "linewidth": 1.7}
    handles: list[Any] = [
        Line2D([], [], **ink, label="history"),
        Line2D([], [], **ink, dashes=style.DASHES, label=pictures[0].line_name),
    ]
    bands = sorted({b for p in pictures for b in p.bands}, key=lambda q: q[1] - q[0])
    for i, (low, high) in enumerate(bands):
        darkness = min(0.6, (len(bands) - i) * _opacity(len(bands)))
        label = f"{100 * low:g}–{100 * high:g} % quantiles"
        handles.append(Patch(facecolor=style.INK, alpha=darkness, label=label))
    if any(p.truth is not None for p in pictures):
        handles.append(Line2D([], [], **_TRUTH, markersize=4, color=style.INK, label="truth"))
    return handles
