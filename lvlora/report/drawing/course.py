"""The course of a training run: loss and forecast error against steps and FLOPs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lvlora.report.drawing import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FloatArray = NDArray[np.float64]

_WIDE = 30.0  # a range of losses that needs a logarithmic axis
_SMOOTHED_FROM = 40  # steps; fewer are shown as they are


@dataclass(frozen=True)
class Course:
    """A run's numbers as arrays, one entry for each step that has the number.

    Attributes:
        steps, losses: (n,) training loss, nats a target token.
        flops: (n,) FLOPs spent when the step was done, validation included.
        validation_steps, validation_losses: (m,)
        mae_steps, maes: (k,) forecast error on the validation part, in the data's units.
        kept: the step of the adapter that is kept; None without one.
    """

    steps: FloatArray
    losses: FloatArray
    flops: FloatArray
    validation_steps: FloatArray
    validation_losses: FloatArray
    mae_steps: FloatArray
    maes: FloatArray
    kept: int | None = None


def course_figure(course: Course) -> Figure:
    """A panel for the loss and, where there is a forecast error, one for that."""
    from matplotlib.ticker import MaxNLocator

    has_mae = len(course.maes) > 0
    with style.look():
        figure = style.new_figure(height=5.6 if has_mae else 3.6)
        heights = [1.5, 1.0] if has_mae else [1.0]
        panels = figure.subplots(
            len(heights), 1, sharex=True, squeeze=False, height_ratios=heights
        )[:, 0]
        _draw_losses(panels[0], course)
        if has_mae:
            _draw_points(panels[1], course.mae_steps, course.maes, course.kept)
            panels[1].set_ylabel("forecast error (MAE)")
        panels[-1].set_xlabel("step")
        panels[-1].xaxis.set_major_locator(MaxNLocator(8, integer=True))
        _add_flops(panels[0], course)
    return figure


def smoothed(losses: FloatArray) -> FloatArray:
    """A running mean over about a twentieth of the run, shorter towards its ends."""
    half = max(1, len(losses) // 40)
    total = np.concatenate([[0.0], np.cumsum(losses)])
    at = np.arange(len(losses))
    reach = np.minimum(half, np.minimum(at, len(losses) - 1 - at))
    mean: FloatArray = (total[at + reach + 1] - total[at - reach]) / (2 * reach + 1)
    return mean


def _draw_losses(axes: Axes, course: Course) -> None:
    axes.set_ylabel("loss (nats per token)")
    if len(course.steps) > _SMOOTHED_FROM:
        each: dict[str, Any] = {
            "color": style.PALETTE[5],
            "linewidth": 0.8,
            "label": "training, each step",
        }
        axes.plot(course.steps, course.losses, **each)
        mean = smoothed(course.losses)
        axes.plot(course.steps, mean, color=style.ACCENT, label="training, smoothed")
    elif len(course.steps):
        marker = "." if len(course.steps) < 4 else None
        line: dict[str, Any] = {"color": style.ACCENT, "marker": marker, "label": "training"}
        axes.plot(course.steps, course.losses, **line)
    if len(course.validation_losses):
        steps, losses = course.validation_steps, course.validation_losses
        _draw_points(axes, steps, losses, course.kept, "validation")
    every = np.concatenate([course.losses, course.validation_losses])
    if every.size == 0:
        how: dict[str, Any] = {"transform": axes.transAxes, "ha": "center", "color": style.FAINT}
        axes.text(0.5, 0.5, "no step was made", **how)
        return
    if style.widely_spread(every.tolist(), _WIDE):
        axes.set_yscale("log")
        style.plain_log_ticks(axes.yaxis)
    axes.legend(loc="upper right")


def _draw_points(
    axes: Axes, steps: FloatArray, values: FloatArray, kept: int | None, label: str | None = None
) -> None:
    """Validations; the one whose adapter is kept is ringed and named, else the lowest."""
    colour = style.PALETTE[1]
    axes.plot(steps, values, "o-", color=colour, markersize=4.5, linewidth=1.2, label=label)
    of_kept = np.flatnonzero(steps == kept)
    best = int(of_kept[0]) if len(of_kept) else int(np.argmin(values))
    ring: dict[str, Any] = {"markersize": 10, "markerfacecolor": "none", "markeredgewidth": 1.3}
    axes.plot(steps[best], values[best], "o", color=colour, **ring)
    late = len(steps) > 1 and steps[best] > (steps[0] + steps[-1]) / 2
    axes.annotate(
        f"{'kept' if len(of_kept) else 'best'} {style.short(values[best])}",
        (steps[best], values[best]),
        # under the lowest point this curve has nothing to cross; another is made to stand back
        xytext=(-8 if late else 8, -8),
        textcoords="offset points",
        ha="right" if late else "left",
        va="top",
        fontsize=9,
        color=colour,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.8},
    )
    # room for the words over the lower edge
    axes.margins(y=0.26)


def _add_flops(axes: Axes, course: Course) -> None:
    """FLOPs along the top: the same steps by what they have cost."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    rising = len(course.flops) > 1 and bool(np.all(np.diff(course.flops) > 0))
    if not rising:
        return
    # straight on beyond both ends, so that the axis' margins have a place too
    x, y = course.steps, course.flops
    first, last = (y[1] - y[0]) / (x[1] - x[0]), (y[-1] - y[-2]) / (x[-1] - x[-2])
    reach = x[-1] - x[0]
    x = np.r_[x[0] - reach, x, x[-1] + reach]
    y = np.r_[y[0] - first * reach, y, y[-1] + last * reach]

    def to_flops(steps: ArrayLike) -> FloatArray:
        return np.interp(np.asarray(steps, dtype=np.float64), x, y)

    def to_steps(flops: ArrayLike) -> FloatArray:
        return np.interp(np.asarray(flops, dtype=np.float64), y, x)

    top = axes.secondary_xaxis("top", functions=(to_flops, to_steps))
    top.set_xlabel("FLOPs spent")
    top.xaxis.set_major_locator(MaxNLocator(5))
    top.xaxis.set_major_formatter(FuncFormatter(lambda value, _: style.short(value)))
