"""Forecasters of other packages, if they are installed: statsforecast and fracast."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import numpy as np

from lvlora.data.dataset import FloatArray
from lvlora.forecast.rivals.contract import EachByItself, Variable

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


class Statistical(EachByItself):
    """An automatic method of statsforecast (Garza et al. 2022) for each variable by itself.

    ETS: Hyndman et al. (2002), doi:10.1016/S0169-2070(01)00110-8. Theta: Fiorucci et al. (2016),
    doi:10.1016/j.ijforecast.2016.02.005. ARIMA: Hyndman & Khandakar (2008),
    doi:10.18637/jss.v027.i03. CES: Svetunkov et al. (2022), doi:10.1002/nav.22074.

    Futures follow its own 80 % interval: normal on each side, with one quantile at all steps.
    """

    speed = "slow"
    package = "statsforecast"
    uses_season = True
    unit = False

    def __init__(self, name: str) -> None:
        self.name = name  # of `MODELS`

    def longest_season(self, n_steps: int) -> int:
        longest = super().longest_season(n_steps)
        return longest if self.name in ("theta", "ces") else min(longest, _LONGEST_SEASON)

    def continued(self, of: Variable, n_samples: int, rng: np.random.Generator) -> FloatArray:
        values, n_ahead, season = of.values + of.centre, of.n_ahead, of.season
        if self.name == "theta" and season > 1:
            # its own test of a season takes a slow cycle for a trend
            phases = np.arange(len(values) + n_ahead) % season
            pattern = seasonal_pattern(values, season)[phases]
            mean, low, high = self._fitted(values - pattern[: len(values)], n_ahead, 1)
            mean = mean + pattern[len(values) :]
        else:
            mean, low, high = self._fitted(values, n_ahead, season)
        draws = rng.standard_normal((n_samples, 1))
        paths = np.concatenate([mean[None], mean + np.where(draws < 0, low, high) * draws])
        return np.asarray(paths - of.centre)

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
        names = ("mean", f"lo-{_LEVEL}", f"hi-{_LEVEL}")
        mean, low, high = (np.asarray(ahead[name], dtype=np.float64) for name in names)
        spreads = [(mean - low) / _Z, (high - mean) / _Z]
        below, above = (np.where(np.isfinite(s), np.maximum(s, 0.0), 0.0) for s in spreads)
        return np.where(np.isfinite(mean), mean, values[-1]), below, above


def seasonal_pattern(values: FloatArray, season: int) -> FloatArray:
    """Return (season,) deviations of each step of a season, which add up to zero.

    Classical decomposition (Macaulay 1931) of at least two seasons: means of the differences from a
    centred moving average.
    """
    window = np.full(season, 1 / season)
    if season % 2 == 0:
        window = np.convolve(window, [0.5, 0.5])
    margin = len(window) // 2
    level = np.convolve(values, window, mode="valid")
    detrended = values[margin : margin + len(level)] - level
    phases = np.arange(margin, margin + len(level)) % season
    pattern = np.array([detrended[phases == phase].mean() for phase in range(season)])
    return np.asarray(pattern - pattern.mean())


@cache
def _fracast_model() -> Any:
    """Open the model once a process; the rival itself is sent to other processes without it."""
    from fracast import FracastModel

    return FracastModel.from_pretrained(weights="fp32")


class Fracast(EachByItself):
    """https://github.com/ztxtech/fracast-0 (Apache-2.0): a convolutional foundation model.

    Its weights come with its wheel, so nothing is downloaded. Each variable by itself, as it
    stands: the model has seen neither logarithms nor several variables. The forecast is its
    median; futures are drawn from its nine quantiles with the same rank at every step.
    """

    name = "fracast-0"
    speed = "slow"
    package = "fracast"
    max_samples = 10_000
    on_logs = False

    def continued(self, of: Variable, n_samples: int, rng: np.random.Generator) -> FloatArray:
        model = _fracast_model()
        forecast = model.forecast(of.values[None], horizon=of.n_ahead)
        quantiles = np.sort(forecast[0], axis=1).astype(np.float64)  # (H, Q)
        levels = np.asarray(model.quantiles)
        ranks = [0.5, *rng.random(n_samples)]
        return np.array([[np.interp(rank, levels, at) for at in quantiles] for rank in ranks])
