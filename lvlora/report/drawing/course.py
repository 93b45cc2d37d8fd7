"""The course of a training run: loss and forecast error against steps and FLOPs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

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


def course_figure(course: Course, *, narrow: bool = False) -> Figure:
    """A panel for the loss and, where there is a forecast error, one for that.

    Args:
        narrow: for a phone.
    """
    has_mae = len(course.maes) > 0
    with style.look():
        figure = style.new_figure(style.NARROW if narrow else style.WIDTH, 5.6 if has_mae else 3.6)
        panels = figure.subplots(
            2 if has_mae else 1,
            1,
            sharex=True,
            squeeze=False,
            height_ratios=[1.5, 1.0] if has_mae else None,
        )[:, 0]
        _draw_losses(panels[0], course)
        if has_mae:
            _draw_points(panels[1], course.mae_steps, course.maes, style.PALETTE[1], course.kept)
            panels[1].set_ylabel("forecast error (MAE)")
        panels[-1].set_xlabel("step")
        _count_in_integers(panels[-1])
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
    if len(course.steps):
        few = len(course.steps) <= _SMOOTHED_FROM
        axes.plot(
            course.steps,
            course.losses,
            color=style.ACCENT if few else style.PALETTE[5],
            linewidth=1.6 if few else 0.8,
            marker="." if len(course.steps) < 4 else None,
            label="training" if few else "training, each step",
        )
        if not few:
            mean = smoothed(course.losses)
            axes.plot(course.steps, mean, color=style.ACCENT, label="training, smoothed")
    if len(course.validation_losses):
        _draw_points(
            axes,
            course.validation_steps,
            course.validation_losses,
            style.PALETTE[1],
            course.kept,
            "validation",
        )
    every = np.concatenate([course.losses, course.validation_losses])
    if every.size == 0:
        axes.text(
            0.5, 0.5, "no step was made", transform=axes.transAxes, ha="center", color=style.FAINT
        )
        return
    if every.min() > 0 and every.max() / every.min() > _WIDE:
        axes.set_yscale("log")
        style.plain_log_ticks(axes.yaxis)
    axes.legend(loc="upper right")


def _draw_points(
    axes: Axes,
    steps: FloatArray,
    values: FloatArray,
    colour: str,
    kept: int | None,
    label: str = "",
) -> None:
    """Validations; the one whose adapter is kept is ringed and told, else the lowest."""
    axes.plot(steps, values, "o-", color=colour, markersize=4.5, linewidth=1.2, label=label or None)
    of_kept = np.flatnonzero(steps == kept)
    best = int(of_kept[0]) if len(of_kept) else int(np.argmin(values))
    axes.plot(
        steps[best],
        values[best],
        "o",
        markersize=10,
        markerfacecolor="none",
        markeredgecolor=colour,
        markeredgewidth=1.3,
    )
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


def _count_in_integers(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(_ticks(axes) + 2, integer=True))


def _ticks(axes: Axes) -> int:
    """How many tick labels fit beside each other."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    return 6 if figure.get_figwidth() > 6 else 4


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
    top.xaxis.set_major_locator(MaxNLocator(_ticks(axes) - 1))
    top.xaxis.set_major_formatter(FuncFormatter(lambda value, _: style.short(value)))
