"""Panels of trajectories: one for variables of like size, else one below another for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lvlora.data.dataset import Dataset, FloatArray
from lvlora.data.dates import Calendar
from lvlora.data.gaps import mean_known
from lvlora.report.drawing import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

MAX_VARIABLES = 6
TOGETHER = 2
"""Variables that share a panel, if their ranges are alike."""
_ALIKE = 12.0  # the larger range over the smaller
DRAWN = 6_000
"""Points of a curve at most: more than a page has dots beside each other, few enough for a file."""
_GRID = 200  # times of a mean of series that were not sampled at the same times


@dataclass(frozen=True)
class Panel:
    """The content of one panel (or one column of panels).

    Attributes:
        title, subtitle: two lines over it; a long title is wrapped.
        time: (T,); values: (T, V), NaN where missing.
        spread: (T, V) half-height of a band around the values; None for no band.
        calendar: what the times are where they are dates.
    """

    title: str
    time: FloatArray
    values: FloatArray
    spread: FloatArray | None = None
    subtitle: str = ""
    calendar: Calendar | None = None


def alike(ranges: Sequence[float]) -> bool:
    """Whether variables with these ranges can be told apart on one axis."""
    rising = [r for r in ranges if np.isfinite(r) and r > 0]
    return not rising or max(rising) <= _ALIKE * min(rising)


def rows_needed(panels: Sequence[Panel], n_variables: int) -> int:
    """Panels that are stacked to show all variables (at most six) of one `Panel`."""
    if n_variables <= TOGETHER:
        ranges = [
            [_range(p.values[:, v]) for v in range(n_variables)] for p in panels if len(p.values)
        ]
        if all(alike(r) for r in ranges):
            return 1
    return min(n_variables, MAX_VARIABLES)


def draw_panels(
    figure: Figure | SubFigure,
    panels: Sequence[Panel],
    variables: Sequence[str],
    time_name: str,
    *,
    columns: int,
    width: float = style.WIDTH,
) -> list[Any]:
    """Fill a figure with panels, in rows of ``columns``.

    Args:
        width: of the figure, in inches; titles are wrapped to their share of it.

    Returns:
        A key of the variables, for a legend; empty where axes name each variable.
    """
    rows = rows_needed(panels, len(variables))
    lines = -(-len(panels) // columns)
    grid = figure.add_gridspec(lines, columns)
    headings = [_heading(panel, int(width / columns * 10)) for panel in panels]
    most = max((heading.count("\n") for heading in headings), default=0)
    for i, panel in enumerate(panels):
        place = grid[i // columns, i % columns]
        cell = None if rows == 1 else place.subgridspec(rows, 1)
        top: Axes | None = None
        for row in range(rows):
            chosen = range(len(variables)) if rows == 1 else [row]
            # only axes of one grid begin and end where those above and beside them do
            axes = figure.add_subplot(place if cell is None else cell[row], sharex=top)
            for v in chosen:
                _draw(axes, panel, v)
            if row < rows - 1:
                axes.tick_params(labelbottom=False)
            elif i + columns >= len(panels):
                axes.set_xlabel(style.plain(time_name))
            if i % columns == 0:
                names = [variables[v] for v in chosen]
                axes.set_ylabel(
                    ", ".join(style.plain(name, 26 // len(names)) for name in names)
                    if len(names) > 1
                    else style.lines(names[0], 26 if rows == 1 else 14)
                )
            style.lighten(axes)
            if top is None:
                # equally many lines over each panel, so that panels beside each other align
                padding = "\n" * (most - headings[i].count("\n"))
                axes.set_title(padding + headings[i], fontsize=9.5)
                top = axes
    return variable_key(variables) if rows == 1 and len(variables) > 1 else []


def variable_key(variables: Sequence[str]) -> list[Any]:
    """A line of each variable's colour with its name."""
    from matplotlib.lines import Line2D

    return [
        Line2D([], [], color=style.colour(v), linewidth=3, label=style.plain(name, 24))
        for v, name in enumerate(variables)
    ]


def mean_trajectory(
    dataset: Dataset, members: Sequence[int]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Mean and standard deviation over series, each step by what is known there.

    Series with other times than the first are interpolated linearly, within their own time.

    Returns:
        (T,) times; (T, V) means; (T, V) deviations of the population; NaN where nothing is known.
    """
    chosen = [dataset.series[i] for i in members]
    first = chosen[0].time
    if all(np.array_equal(s.time, first) for s in chosen):
        time, stack = first, np.stack([s.values for s in chosen])
    else:
        start, end = min(s.time[0] for s in chosen), max(s.time[-1] for s in chosen)
        time = np.linspace(start, end, _GRID)
        stack = np.stack([_at(time, s.time, s.values) for s in chosen])
    stack = np.where(np.isfinite(stack), stack, np.nan)
    mean = mean_known(stack, (0,))
    return time, mean, np.sqrt(mean_known((stack - mean) ** 2, (0,)))


def _at(grid: FloatArray, time: FloatArray, values: FloatArray) -> FloatArray:
    """(len(grid), V) values between known ones; NaN before the first and after the last."""
    interpolated = np.full((len(grid), values.shape[1]), np.nan)
    for v, column in enumerate(values.T):
        known = np.isfinite(column)
        if known.any():
            interpolated[:, v] = np.interp(
                grid, time[known], column[known], left=np.nan, right=np.nan
            )
    return interpolated


def _heading(panel: Panel, letters: int) -> str:
    parts = [style.lines(panel.title, letters, 3), style.lines(panel.subtitle, letters)]
    return "\n".join(part for part in parts if part)


def _range(values: FloatArray) -> float:
    known = values[np.isfinite(values)]
    return float(np.ptp(known)) if known.size else 0.0


def _draw(axes: Axes, panel: Panel, variable: int) -> None:
    shown = kept(panel.values[:, variable])
    time = style.times(axes, panel.time[shown], panel.calendar)
    values = panel.values[shown, variable]
    if panel.spread is not None:
        spread = panel.spread[shown, variable]
        axes.fill_between(
            time,
            values - spread,
            values + spread,
            color=style.colour(variable),
            alpha=0.2,
            linewidth=0,
        )
    known = np.isfinite(values)
    # values between two gaps have no line of their own
    few = bool(known.sum() < 4 or (known[1:] & known[:-1]).sum() < known.sum() / 2)
    axes.plot(
        time, values, color=style.colour(variable), marker="." if few else None, linewidth=1.5
    )


def kept(values: FloatArray, at_most: int = DRAWN) -> NDArray[np.int64]:
    """Positions of at most ``at_most`` points that draw the same curve.

    The lowest and the highest of each of equally long stretches, with the very first and last; all
    of a curve that has no more. A gap (NaN) shows where it is as long as a stretch.

    Args:
        values: (T,); at_most: 4 or more.
    """
    n = len(values)
    if n <= at_most:
        return np.arange(n)
    stretches = (at_most - 2) // 2
    edges = np.linspace(0, n, stretches + 1).astype(np.int64)
    length = int(np.diff(edges).max())
    # rows of equal length; what a shorter stretch borrows of the next changes nothing
    places = np.minimum(edges[:-1, None] + np.arange(length), n - 1)
    rows = values[places]
    gaps = np.isnan(rows)
    lowest = np.argmin(np.where(gaps, np.inf, rows), axis=1)
    highest = np.argmax(np.where(gaps, -np.inf, rows), axis=1)
    return np.unique(np.concatenate([[0], edges[:-1] + lowest, edges[:-1] + highest, [n - 1]]))
