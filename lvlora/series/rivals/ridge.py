"""One linear map from every history to its future, learnt on the training series.

Knows: windows of training series. Does not know: one series' own dynamics.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lvlora.series.dataset import Dataset, FloatArray
from lvlora.series.rivals.contract import KIND, complete, guarded

_PENALTIES = tuple(10.0**k for k in range(-3, 5))
_MAX_WINDOWS = 20_000
_MAX_FEATURES = 4_000


class GlobalRidge:
    """Ridge regression of the whole horizon on the whole context, one for all series.

    On logarithms where all training values are positive (then a history that isn't is raised to
    the smallest of them), else on levels. The penalty is chosen by leave-one-out on the training
    windows. It forecasts the last value where no training series is as long as context and
    horizon, or where it is asked for more than it was fitted for.
    """

    name = "global ridge on logs"
    kind = KIND

    def __init__(self) -> None:
        self._model: Any = None
        self._context = 0
        self._floor = 0.0

    def applies(self, dataset: Dataset) -> bool:
        """Always."""
        return True

    def fit(self, train: Dataset, context: int, horizon: int) -> None:
        """Learn from windows of ``context + horizon`` steps whose horizons do not overlap."""
        from sklearn.linear_model import RidgeCV
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        self._model, self._context = None, context
        series = [complete(s.time, s.values) for s in train if len(s) >= context + horizon]
        if not series or context * series[0].shape[1] > _MAX_FEATURES:
            return
        smallest = min(float(s.min()) for s in series)
        self._floor = smallest if smallest > 0 else 0.0
        windows = [
            s[start : start + context + horizon]
            for s in series
            for start in range(len(s) - context - horizon, -1, -horizon)
        ][:_MAX_WINDOWS]
        logs = np.stack([self._transformed(w) for w in windows])
        # the future is told as its difference from the last value, which is where it starts
        x = logs[:, :context].reshape(len(logs), -1)
        y = (logs[:, context:] - logs[:, context - 1 : context]).reshape(len(logs), -1)
        model = make_pipeline(StandardScaler(), RidgeCV(_PENALTIES))
        self._model = model.fit(x, y) if len(logs) > 1 else None

    def forecast(self, time: FloatArray, history: FloatArray) -> FloatArray:
        """See `Rival.forecast`; only the last ``context`` steps of the history are used."""
        n_ahead, n_variables = len(time) - len(history), history.shape[1]
        filled = complete(time, history)
        last = np.repeat(filled[-1:], n_ahead, axis=0)
        if self._model is None or len(history) < self._context:
            return last
        values = self._transformed(filled[-self._context :])
        change = self._model.predict(values.reshape(1, -1)).reshape(-1, n_variables)
        if len(change) < n_ahead:
            return last
        ahead = values[-1] + change[:n_ahead]
        return guarded(np.exp(np.minimum(ahead, 700.0)) if self._floor > 0 else ahead, filled)

    def _transformed(self, values: FloatArray) -> FloatArray:
        if self._floor > 0:
            logs: FloatArray = np.log(np.maximum(values, self._floor))
            return logs
        return values
