"""AutoARIMA of the package statsforecast, one variable at a time, if it is installed."""

from __future__ import annotations

import importlib.util
import warnings

import numpy as np

from lvlora.series.dataset import Dataset, FloatArray
from lvlora.series.rivals.contract import Prediction, Untrained, complete, guarded
from lvlora.series.rivals.parts.bootstrap import stream
from lvlora.series.rivals.parts.standardising import standardised

_MAX_SAMPLES = 200
_FEWEST = 8
_LEVEL = 80
_Z = 1.2815515655446004  # half the width of an 80 % interval in standard deviations


class AutoArima(Untrained):
    """Hyndman & Khandakar (2008), doi:10.18637/jss.v027.i03, by the library statsforecast.

    An ARIMA without a season for each variable by itself, its orders chosen by AICc; on logarithms
    of what is positive. Its own intervals are normal; futures are drawn from them with the same
    quantile at every step.
    """

    name = "autoarima"

    def applies(self, dataset: Dataset) -> bool:
        """Where the library is installed: ``pip install 'lvlora[rivals]'``."""
        return importlib.util.find_spec("statsforecast") is not None

    def forecast(self, time: FloatArray, history: FloatArray) -> FloatArray:
        """See `Rival.forecast`."""
        return self.predict(time, history).point

    def predict(
        self,
        time: FloatArray,
        history: FloatArray,
        n_samples: int = 0,
        name: str = "",
        known: FloatArray | None = None,
    ) -> Prediction:
        """See `Rival.predict`; the futures are those of its own intervals."""
        n_left_out = max(0, len(history) - _MAX_SAMPLES)
        time, history = time[n_left_out:], history[n_left_out:]
        filled = complete(time, history)
        given = standardised(time, history)
        problem = given.problem
        mean = np.repeat(problem.values[-1:], problem.n_ahead, axis=0)
        spread = np.zeros_like(mean)
        if problem.n_known >= _FEWEST:
            for v, column in enumerate(problem.values.T):
                if np.ptp(column) > 0:
                    mean[:, v], spread[:, v] = _fitted(column, problem.n_ahead)
        draws = stream(name).standard_normal((n_samples, 1, mean.shape[1]))
        paths = np.concatenate([mean[None], mean + spread * draws])
        found = guarded(given.back(paths), filled)
        return Prediction(found[0], found[1:] if n_samples else None)


def _fitted(values: FloatArray, n_ahead: int) -> tuple[FloatArray, FloatArray]:
    """(H,) mean and standard deviation."""
    from statsforecast.models import AutoARIMA

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            found = AutoARIMA(season_length=1).forecast(values, n_ahead, level=[_LEVEL])
        except (ArithmeticError, ValueError, IndexError, TypeError):  # of some odd histories
            return np.full(n_ahead, values[-1]), np.full(n_ahead, np.std(np.diff(values)))
    mean = np.asarray(found["mean"], dtype=np.float64)
    spread = (np.asarray(found[f"hi-{_LEVEL}"], dtype=np.float64) - mean) / _Z
    return mean, np.where(np.isfinite(spread), np.maximum(spread, 0.0), 0.0)
