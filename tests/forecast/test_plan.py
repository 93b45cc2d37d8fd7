"""What is read at which scale, how much fits into memory, and what it costs at most."""

import math
from dataclasses import replace

import numpy as np
import pytest
import tiny_models
import tiny_runs

from lvlora.answers import NOTHING
from lvlora.errors import SettingsError
from lvlora.forecast import likelihood
from lvlora.forecast.language_model import LanguageModel
from lvlora.forecast.plan import OutlinedModel, row_bytes
from lvlora.forecast.reading import view_factors
from lvlora.forecast.sampling import Sampling
from lvlora.model.loading import outline

DRAWN = Sampling(samples=7, seed=5, views=1)
FEW = Sampling(samples=3, seed=5)


@pytest.fixture
def forecaster(tiny_base):
    return LanguageModel(tiny_base(), decimals=1)


def _histories(n=2):
    return list(tiny_runs.dataset(n_series=n, n_steps=10))


def test_scales_lie_around_the_usual_one():
    assert view_factors(1) == [1.0]
    for n in range(2, 9):
        result = view_factors(n)
        assert len(set(result)) == n
        assert result[0] == 1.0
        steps = np.diff(np.log(sorted(result)))
        assert np.allclose(steps, steps[0])
        if n % 2:
            assert math.isclose(max(result), 1 / min(result))


def test_each_view_draws_its_share_as_a_forecaster_of_that_scale_would(forecaster):
    histories = _histories()
    pooled = forecaster.predict(histories, 4, replace(DRAWN, views=3))
    for view, factor in enumerate(view_factors(3)):
        for history, result in zip(histories, pooled, strict=True):
            # the same streams, read at that scale alone
            alone = LanguageModel(forecaster.base, decimals=1, scale=result.scale.times(factor))
            (other,) = alone.predict([history], 4, DRAWN)
            mine = slice(view, None, 3)
            assert np.allclose(result.samples[mine], other.samples[mine])
    assert pooled[0].samples.shape == (7, 4, 2)


def test_a_greedy_future_has_one_view(forecaster):
    greedy = Sampling(greedy=True)
    plain, many = (forecaster.predict(_histories(), 4, replace(greedy, views=v))[0] for v in (1, 5))
    assert np.array_equal(plain.samples, many.samples)


def test_long_horizons_roll_each_sample_at_its_own_scale(forecaster):
    forecaster.base.max_positions = 96
    result = forecaster.predict(_histories(), 30, replace(DRAWN, views=2))
    assert all(f.samples.shape == (7, 30, 2) and np.isfinite(f.samples).all() for f in result)
    again = forecaster.predict(_histories()[1:], 30, replace(DRAWN, views=2))
    assert np.array_equal(again[0].samples, result[1].samples)


def test_a_price_is_the_same_with_and_without_weights(forecaster, tiny_folder):
    """For forecasts and for likelihoods."""
    known = outline(tiny_models.source(tiny_folder("qwen2")), forecaster.base.placement)
    plan = OutlinedModel(known, decimals=1)
    histories = _histories()
    for request in (DRAWN, replace(DRAWN, views=3), Sampling(greedy=True)):
        assert plan.at_most(histories, 5, request) == forecaster.at_most(histories, 5, request)
    futures = [h.steps(5, 9) for h in histories]
    likely = likelihood.price(plan, histories, futures)
    assert likely == likelihood.price(forecaster, histories, futures)
    assert NOTHING.executed < likely.executed


def test_memory_bounds_what_is_decoded_together_and_changes_nothing(tiny_base, through_torch):
    """Two layers, two heads of eight, four bytes: 128 places take 32,768 bytes a row."""
    base = tiny_base()
    assert row_bytes(base, 1) == row_bytes(base, 125) == 2 * 2 * 2 * 8 * 128 * 4
    assert row_bytes(base, 126) == 2 * row_bytes(base, 125)
    histories = _histories(3)
    reference = LanguageModel(base, decimals=1).predict(histories, 4, FEW)
    for n_rows in (1, 2, 5):
        # histories of 80 tokens and futures of up to 65: two blocks a row
        limit = n_rows * row_bytes(base, 128) + 100
        bounded = LanguageModel(base, decimals=1, max_memory=limit)
        result = bounded.predict(histories, 4, FEW)
        steps = [c for c in bounded.usage.trace.calls if c.width <= 2]
        assert max(c.rows for c in steps) == n_rows
        assert max(row_bytes(base, c.attended - 1 - 2) * c.rows for c in steps) <= limit
        for one, other in zip(reference, result, strict=True):
            assert np.array_equal(one.samples, other.samples)


def test_a_limit_below_one_row_is_refused_before_anything_is_spent(tiny_base):
    small = LanguageModel(tiny_base(), max_memory=1000)
    with pytest.raises(SettingsError, match=r"max_memory=1_000: .* takes [0-9,]+ bytes"):
        small.at_most(_histories(3), 4, FEW)
    with pytest.raises(SettingsError, match="max_memory"):
        small.predict(_histories(3), 4, FEW)
    assert small.usage.price == NOTHING
