"""The error of writing numbers with few decimals, if everything else were perfect."""

from __future__ import annotations

import numpy as np

from lvlora.series.dataset import FloatArray


class RoundingFloor:
    """The truth, rounded as the text would round it: no forecaster that writes can be better."""

    name = "rounding floor"
    kind = "floor"

    def __init__(
        self, decimals: int, scale: float | FloatArray, offset: float | FloatArray = 0.0
    ) -> None:
        """Args:
        decimals: digits after the point in the text.
        scale: values are divided by it before they are written; one number or (V,).
        offset: and are less by so much before that.
        """
        self._decimals = decimals
        self._scale = np.asarray(scale, dtype=np.float64)
        self._offset = np.asarray(offset, dtype=np.float64)

    def of(self, truth: FloatArray) -> FloatArray:
        """(…, V) the truth as it reads after writing; NaN stays NaN."""
        numbers = (truth - self._offset) / self._scale
        rounded: FloatArray = np.round(numbers, self._decimals) * self._scale + self._offset
        return rounded
