"""One linear map from every history to its future, learnt on the training series."""

from __future__ import annotations

from typing import Any

import numpy as np

from lvlora.series.dataset import Dataset, FloatArray
from lvlora.series.rivals.contract import Prediction, Untrained, complete, guarded
from lvlora.series.rivals.parts.bootstrap import stream
from lvlora.series.rivals.parts.linear import count_product, counting

_PENALTIES = tuple(10.0**k for k in range(-3, 5))
_MAX_WINDOWS = 20_000
_MAX_FEATURES = 4_000
_MAX_RESIDUALS = 500
"""Windows whose errors are kept, to draw futures from."""


class GlobalRidge(Untrained):
    """Ridge regression of the whole horizon on the whole context, one for all series.

    On logarithms where all training values are positive (then a history that isn't is raised to
    the smallest of them), else on levels. The penalty is chosen by leave-one-out on the training
    windows. It forecasts the last value where no training series is as long as context and
    horizon, or where it is asked for more than it was fitted for. Futures differ from the forecast
    as training windows do from theirs, whole windows at a time; each residual is that of a fit
    without the window (the residual over one minus its leverage).
    """

    name = "global ridge on logs"

    def __init__(self) -> None:
        self._model: Any = None
        self._context = 0
        self._floor = 0.0
        self._size = 1.0
        self._residuals: FloatArray = np.empty((0, 0, 0))

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
        self._size = max(float(np.abs(s).max()) for s in series) or 1.0
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
        self._residuals = np.empty((0, horizon, logs.shape[2]))
        if len(logs) < 2:
            return
        self._model = model.fit(x, y)
        gaps = (y - model.predict(x).reshape(y.shape)) / (1 - _leverages(model, x))[:, None]
        some = np.linspace(0, len(gaps) - 1, min(len(gaps), _MAX_RESIDUALS)).astype(int)
        self._residuals = gaps[some].reshape(len(some), horizon, -1)

    def forecast(self, time: FloatArray, history: FloatArray) -> FloatArray:
        """See `Rival.forecast`; only the last ``context`` steps of the history are used."""
        n_ahead, n_variables = len(time) - len(history), history.shape[1]
        filled = complete(time, history)
        last = np.repeat(filled[-1:], n_ahead, axis=0)
        if self._model is None or len(history) < self._context:
            return last
        values = self._transformed(filled[-self._context :])
        change = self._model.predict(values.reshape(1, -1)).reshape(-1, n_variables)
        count_product(1, values.size, change.size)
        if len(change) < n_ahead:
            return last
        ahead = values[-1] + change[:n_ahead]
        with np.errstate(over="ignore"):
            return guarded(np.exp(ahead) if self._floor > 0 else ahead * self._size, filled)

    def predict(
        self,
        time: FloatArray,
        history: FloatArray,
        n_samples: int = 0,
        name: str = "",
        known: FloatArray | None = None,
    ) -> Prediction:
        """See `Rival.predict`."""
        with counting() as tally:
            point = self.forecast(time, history)
        if n_samples < 1:
            return Prediction(point, None, tally.total)
        futures = np.repeat(point[None], n_samples, axis=0)
        if tally.total is not None and len(self._residuals):
            drawn = stream(name).integers(len(self._residuals), size=n_samples)
            gaps = self._residuals[drawn, : len(point)]
            with np.errstate(all="ignore"):
                moved = futures * np.exp(gaps) if self._floor > 0 else futures + gaps * self._size
            futures = guarded(moved, complete(time, history))
        return Prediction(point, futures, tally.total)

    def _transformed(self, values: FloatArray) -> FloatArray:
        if self._floor > 0:
            logs: FloatArray = np.log(np.maximum(values, self._floor))
            return logs
        return values / self._size


def _leverages(model: Any, x: FloatArray) -> FloatArray:
    """(n,) how much each window draws its own forecast to itself, below 1."""
    scaled = model[0].transform(x)
    n, p = scaled.shape
    penalty = model[1].alpha_
    if n > p:
        gram = scaled.T @ scaled + penalty * np.eye(p)
        own = np.einsum("np,pn->n", scaled, np.linalg.solve(gram, scaled.T))
    else:
        gram = scaled @ scaled.T
        own = np.diag(np.linalg.solve(gram + penalty * np.eye(n), gram))
    return np.asarray(np.clip(own + 1 / n, 0.0, 0.99))
