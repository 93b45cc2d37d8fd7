"""Whichever of the fitted equations forecasts the history's own end best.

Knows: fits of equations. Does not know: which equations there are, other series.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lvlora.series.dataset import Dataset, FloatArray
from lvlora.series.rivals.contract import Untrained, complete
from lvlora.series.rivals.ode_fits import EquationFit


class BestEquations(Untrained):
    """One of several families of equations, chosen for each series.

    Each is fitted to the first three quarters of the history and forecasts the last one; that with
    the least mean absolute error of logarithms is fitted to all of it. What the others are told,
    which family the data come from, this one has to find out.
    """

    name = "best fitted equations"

    def __init__(self, fits: Sequence[EquationFit]) -> None:
        """``fits``: the families, the plainest first."""
        self._fits = tuple(fits)

    def applies(self, dataset: Dataset) -> bool:
        """Where all of them do."""
        return all(fit.applies(dataset) for fit in self._fits)

    def forecast(self, time: FloatArray, history: FloatArray) -> FloatArray:
        """See `Rival.forecast`."""
        return self._best(time, history).forecast(time, history)

    def with_hindcasts(
        self, time: FloatArray, history: FloatArray
    ) -> tuple[FloatArray, list[FloatArray]]:
        """See `Untrained.with_hindcasts`; with the family chosen for the whole history."""
        return self._best(time, history).with_hindcasts(time, history)

    def _best(self, time: FloatArray, history: FloatArray) -> EquationFit:
        n_known = len(history)
        n_seen = n_known - max(1, n_known // 4)
        filled = complete(time, history)
        if n_seen < 2 or np.any(filled <= 0):
            return self._fits[0]
        known = ~np.isnan(history[n_seen:])

        def error(fit: EquationFit) -> float:
            ahead = fit.forecast(time[:n_known], history[:n_seen])
            tiny = np.finfo(float).tiny
            gaps = np.abs(np.log(np.maximum(ahead, tiny)) - np.log(filled[n_seen:]))
            return float(np.sum(gaps * known))

        return min(self._fits, key=error)
