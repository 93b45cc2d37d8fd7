"""What may follow a history, whatever its unit and its level."""

import numpy as np
import pytest

import lvlora
from lvlora import Sampling
from lvlora.data.dataset import Series
from lvlora.forecast.reading import bounds_of_future

DRAWN = Sampling(samples=12, seed=3, views=4)
STEPS = np.arange(80.0)


@pytest.fixture(scope="module")
def bundled():
    return lvlora.open_model("bundled")


def _forecast(bundled, values, horizon=20):
    history = Series("s", np.arange(float(len(values))), np.asarray(values)[:, None])
    return bundled.predict([history], horizon, DRAWN)[0]


def test_a_range_may_grow_by_itself_and_a_trend_go_on():
    wave = 3 + 2 * np.sin(np.arange(40.0))[:, None]
    (low,), (high,) = bounds_of_future(wave, 20)
    assert low == 0.0  # it was never negative
    assert wave.max() + 3.9 < high < wave.max() + 4.1
    assert bounds_of_future(wave - 3, 20)[0] < -5
    # a horizon of four times the history: other dynamics may not have begun yet
    assert bounds_of_future(wave, 160)[1] > 4 * high / 2
    doubling = 2.0 ** np.arange(20.0)[:, None]
    assert bounds_of_future(doubling, 10)[1] >= 2.0**29
    falling = -np.arange(30.0)[:, None]
    assert bounds_of_future(falling, 30)[0] <= -59
    nothing = bounds_of_future(np.full((5, 1), np.nan), 3)
    assert nothing[0] == -np.inf or nothing[0] == 0
    assert nothing[1] == np.inf


@pytest.mark.parametrize(
    "values",
    [
        pytest.param(2e13 * (1 + 0.5 * np.sin(STEPS / 3)) * 1.02**STEPS, id="in the 1e13"),
        pytest.param(np.exp(5.7 + 5.7 * np.sin(STEPS * 0.57)), id="five decades"),
    ],
)
def test_futures_do_not_explode(bundled, values):
    noise = np.random.default_rng(0).normal(size=(4, len(values)))
    maes, crps = [], []
    for noisy in values * np.exp(0.3 * noise):
        forecast, truth = _forecast(bundled, noisy[:60]), noisy[60:]
        samples = forecast.samples[:, :, 0]
        maes.append(np.abs(forecast.median[:, 0] - truth).mean())
        apart = np.abs(samples[:, None] - samples[None]).mean((0, 1))
        crps.append((np.abs(samples - truth).mean(axis=0) - 0.5 * apart).mean())
        assert samples.max() <= bounds_of_future(noisy[:60, None], 20)[1]
    assert np.mean(crps) <= np.mean(maes)


@pytest.mark.parametrize("exponent", [-300, -30, -12, 3, 12, 30, 300])
def test_the_unit_changes_no_draw(bundled, exponent):
    values = np.exp(1.5 * np.sin(STEPS[:40] * 0.6) + np.pi / 7)
    unit = 10.0**exponent
    usual, other = (_forecast(bundled, v, 6).samples for v in (values, unit * values))
    assert np.allclose(other / unit, usual, rtol=1e-9, atol=0)


@pytest.mark.parametrize("level", [1e9, 1e13])
def test_a_level_far_above_its_spread_is_taken_off(bundled, level):
    values = level + np.sin(STEPS / 3)
    forecast = _forecast(bundled, values[:60])
    assert np.abs(forecast.median[:, 0] - values[60:]).mean() < 0.3


@pytest.mark.parametrize("value", [37.123456789, -1e-7, 0.0, 1e12])
def test_a_constant_stays_what_it_is(bundled, value):
    assert (_forecast(bundled, np.full(30, value)).samples == value).all()
