"""Samples shared among several scales of a history."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import tiny_runs

from lvlora.forecast.forecaster import Forecaster
from lvlora.forecast.reading import view_factors
from lvlora.forecast.sampling import Sampling

DRAWN = Sampling(samples=7, seed=5)


@pytest.fixture
def forecaster(tiny_base):
    return Forecaster(tiny_base(), decimals=1)


def _histories():
    return list(tiny_runs.dataset(n_series=2, n_steps=10))


def test_scales_lie_around_the_usual_one():
    assert view_factors(1) == [1.0]
    for n in range(2, 9):
        found = view_factors(n)
        assert len(set(found)) == n
        assert found[0] == 1.0
        steps = np.diff(np.log(sorted(found)))
        assert np.allclose(steps, steps[0])
        if n % 2:
            assert math.isclose(max(found), 1 / min(found))


def test_each_view_draws_its_share_as_a_forecaster_of_that_scale_would(forecaster):
    histories = _histories()
    pooled = forecaster.predict(histories, 4, replace(DRAWN, views=3))
    for view, factor in enumerate(view_factors(3)):
        for history, found in zip(histories, pooled, strict=True):
            # the same streams, read at that scale alone
            alone = Forecaster(forecaster.base, decimals=1, scale=found.scale.times(factor))
            (other,) = alone.predict([history], 4, DRAWN)
            mine = slice(view, None, 3)
            assert np.allclose(found.samples[mine], other.samples[mine])
    assert pooled[0].samples.shape == (7, 4, 2)


def test_a_greedy_future_has_one_view(forecaster):
    greedy = Sampling(greedy=True)
    plain, many = (forecaster.predict(_histories(), 4, replace(greedy, views=v))[0] for v in (1, 5))
    assert np.array_equal(plain.samples, many.samples)


def test_views_are_priced_and_never_dearer_than_told(forecaster):
    histories = _histories()
    costs = []
    for views in (1, 3):
        sampling = replace(DRAWN, views=views)
        before = forecaster.usage.price
        most = forecaster.at_most(histories, 4, sampling)
        forecaster.predict(histories, 4, sampling)
        cost = forecaster.usage.price - before
        assert 0 < cost.executed <= most.executed
        assert 0 < cost.coursework <= most.coursework
        costs.append(cost.coursework)
    assert costs[1] > costs[0]


def test_long_horizons_roll_each_sample_at_its_own_scale(forecaster):
    forecaster.base.module.config.max_position_embeddings = 96
    found = forecaster.predict(_histories(), 30, replace(DRAWN, views=2))
    assert all(f.samples.shape == (7, 30, 2) and np.isfinite(f.samples).all() for f in found)
    again = forecaster.predict(_histories()[1:], 30, replace(DRAWN, views=2))
    assert np.array_equal(again[0].samples, found[1].samples)
