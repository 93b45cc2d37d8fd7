"""Context parroting: find where the history did what it does now, and repeat what came next.

Knows: one history. Does not know: equations, other series.
"""

from __future__ import annotations

import numpy as np

from lvlora.series.dataset import FloatArray
from lvlora.series.rivals.contract import Untrained, complete, from_logs, guarded, to_logs


class ContextParroting(Untrained):
    """Zhang & Gilpin (2025), "Context parroting", arXiv:2505.11349, with simplex neighbours.

    The last D steps of all variables are the query. Among all earlier stretches of D steps the
    D + 1 nearest (Euclidean) are taken; the next step is the mean of what followed them, weighted
    by exp(-distance / nearest distance) (Sugihara & May 1990, doi:10.1038/344734a0). That step is
    appended, and the search repeats. Variables are scaled to unit variance, as logarithms where
    the whole history is positive.
    """

    name = "context parroting"

    def __init__(self, n_steps: int = 3) -> None:
        """``n_steps``: D, the length of the stretches that are compared."""
        self._n_steps = n_steps

    def forecast(self, time: FloatArray, history: FloatArray) -> FloatArray:
        """See `Rival.forecast`."""
        n_known, n_ahead = len(history), len(time) - len(history)
        filled = complete(time, history)
        length = min(self._n_steps, n_known - 1)
        if length < 1:
            return np.repeat(filled[-1:], n_ahead, axis=0)
        values, were_logs = to_logs(filled)
        spread = values.std(axis=0)
        spread[spread == 0] = 1.0
        path = np.concatenate([values / spread, np.empty((n_ahead, values.shape[1]))])
        # (T - D, V, D) all stretches that something known follows, and that something
        stretches = np.lib.stride_tricks.sliding_window_view(path[: n_known - 1], length, axis=0)
        followers = path[length:n_known]
        for now in range(n_known, n_known + n_ahead):
            query = path[now - length : now].T
            distance = np.sqrt(np.sum((stretches - query) ** 2, axis=(1, 2)))
            nearest = np.argsort(distance, kind="stable")[: length + 1]
            unit = max(float(distance[nearest[0]]), np.finfo(float).tiny)
            with np.errstate(over="ignore"):  # what is infinitely further weighs nothing
                weights = np.exp(-np.minimum(distance[nearest] / unit, 700.0))
            path[now] = weights @ followers[nearest] / weights.sum()
        return guarded(from_logs(path[n_known:] * spread, were_logs), filled)
