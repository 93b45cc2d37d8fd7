"""Poorer histories, and the truth as it was."""

import numpy as np
import pytest

from lvlora.data.dataset import Series
from lvlora.data.settings import SimulateSettings
from lvlora.data.simulate import simulate
from lvlora.evaluation.disturbance import NO_DISTURBANCE, Disturbance

DATA = simulate(SimulateSettings(n_series=4, n_steps=60, duration=120))


def poorer(**changes: object) -> Disturbance:
    return NO_DISTURBANCE.model_copy(update=changes)


def test_nothing_asked_for_is_nothing_done():
    assert not poorer(seed=3)
    assert str(poorer()) == ""
    for series in DATA:
        assert np.array_equal(poorer().of(series).values, series.values)


def test_noise_has_the_size_that_is_asked_for_and_each_series_its_own():
    seen = [poorer(noise=0.1).of(s) for s in DATA]
    logs = [np.log(a.values / b.values) for a, b in zip(seen, DATA, strict=True)]
    assert np.std(np.concatenate(logs)) == pytest.approx(0.1, rel=0.1)
    assert not np.allclose(logs[0], logs[1])
    again = poorer(noise=0.1).of(DATA[0])
    assert np.array_equal(again.values, seen[0].values)
    assert not np.array_equal(poorer(noise=0.1, seed=1).of(DATA[0]).values, again.values)


def test_gaps_take_values_away_and_change_no_other():
    seen = poorer(gaps=0.3).of(DATA[0])
    gone = np.isnan(seen.values)
    assert 0.15 < gone.mean() < 0.45
    assert np.array_equal(seen.values[~gone], DATA[0].values[~gone])


@pytest.mark.parametrize("seed", range(5))
def test_every_variable_keeps_a_value(seed):
    seen = poorer(gaps=0.99, seed=seed).of(DATA[0])
    assert np.isfinite(seen.values).any(axis=0).all()


def test_a_variable_without_any_value_stays_so():
    series = Series("a", np.arange(5.0), np.full((5, 1), np.nan))
    assert np.isnan(poorer(noise=0.1, gaps=0.5).of(series).values).all()


def test_what_was_done_is_said():
    done = poorer(noise=0.05, gaps=0.2)
    assert str(done) == "5 % noise, 20 % of the values missing"
