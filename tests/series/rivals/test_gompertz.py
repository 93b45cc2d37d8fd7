"""The Gompertz state space model against a published fit."""

import numpy as np
import pytest

from lvlora.series.dataset import Dataset, Series
from lvlora.series.rivals.gompertz import Gompertz, fit_gompertz

REDSTARTS = np.array(
    [
        18,
        10,
        9,
        14,
        17,
        14,
        5,
        10,
        9,
        5,
        11,
        11,
        4,
        5,
        4,
        8,
        2,
        3,
        9,
        2,
        4,
        7,
        4,
        1,
        2,
        4,
        11,
        11,
        9,
        6,
    ],
    dtype=float,
)
"""American redstarts of one route of the Breeding Bird Survey (Dennis et al. 2006)."""


def test_a_published_fit() -> None:
    fit = fit_gompertz(np.log(REDSTARTS))
    assert fit.a == pytest.approx(0.3929, abs=1e-3)
    assert fit.c == pytest.approx(0.7934, abs=1e-3)
    assert fit.process == pytest.approx(0.09697, rel=0.01)
    assert fit.observation == pytest.approx(0.2315, rel=0.01)


def test_zeros_are_refused_with_a_sentence() -> None:
    values = np.where(REDSTARTS > 2, REDSTARTS, 0.0)[:, None]
    series = Series("redstarts", np.arange(30.0), values)
    assert "not positive" in Gompertz().refusal(Dataset((series,), ("count",)))
