"""How much of the differences between trials each searched setting explains, as bars."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lvlora.report.drawing import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def importance_figure(shares: Mapping[str, float], metric: str) -> Figure:
    """A bar for each setting, the most important on top.

    Args:
        shares: setting → its share of the variance of ``metric`` over the search, 0 to 1.
    """
    ordered = sorted(shares.items(), key=lambda item: item[1])
    with style.look():
        figure = style.new_figure(height=1.3 + 0.42 * len(ordered))
        axes = figure.add_subplot()
        axes.barh(
            [style.plain(name.replace("_", " "), 24) for name, _ in ordered],
            [share for _, share in ordered],
            color=style.ACCENT,
            height=0.6,
        )
        for at, (_, share) in enumerate(ordered):
            axes.annotate(
                f"{share:.0%}",
                (share, at),
                xytext=(5, 0),
                textcoords="offset points",
                va="center",
                fontsize=9,
                color=style.INK,
            )
        axes.set_xlim(0, max(1e-9, *(share for _, share in ordered)) * 1.12)
        axes.set_xticks([])
        axes.grid(visible=False)
        axes.spines["bottom"].set_visible(False)
        axes.tick_params(length=0)
        axes.set_xlabel(f"share of the variance of the {metric} that the setting explains")
    return figure
