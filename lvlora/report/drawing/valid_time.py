"""How long forecasts hold: the share of series that are still valid, step by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from lvlora.report.drawing import style
from lvlora.report.drawing.errors import MAX_FORECASTERS

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def valid_time_figure(
    shares: Mapping[str, ArrayLike], models: Sequence[str] = (), *, narrow: bool = False
) -> Figure:
    """A falling stair for each forecaster, from 1 before the first step.

    Args:
        shares: name -> (H,) share of series whose forecast is valid up to and with that step.
        models: names that are drawn boldly, in the first colours.
        narrow: for a phone.
    """
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    order = [n for n in models if n in shares] + [n for n in shares if n not in models]
    order = order[:MAX_FORECASTERS]
    with style.look():
        height = 3.8 + 0.22 * len(order) / (1 if narrow else 3)
        figure = style.new_figure(style.NARROW if narrow else style.WIDTH, height)
        axes = figure.add_subplot()
        handles: list[Any] = []
        for k, name in enumerate(order):
            values = np.concatenate([[1.0], np.asarray(shares[name], dtype=np.float64)])
            bold = name in models
            handles += axes.plot(
                np.arange(len(values)),
                values,
                drawstyle="steps-post",
                color=style.colour(k),
                linestyle="-" if bold else ("--", "-.", ":")[k % 3],
                linewidth=2.4 if bold else 1.2,
                zorder=3 if bold else 2,
                label=style.plain(name, 32),
            )
        axes.set_ylim(0, 1.03)
        axes.set_xlim(left=0)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
        axes.set_xlabel("steps ahead")
        axes.set_ylabel("series still valid")
        style.legend_below(figure, handles, columns=3)
    return figure
