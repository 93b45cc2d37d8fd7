"""The Gompertz state space model: density dependence, seen through noise."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from lvlora.data.dataset import FloatArray
from lvlora.forecast.rivals.contract import EachByItself, Variable

_PARAMETERS = 4
_MOST_MEMORY, _LEAST_SHARE = 0.995, 1e-4
_GRID = (
    np.array([-0.5, 0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98]),
    np.array([0.001, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95]),
)
"""Memories and shares of observation noise from the best of which a fit starts."""
_EVALUATIONS = 120


class GompertzFit(NamedTuple):
    """Maximum likelihood estimates of X(t) = a + c X(t-1) + E(t), Y(t) = X(t) + F(t).

    X is the logarithm of the population, Y what is observed of it.
    """

    a: float
    c: float
    process: float
    """Variance of E."""
    observation: float
    """Variance of F."""
    log_likelihood: float
    """Of Y."""


def fit_gompertz(logs: FloatArray) -> GompertzFit:
    """Fit the model to a population by maximum likelihood.

    The population begins in its stationary distribution, so that all logarithms are jointly
    normal. Their likelihood, which a Kalman filter also gives, is computed from that covariance;
    mean and size of the noise follow from it in closed form, and two parameters are searched.

    Dennis et al. (2006), doi:10.1890/0012-9615(2006)76[323:EDDPNA]2.0.CO;2.

    Args:
        logs: (T,) logarithms, NaN where a count is missing; at least 5 of them, not all equal.
    """
    from scipy.optimize import minimize

    at = np.flatnonzero(np.isfinite(logs))
    values, lags = logs[at], np.abs(at[:, None] - at[None, :])

    def loss(search: FloatArray) -> float:
        return -_profile(values, lags, *_bounded(search))[0]

    starts = [_unbounded(c, share) for c in _GRID[0] for share in _GRID[1]]
    best = min(starts, key=loss)
    refined = minimize(
        loss, best, method="Nelder-Mead", options={"maxfev": _EVALUATIONS, "xatol": 1e-5}
    )
    c, share = _bounded(np.asarray(refined.x))
    log_likelihood, mean, total = _profile(values, lags, c, share)
    process = total * (1 - share) * (1 - c**2)
    return GompertzFit(mean * (1 - c), c, process, total * share, log_likelihood)


def _bounded(search: FloatArray) -> tuple[float, float]:
    """Memory c and the share of observation noise, from two numbers without bounds."""
    c = _MOST_MEMORY * math.tanh(float(search[0]))
    share = _LEAST_SHARE + (1 - 2 * _LEAST_SHARE) / (
        1 + math.exp(-float(np.clip(search[1], -40, 40)))
    )
    return c, share


def _unbounded(c: float, share: float) -> FloatArray:
    inner = (share - _LEAST_SHARE) / (1 - 2 * _LEAST_SHARE)
    return np.array([math.atanh(c / _MOST_MEMORY), math.log(inner / (1 - inner))])


def _correlation(lags: FloatArray, c: float, share: float) -> FloatArray:
    """Correlation of observations so many steps apart; a share of their variance is noise."""
    size = np.abs(c) ** lags * np.where((lags % 2 == 1) & (c < 0), -1.0, 1.0)
    return np.asarray((1 - share) * size + share * (lags == 0))


def _profile(
    values: FloatArray, lags: FloatArray, c: float, share: float
) -> tuple[float, float, float]:
    """The log-likelihood at the best mean and variance, and these two."""
    n = len(values)
    root = np.linalg.cholesky(_correlation(lags, c, share))
    ones, seen = np.linalg.solve(root, np.stack([np.ones(n), values], axis=1)).T
    mean = float(ones @ seen / (ones @ ones))
    total = float(np.sum((seen - mean * ones) ** 2)) / n
    log_determinant = 2 * float(np.log(np.diag(root)).sum())
    likelihood = -0.5 * (n * math.log(2 * math.pi * max(total, 1e-300)) + n + log_determinant)
    return likelihood, mean, total


def _ahead(logs: FloatArray, n_ahead: int) -> tuple[FloatArray, FloatArray]:
    """(H,) mean and (H, H) covariance of future observations, the mean's own error included."""
    fit = fit_gompertz(logs)
    at = np.flatnonzero(np.isfinite(logs))
    n, total = len(at), fit.process / (1 - fit.c**2) + fit.observation
    share = fit.observation / total
    steps = np.concatenate([at, len(logs) + np.arange(n_ahead)])
    correlation = _correlation(np.abs(steps[:, None] - steps[None, :]), fit.c, share)
    past, across, future = correlation[:n, :n], correlation[n:, :n], correlation[n:, n:]
    weights = np.linalg.solve(past, across.T).T
    mean = fit.a / (1 - fit.c)
    rest = 1 - weights.sum(axis=1)
    precision = float(np.linalg.solve(past, np.ones(n)).sum())
    covariance = future - weights @ across.T + np.outer(rest, rest) / precision
    unbiased = total * n / max(n - _PARAMETERS, 1)
    return mean + weights @ (logs[at] - mean), covariance * unbiased


class Gompertz(EachByItself):
    """Gompertz state space model of each variable by itself: the standard of ecologists.

    Both noise of the population and of its observation are estimated (`fit_gompertz`); futures are
    drawn from the joint normal distribution of later observations. Missing values are not filled.
    """

    name = "gompertz state space"
    max_samples = 200
    needs_positive = True

    def continued(self, of: Variable, n_samples: int, rng: np.random.Generator) -> FloatArray:
        values, known, n_ahead = of.values, of.known, of.n_ahead
        if known.sum() < self.fewest or not np.ptp(values[known]) > 0:
            return np.full((1 + n_samples, n_ahead), values[-1])
        mean, covariance = _ahead(np.where(known, values, np.nan), n_ahead)
        sizes, axes = np.linalg.eigh(covariance)
        root = axes * np.sqrt(np.maximum(sizes, 0.0))
        draws = rng.standard_normal((n_samples, n_ahead))
        return np.concatenate([mean[None], mean + draws @ root.T])
