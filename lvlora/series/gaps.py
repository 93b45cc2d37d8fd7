"""Missing values filled by straight lines.

Knows: NaN. Does not know: why something is missing.
"""

from __future__ import annotations

import numpy as np

from lvlora.series.dataset import FloatArray


def interpolated(time: FloatArray, values: FloatArray) -> FloatArray:
    """(T, V) with each NaN replaced by linear interpolation in time, per variable.

    Before the first and after the last known value that value is held. A variable without any
    known value stays NaN.
    """
    filled = np.array(values, dtype=np.float64)
    for column in filled.T:
        known = np.isfinite(column)
        if known.any() and not known.all():
            column[~known] = np.interp(time[~known], time[known], column[known])
    return filled
