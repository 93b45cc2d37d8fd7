"""ETS, Theta, ARIMA and CES of the package statsforecast, one variable at a time."""

from __future__ import annotations

import warnings

import numpy as np

from lvlora.series.dataset import Dataset, FloatArray
from lvlora.series.gaps import complete
from lvlora.series.rivals.contract import Prediction, Untrained, guarded, missing_package
from lvlora.series.rivals.parts.bootstrap import stream
from lvlora.series.rivals.parts.standardising import standardised
from lvlora.series.seasons import seasons, whole_season

_MAX_SAMPLES = 300
_FEWEST = 8
_LEVEL = 80
_Z = 1.2815515655446004  # half the width of an 80 % interval in standard deviations
_LONGEST_SEASON = 24
"""Steps of a season that ETS and ARIMA can hold in their state in a bearable time."""
MODELS = {
    "ets": "AutoETS",
    "theta": "DynamicOptimizedTheta",
    "arima": "AutoARIMA",
    "ces": "AutoCES",
}
"""Name of a row -> class of `statsforecast.models`."""


class Statistical(Untrained):
    """An automatic method of statsforecast (Garza et al. 2022) for each variable by itself.

    ETS: Hyndman et al. (2002), doi:10.1016/S0169-2070(01)00110-8. Theta: Fiorucci et al. (2016),
    doi:10.1016/j.ijforecast.2016.02.005. ARIMA: Hyndman & Khandakar (2008),
    doi:10.18637/jss.v027.i03. CES: Svetunkov et al. (2022), doi:10.1002/nav.22074.

    On logarithms of what is positive, with the season of each variable rounded to whole steps.
    Futures follow its own 80 % interval: normal on each side, with one quantile at all steps. A
    history of fewer than `_FEWEST` steps goes on as its last value.
    """

    uses_season = True

    def __init__(self, name: str) -> None:
        """``name``: of `MODELS`."""
        self.name = name

    def refusal(self, dataset: Dataset) -> str:
        """See `Rival.refusal`: statsforecast is not installed, or every series is too short."""
        longest = max((len(s) for s in dataset), default=_FEWEST)
        if longest < _FEWEST:
            return f"it needs {_FEWEST} steps of history"
        return missing_package("statsforecast")

    def period_used(self, period: float, n_steps: int) -> float:
        """See `Untrained.period_used`: whole steps, at least two seasons of them."""
        whole = whole_season(period)
        longest = n_steps // 2 if self.name in ("theta", "ces") else _LONGEST_SEASON
        return float(whole) if 2 <= whole <= min(longest, n_steps // 2) else float("nan")

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
        scaled = standardised(time, history, unit=False)
        problem, levels = scaled.problem, scaled.uncentred
        mean = np.repeat(levels[-1:], problem.n_ahead, axis=0)
        low, high = np.zeros_like(mean), np.zeros_like(mean)
        if problem.n_known >= _FEWEST:
            periods = seasons(time[: len(history)], filled, self.season)
            for v, column in enumerate(levels.T):
                if np.ptp(column) > 0:
                    period = self.period_used(float(periods[v]), problem.n_known)
                    mean[:, v], low[:, v], high[:, v] = self._fitted(
                        column, problem.n_ahead, whole_season(period)
                    )
        draws = stream(name).standard_normal((n_samples, 1, mean.shape[1]))
        paths = np.concatenate([mean[None], mean + np.where(draws < 0, low, high) * draws])
        bounded = guarded(scaled.back(paths - scaled.centre), filled)
        return Prediction(bounded[0], bounded[1:] if n_samples else None)

    def _fitted(
        self, values: FloatArray, n_ahead: int, season: int
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """(H,) mean, and the standard deviations below and above it."""
        from statsforecast import models

        method = getattr(models, MODELS[self.name])
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            # statsforecast warns of its own trials of orders, numba of its own code
            warnings.filterwarnings("ignore", module="(statsforecast|numba)")
            warnings.filterwarnings("ignore", category=RuntimeWarning)
            try:
                ahead = method(season_length=season).forecast(values, n_ahead, level=[_LEVEL])
            except Exception:  # AutoETS raises just that where no model can be fitted
                if season > 1:
                    return self._fitted(values, n_ahead, 1)
                spread = np.full(n_ahead, np.std(np.diff(values)))
                return np.full(n_ahead, values[-1]), spread, spread
        mean = np.asarray(ahead["mean"], dtype=np.float64)
        low = (mean - np.asarray(ahead[f"lo-{_LEVEL}"], dtype=np.float64)) / _Z
        high = (np.asarray(ahead[f"hi-{_LEVEL}"], dtype=np.float64) - mean) / _Z
        mean = np.where(np.isfinite(mean), mean, values[-1])
        return mean, _spread(low), _spread(high)


def _spread(values: FloatArray) -> FloatArray:
    return np.where(np.isfinite(values), np.maximum(values, 0.0), 0.0)
