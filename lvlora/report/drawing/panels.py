"""Panels of trajectories: one for variables of like size, else one below another for each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lvlora.data.dataset import Dataset, FloatArray
from lvlora.data.dates import Calendar
from lvlora.data.gaps import mean_known
from lvlora.report.drawing import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

MAX_VARIABLES = 6
_TOGETHER = 2  # variables that share a panel, if their ranges are alike
_ALIKE = 12.0  # the larger range over the smaller
_MOST_VECTORS = 6_000  # points of a band; longer ones are drawn as pixels within an SVG file
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

    def ranges(self) -> list[float]:
        """The range of each variable; 0 for one without values."""
        known = (column[np.isfinite(column)] for column in self.values.T)
        return [float(np.ptp(column)) if column.size else 0.0 for column in known]


def rows_needed(ranges: Iterable[Sequence[float]], n_variables: int, at_most: int) -> int:
    """Panels one below another that show so many variables: one if all can be told apart there.

    Args:
        ranges: of the variables of each series, or of each group of series.
    """
    rising = ([r for r in of_one if np.isfinite(r) and r > 0] for of_one in ranges)
    if n_variables <= _TOGETHER and all(not r or max(r) <= _ALIKE * min(r) for r in rising):
        return 1
    return min(n_variables, at_most)


def stacks(
    figure: Figure | SubFigure, n: int, *, columns: int, rows: int, time_name: str, last: bool
) -> Iterator[list[Axes]]:
    """Axes for n series in rows of ``columns``: for each so many panels with one axis of time.

    Args:
        last: the axis has its name only under the last row of series.
    """
    grid = figure.add_gridspec(-(-n // columns), columns)
    for i in range(n):
        place = grid[i // columns, i % columns]
        cell = None if rows == 1 else place.subgridspec(rows, 1)
        stack: list[Axes] = []
        for row in range(rows):
            # only axes of one grid begin and end where those above and beside them do
            part = place if cell is None else cell[row]
            stack.append(figure.add_subplot(part, sharex=stack[0] if stack else None))
        yield stack
        for axes in stack[:-1]:
            axes.tick_params(labelbottom=False)
        if not last or i + columns >= n:
            stack[-1].set_xlabel(style.plain(time_name))


def name_variables(axes: Axes, names: Sequence[str], letters: int) -> None:
    """Write the variables of a panel beside it, in so many letters a line."""
    several = ", ".join(style.plain(name, letters // len(names)) for name in names)
    axes.set_ylabel(several if len(names) > 1 else style.lines(names[0], letters))


def draw_panels(
    figure: Figure | SubFigure,
    panels: Sequence[Panel],
    variables: Sequence[str],
    time_name: str,
    *,
    columns: int,
    rows: int,
    width: float = style.WIDTH,
) -> list[Any]:
    """Fill a figure with panels, in rows of ``columns``.

    Args:
        rows: panels one below another for each `Panel`; with one all variables share it.
        width: of the figure, in inches; titles are wrapped to their share of it.

    Returns:
        A key of the variables, for a legend; empty where axes name each variable.
    """
    headings = [_heading(panel, int(width / columns * 10)) for panel in panels]
    most = max((heading.count("\n") for heading in headings), default=0)
    drawn = stacks(figure, len(panels), columns=columns, rows=rows, time_name=time_name, last=True)
    for i, (stack, panel, heading) in enumerate(zip(drawn, panels, headings, strict=True)):
        for row, axes in enumerate(stack):
            chosen = range(len(variables)) if rows == 1 else [row]
            for v in chosen:
                _draw(axes, panel, v)
            if i % columns == 0:
                name_variables(axes, [variables[v] for v in chosen], 26 if rows == 1 else 14)
            style.lighten(axes)
        # equally many lines over each panel, so that panels beside each other align
        stack[0].set_title("\n" * (most - heading.count("\n")) + heading, fontsize=9.5)
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


def _draw(axes: Axes, panel: Panel, variable: int) -> None:
    time = style.times(axes, panel.time, panel.calendar)
    values, colour = panel.values[:, variable], style.colour(variable)
    if panel.spread is not None:
        low, high = (values + sign * panel.spread[:, variable] for sign in (-1, 1))
        long = len(time) > _MOST_VECTORS
        axes.fill_between(time, low, high, color=colour, alpha=0.2, linewidth=0, rasterized=long)
    style.line(axes, time, values, color=colour, linewidth=1.5)
