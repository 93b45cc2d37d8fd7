"""Vector autoregression on the logarithms of one history, its order chosen on that history.

Knows: one history, least squares. Does not know: other series, equations.
"""

from __future__ import annotations

import numpy as np

from lvlora.series.dataset import FloatArray
from lvlora.series.rivals.contract import Untrained, complete, from_logs, guarded, to_logs

ORDERS = (1, 2, 3, 4, 6, 8)
_RIDGE = 1e-4  # of the standardised lags: bounds the coefficients of nearly collinear ones


class VectorAutoregression(Untrained):
    """VAR(p): every variable is a linear function of the last p values of all of them.

    On logarithms where the whole history is positive, else on levels. Coefficients by ridge
    regression; the order is the one of `ORDERS` with the least squared error when the last
    quarter of the history is forecast from the rest. The forecast is guarded (`guarded`), for an
    unstable fit grows exponentially.
    """

    name = "var on logs"

    def forecast(self, time: FloatArray, history: FloatArray) -> FloatArray:
        """See `Rival.forecast`."""
        n_ahead = len(time) - len(history)
        filled = complete(time, history)
        values, were_logs = to_logs(filled)
        centre, spread = values.mean(axis=0), values.std(axis=0)
        scaled = (values - centre) / np.where(spread > 0, spread, 1.0)
        order = _order(scaled)
        if order == 0:
            return np.repeat(filled[-1:], n_ahead, axis=0)
        ahead = _iterate(scaled, _coefficients(scaled, order), n_ahead)
        return guarded(from_logs(ahead * spread + centre, were_logs), filled)


def _order(values: FloatArray) -> int:
    """The best order on held-out steps, 0 if the history is too short for any."""
    n_held = max(1, len(values) // 4)
    known, held = values[:-n_held], values[-n_held:]
    errors = {}
    for order in ORDERS:
        if len(known) - order >= 2 + order:
            ahead = _iterate(known, _coefficients(known, order), n_held)
            errors[order] = float(np.mean((np.clip(ahead, -10, 10) - held) ** 2))
    return min(errors, key=lambda order: errors[order], default=0)


def _lagged(values: FloatArray, order: int) -> FloatArray:
    """(T - order + 1, order V + 1): ``order`` rows ending at each row, newest first; and 1."""
    windows = np.lib.stride_tricks.sliding_window_view(values, order, axis=0)
    lags = windows[:, :, ::-1].transpose(0, 2, 1).reshape(len(windows), -1)
    return np.hstack([lags, np.ones((len(windows), 1))])


def _coefficients(values: FloatArray, order: int) -> FloatArray:
    """(order V + 1, V) ridge estimate; the intercept is not shrunk."""
    x, y = _lagged(values, order)[:-1], values[order:]
    penalty = np.full(x.shape[1], _RIDGE * len(x))
    penalty[-1] = 1e-12
    solution: FloatArray = np.linalg.lstsq(
        np.vstack([x, np.diag(np.sqrt(penalty))]),
        np.vstack([y, np.zeros((x.shape[1], y.shape[1]))]),
        rcond=None,
    )[0]
    return solution


def _iterate(values: FloatArray, coefficients: FloatArray, n_ahead: int) -> FloatArray:
    """(n_ahead, V) steps, each from those before; kept within 1e6 spreads against overflow."""
    order = (len(coefficients) - 1) // values.shape[1]
    path = list(values[-order:])
    for _ in range(n_ahead):
        row = np.append(np.concatenate(path[: -order - 1 : -1]), 1.0)
        path.append(np.clip(row @ coefficients, -1e6, 1e6))
    return np.array(path[order:]).reshape(n_ahead, values.shape[1])
