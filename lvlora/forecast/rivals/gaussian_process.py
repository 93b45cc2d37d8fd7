"""A Gaussian process on delay vectors: the next step with its uncertainty, over and over."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from lvlora.data.dataset import FloatArray
from lvlora.forecast.rivals.contract import OwnDistribution
from lvlora.forecast.rivals.delay_maps import delays
from lvlora.forecast.rivals.standardising import Problem, Standardised

_N_LAGS = (1, 2, 3)
_FEWEST = 8
_EVALUATIONS = 40
_FAR = 10.0


class GaussianProcess(OwnDistribution):
    """Rasmussen & Williams (2006), Gaussian Processes for Machine Learning; iterated as in Girard,
    Rasmussen, Quiñonero-Candela & Murray-Smith (2002).

    The change of each variable is a process of the last one to three steps of all, with a linear
    and a squared-exponential kernel and noise, their parameters by marginal likelihood. The number
    of steps is the one that best forecasts the last quarter of the history. The forecast goes on
    with the mean; futures are drawn step by step from the processes, each from where it has come
    to. On logarithms of what is positive.
    """

    name = "gaussian process"
    speed = "slow"
    max_samples = 150  # a fit costs their third power
    fewest = 4

    def together(
        self, scaled: Standardised, seasons: list[int], n_samples: int, rng: np.random.Generator
    ) -> FloatArray | None:
        problem = scaled.problem
        n_held = max(1, problem.n_known // 4)
        cut = problem.cut(problem.n_known - n_held)
        errors = {}
        for n_lags in _N_LAGS:
            if cut.n_known - n_lags >= _FEWEST:
                mean = _path(_fitted(cut, n_lags), cut, n_lags, None, 1)[0]
                gaps = np.abs(mean - problem.values[-n_held:]) * problem.known[-n_held:]
                errors[n_lags] = float(np.sum(np.where(np.isfinite(gaps), gaps, _FAR)))
        if not errors:
            return None
        n_lags = min(errors, key=lambda each: errors[each])
        processes = _fitted(problem, n_lags)
        mean = _path(processes, problem, n_lags, None, 1)
        if not n_samples:
            return mean
        return np.concatenate([mean, _path(processes, problem, n_lags, rng, n_samples)])


def _fitted(problem: Problem, n_lags: int) -> list[Any]:
    """One process a variable."""
    from scipy.optimize import fmin_l_bfgs_b
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, WhiteKernel

    def search(function: Any, start: Any, bounds: Any) -> tuple[Any, float]:
        end, least, _ = fmin_l_bfgs_b(function, start, bounds=bounds, maxfun=_EVALUATIONS)
        return end, float(least)

    states = delays(problem.values, n_lags)[:-1]
    changes = np.diff(problem.values, axis=0)[n_lags - 1 :]
    kernel = (
        ConstantKernel(0.1, (1e-4, 1e4)) * DotProduct(1.0, (1e-2, 1e2))
        + ConstantKernel(1.0, (1e-4, 1e4)) * RBF(3.0, (0.3, 1e2))
        + WhiteKernel(1e-3, (1e-9, 1e1))
    )
    fitted = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a parameter at its bound is as good as another
        for y in changes.T:
            regressor = GaussianProcessRegressor(
                kernel, alpha=1e-9, normalize_y=bool(np.ptp(y) > 0), optimizer=search
            )
            fitted.append(regressor.fit(states, y))
    return fitted


def _path(
    processes: list[Any], problem: Problem, n_lags: int, rng: np.random.Generator | None, n: int
) -> FloatArray:
    """(n, H, V) paths, of the means where nothing is drawn."""
    n_variables = problem.values.shape[1]
    state = np.repeat(delays(problem.values, n_lags)[-1:], n, axis=0)
    paths = np.empty((n, problem.n_ahead, n_variables))
    for h in range(problem.n_ahead):
        change = np.empty((n, n_variables))
        for v, process in enumerate(processes):
            if rng is None:
                change[:, v] = process.predict(state)
            else:
                mean, spread = process.predict(state, return_std=True)
                change[:, v] = mean + spread * rng.standard_normal(n)
        now = np.clip(state[:, :n_variables] + change, -_FAR, _FAR)
        paths[:, h] = now
        state = np.concatenate([now, state[:, :-n_variables]], axis=1)
    return paths
