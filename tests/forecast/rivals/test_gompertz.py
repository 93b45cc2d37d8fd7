"""The Gompertz state space model against a published fit."""

import numpy as np
import pytest
from scipy import stats

from lvlora.forecast.rivals.gompertz import fit_gompertz

REDSTARTS = np.array(
    "18 10 9 14 17 14 5 10 9 5 11 11 4 5 4 8 2 3 9 2 4 7 4 1 2 4 11 11 9 6".split(), dtype=float
)
"""American redstarts of one route of the Breeding Bird Survey, 1966 to 1995,
record 02014 3328 08636 (Dennis et al. 2006)."""


PUBLISHED = np.array([0.3929, 0.7934, 0.09726, 0.2315])
"""a, c, variances of process and observation by maximum likelihood (Dennis et al. 2006)."""


def log_likelihood(a: float, c: float, process: float, observation: float) -> float:
    """Of the logarithms, from their joint normal distribution in full."""
    logs, steps = np.log(REDSTARTS), np.arange(len(REDSTARTS))
    stationary = process / (1 - c**2)
    covariance = stationary * c ** np.abs(steps[:, None] - steps) + observation * np.eye(len(logs))
    mean = np.full(len(logs), a / (1 - c))
    return float(stats.multivariate_normal(mean, covariance).logpdf(logs))


def test_a_published_fit() -> None:
    fit = fit_gompertz(np.log(REDSTARTS))
    ours = (fit.a, fit.c, fit.process, fit.observation)
    assert ours == pytest.approx(PUBLISHED, rel=5e-4)
    assert fit.log_likelihood == pytest.approx(log_likelihood(*ours), abs=1e-8)

    # a maximum, so the counts are those that were published
    for moved in PUBLISHED * (1 + 0.01 * np.concatenate([np.eye(4), -np.eye(4)])):
        assert log_likelihood(*moved) < log_likelihood(*PUBLISHED)
