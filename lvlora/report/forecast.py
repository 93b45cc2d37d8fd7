"""Forecasts as pictures: history, median, bands and, where it is known, the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lvlora.data.dates import Calendar
from lvlora.report.drawing import style
from lvlora.report.drawing.panels import TOGETHER, alike

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FloatArray = NDArray[np.float64]

MAX_SERIES = 6
MAX_VARIABLES = 8
"""Panels of one figure; a note says what is left out."""
_HISTORY_PER_HORIZON = 6  # a longer history would squeeze the forecast to a stroke
_HISTORY_LEAST = 60
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


def forecast_figure(
    pictures: ForecastPicture | Sequence[ForecastPicture], *, narrow: bool = False
) -> Figure:
    """One to six series, each in a panel (up to two variables alike) or a panel a variable.

    Args:
        narrow: for a phone, one series under the other.
    """
    several = [pictures] if isinstance(pictures, ForecastPicture) else list(pictures)
    if not several:
        raise ValueError("no forecast to draw")
    shown = several[:MAX_SERIES]
    n_variables = min(MAX_VARIABLES, max(len(p.variables) for p in shown))
    together = all(_fit_one_panel(p) for p in shown)
    rows = 1 if together else n_variables
    columns = 1 if len(shown) == 1 or narrow else 2 if len(shown) in (2, 4) else 3
    lines = -(-len(shown) // columns)
    panel = (3.4 if lines == 1 else 2.5) if together else max(1.35, 3.6 / rows)
    letters = max(12, int(panel * 11))  # that fit along a panel's height
    with style.look():
        width = style.NARROW if narrow else style.WIDTH if columns < 3 else 10.5
        figure = style.new_figure(width, lines * (rows * panel + 0.35) + 0.8)
        grid = figure.add_gridspec(lines, columns)
        for i, picture in enumerate(shown):
            place = grid[i // columns, i % columns]
            cell = None if rows == 1 else place.subgridspec(rows, 1)
            first: Axes | None = None
            for row in range(rows):
                chosen = range(n_variables) if together else [row]
                chosen = [v for v in chosen if v < len(picture.variables)]
                if not chosen:
                    continue
                # only axes of one grid begin and end where those above and beside them do
                axes = figure.add_subplot(place if cell is None else cell[row], sharex=first)
                _draw_panel(axes, picture, chosen)
                if row < rows - 1:
                    axes.tick_params(labelbottom=False)
                else:
                    axes.set_xlabel(style.plain(picture.time_name))
                names = [picture.variables[v] for v in chosen]
                axes.set_ylabel(
                    ", ".join(style.plain(name, letters // len(names)) for name in names)
                    if len(names) > 1
                    else style.lines(names[0], letters)
                )
                if len(shown) > 1 or rows > 2 or narrow:
                    style.lighten(axes)
                if first is None:
                    axes.set_title(
                        style.plain(picture.title, 60 if columns == 1 and not narrow else 28)
                    )
                    first = axes
        # a panel of one variable is named by its axis, panels of several need a key
        handles = (_key(shown) if together and n_variables > 1 else []) + _legend(shown)
        style.legend_below(figure, handles, note=_left_out(several, shown, n_variables))
    return figure


def _fit_one_panel(picture: ForecastPicture) -> bool:
    n_variables = len(picture.variables)
    return n_variables <= TOGETHER and alike(
        [float(np.ptp(_core(picture, v))) for v in range(n_variables)]
    )


def _recent(picture: ForecastPicture) -> int:
    """How many steps at the history's end are drawn."""
    most = max(_HISTORY_LEAST, _HISTORY_PER_HORIZON * len(picture.future_time))
    return min(most, len(picture.history_time))


def _core(picture: ForecastPicture, variable: int) -> FloatArray:
    """All finite values that are drawn, but the bands."""
    start = len(picture.history_time) - _recent(picture)
    parts = [picture.history[start:, variable], picture.median[:, variable]]
    if picture.truth is not None:
        parts.append(picture.truth[:, variable])
    values = np.concatenate(parts)
    values = values[np.isfinite(values)]
    return values if values.size else np.zeros(1)


def _draw_panel(axes: Axes, picture: ForecastPicture, variables: Sequence[int]) -> None:
    start = len(picture.history_time) - _recent(picture)
    time = style.times(axes, picture.history_time[start:], picture.calendar)
    future_time = style.times(axes, picture.future_time, picture.calendar)
    has_history = len(time) > 0
    for v in variables:
        colour = style.colour(v)
        history = picture.history[start:, v]
        # the forecast begins where the history ends, so that no gap looks like missing data
        joined = has_history and bool(np.isfinite(history[-1]))
        future = np.r_[time[-1:], future_time] if joined else future_time
        last = history[-1:] if joined else history[:0]
        widest_first = sorted(picture.bands, key=lambda q: q[0] - q[1])
        for low, high in widest_first:
            lower, upper = picture.bands[low, high]
            axes.fill_between(
                future,
                np.r_[last, lower[:, v]],
                np.r_[last, upper[:, v]],
                color=colour,
                alpha=_opacity(len(widest_first)),
                linewidth=0,
            )
        _line(axes, time, history, color=colour, linewidth=1.7)
        _line(
            axes,
            future,
            np.r_[last, picture.median[:, v]],
            color=colour,
            linewidth=1.7,
            dashed=True,
        )
        if picture.truth is not None:
            axes.plot(
                future_time,
                picture.truth[:, v],
                "o",
                markersize=3.2,
                markerfacecolor="white",
                markeredgecolor=colour,
                markeredgewidth=1.1,
                zorder=3,
            )
    if has_history:
        axes.axvline(float(time[-1]), color=style.FAINT, linewidth=1.0, linestyle=":", zorder=1)
    _limit(axes, picture, variables)


def _line(
    axes: Axes, x: FloatArray, y: FloatArray, *, color: str, linewidth: float, dashed: bool = False
) -> None:
    """A line, and a dot for every value that has no neighbour to be joined with."""
    axes.plot(x, y, color=color, linewidth=linewidth, dashes=(3.2, 1.3) if dashed else (None, None))
    there = np.r_[False, np.isfinite(y), False]
    alone = there[1:-1] & ~there[:-2] & ~there[2:]
    if alone.any():
        axes.plot(x[alone], y[alone], ".", color=color, markersize=4)


def _opacity(n_bands: int) -> float:
    return 0.22 if n_bands == 1 else 0.16


def _limit(axes: Axes, picture: ForecastPicture, variables: Sequence[int]) -> None:
    """Keep a band that explodes from flattening everything else."""
    core = np.concatenate([_core(picture, v) for v in variables])
    low, high = float(core.min()), float(core.max())
    span = high - low
    edges = [edge[:, v] for pair in picture.bands.values() for edge in pair for v in variables]
    if not edges or span <= 0:
        return
    values = np.concatenate(edges)
    values = values[np.isfinite(values)]
    if values.size == 0:
        return
    bottom, top = float(values.min()), float(values.max())
    if bottom < low - _BEYOND * span or top > high + _BEYOND * span:
        # each side keeps what it needs, up to the limit
        bottom = max(min(bottom, low), low - _BEYOND * span / 2)
        top = min(max(top, high), high + _BEYOND * span / 2)
        axes.set_ylim(bottom - 0.05 * span, top + 0.05 * span)
        axes.text(
            0.01,
            0.97,
            "band goes beyond the axis",
            transform=axes.transAxes,
            va="top",
            fontsize=8,
            color=style.FAINT,
        )


def _key(pictures: Sequence[ForecastPicture]) -> list[Any]:
    from matplotlib.lines import Line2D

    names = max((p.variables for p in pictures), key=len)
    return [
        Line2D([], [], color=style.colour(v), linewidth=3, label=style.plain(name, 24))
        for v, name in enumerate(names)
    ]


def _legend(pictures: Sequence[ForecastPicture]) -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = []
    handles.append(Line2D([], [], color=style.INK, linewidth=1.7, label="history"))
    line = pictures[0].line_name
    handles.append(Line2D([], [], color=style.INK, linewidth=1.7, dashes=(3.2, 1.3), label=line))
    bands = sorted({b for p in pictures for b in p.bands}, key=lambda q: q[1] - q[0])
    for i, (low, high) in enumerate(bands):
        darkness = min(0.6, (len(bands) - i) * _opacity(len(bands)))
        handles.append(
            Patch(
                facecolor=style.INK,
                alpha=darkness,
                label=f"{100 * low:g}–{100 * high:g} % quantiles",
            )
        )
    if any(p.truth is not None for p in pictures):
        handles.append(
            Line2D(
                [],
                [],
                color=style.INK,
                marker="o",
                markersize=4,
                markerfacecolor="white",
                linestyle="none",
                label="truth",
            )
        )
    return handles


def _left_out(
    pictures: Sequence[ForecastPicture], shown: Sequence[ForecastPicture], n_variables: int
) -> str:
    notes = []
    if len(pictures) > len(shown):
        notes.append(f"{len(pictures) - len(shown)} more series not drawn")
    most = max(len(p.variables) for p in shown)
    if most > n_variables:
        notes.append(f"{most - n_variables} more variables not drawn")
    cut = [p for p in shown if _recent(p) < len(p.history_time)]
    if len(cut) == 1 or (cut and len(shown) == 1):
        notes.append(f"last {_recent(cut[0])} of {len(cut[0].history_time)} steps of history drawn")
    elif cut:
        notes.append("long histories are drawn from their last steps on")
    return "; ".join(notes)
