"""Long curves as few points that look the same.

Knows: one column of numbers. Does not know: axes, files.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lvlora.series.dataset import FloatArray

DRAWN = 6_000
"""Points of a curve at most: more than a page has dots beside each other, few enough for a file."""


def kept(values: FloatArray, most: int = DRAWN) -> NDArray[np.int64]:
    """Positions of at most so many points that draw the same curve.

    The lowest and the highest of each of equally long stretches, with the very first and last; all
    of a curve that has no more. A gap (NaN) shows where it is as long as a stretch.

    Args:
        values: (T,); most: at least 4.
    """
    n = len(values)
    if n <= most:
        return np.arange(n)
    stretches = (most - 2) // 2
    edges = np.linspace(0, n, stretches + 1).astype(np.int64)
    length = int(np.diff(edges).max())
    # rows of equal length; what a shorter stretch borrows of the next changes nothing
    places = np.minimum(edges[:-1, None] + np.arange(length), n - 1)
    rows = values[places]
    gaps = np.isnan(rows)
    lowest = np.argmin(np.where(gaps, np.inf, rows), axis=1)
    highest = np.argmax(np.where(gaps, -np.inf, rows), axis=1)
    return np.unique(np.concatenate([[0], edges[:-1] + lowest, edges[:-1] + highest, [n - 1]]))
