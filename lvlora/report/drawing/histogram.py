"""Histograms of a few samples on the same bins, with their medians."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lvlora.report.drawing import style
from lvlora.series.dataset import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MANY = 200


def draw_histogram(
    axes: Axes, samples: Sequence[FloatArray], names: Sequence[str], colours: Sequence[str]
) -> None:
    """Draw samples over each other, their medians as lines.

    The outermost 0.5 % on each side of many values are cut off; medians are of all.

    Args:
        samples: NaN is left out.
        names: for the legend, already `style.plain`; an empty one puts the median over the panel.
    """
    from matplotlib.ticker import MaxNLocator

    known = [s[np.isfinite(s)] for s in samples]
    every = np.concatenate(known)
    if every.size == 0:
        axes.text(
            0.5,
            0.5,
            "no series has two peaks",
            transform=axes.transAxes,
            ha="center",
            color=style.FAINT,
        )
        return
    # a few odd series must not squeeze the others; where all are few, none is odd
    low, high = np.percentile(every, [0.5, 99.5] if every.size >= _MANY else [0, 100])
    least = max(abs(low), abs(high), 1e-12) * 0.1
    if high - low < least:
        middle = (low + high) / 2
        low, high = middle - least, middle + least
    edges = np.linspace(low, high, int(np.clip(np.sqrt(every.size / len(known)) * 1.5, 8, 40)) + 1)
    for values, name, colour in zip(known, names, colours, strict=True):
        if values.size == 0:
            continue
        median = float(np.median(values))
        inside = values[(values >= low) & (values <= high)]
        axes.hist(inside, bins=edges.tolist(), color=colour, alpha=0.25)
        axes.hist(
            inside,
            bins=edges.tolist(),
            histtype="step",
            color=colour,
            linewidth=1.4,
            label=f"{name}: median {style.short(median)}" if name else None,
        )
        axes.axvline(median, color=colour, linewidth=1.3, linestyle="--")
        if not name:
            axes.set_title(f"median {style.short(median)}", fontsize=9.5)
    axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.grid(axis="x", visible=False)
    if any(names):
        axes.margins(y=0.3)  # room for the legend
        axes.legend(loc="upper right")
