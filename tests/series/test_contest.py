"""Forecasters that compete on a history's own past."""

import numpy as np
import pytest

from lvlora.series.contest import earlier_origins, loss, together, weights
from lvlora.series.metrics.quantiles import of_samples
from lvlora.series.rivals import LastValue, SeasonalNaive
from lvlora.series.rivals.contract import Prediction


def test_a_history_is_forecast_from_its_middle_and_its_last_quarter() -> None:
    assert earlier_origins(80) == [40, 60]
    assert earlier_origins(8) == [4, 6]
    assert earlier_origins(7) == []


def test_a_loss_has_no_units_and_sees_no_gaps() -> None:
    rng = np.random.default_rng(0)
    history = rng.normal(size=(40, 2))
    ahead = history[-10:] + 0.5
    expected = float((0.5 / history.std(axis=0)).mean())
    assert loss(history, ahead) == pytest.approx(expected)
    units = np.array([1e-6, 1e9])
    assert loss(history * units + 3, ahead * units + 3) == pytest.approx(expected)
    gappy = history.copy()
    gappy[-3, 0] = np.nan
    assert np.isfinite(loss(gappy, ahead))
    gappy[-10:] = np.nan
    assert np.isnan(loss(gappy, ahead))


def test_who_flies_away_is_lost_and_no_more() -> None:
    history = np.random.default_rng(1).normal(size=(40, 1))
    assert loss(history, np.full((10, 1), 1e30)) == loss(history, np.full((10, 1), np.inf)) == 4.0
    assert loss(history, np.full((10, 1), np.nan)) == 4.0


def test_a_constant_variable_divides_by_nothing() -> None:
    assert loss(np.ones((20, 1)), np.full((5, 1), 1.5)) == 0.5


def test_weights_favour_who_was_right() -> None:
    found = weights(np.array([[0.1, 0.1], [0.2, 0.2], [4.0, 4.0]]))
    assert found.sum() == pytest.approx(1)
    assert found[0] / found[1] == pytest.approx(16)
    assert found[2] < 1e-5
    np.testing.assert_allclose(weights(np.zeros((2, 2))), [0.5, 0.5])
    np.testing.assert_allclose(weights(np.empty((4, 0))), [0.25] * 4)
    np.testing.assert_allclose(weights(np.array([[0.1, np.nan], [0.1, np.nan]])), [0.5, 0.5])


def test_the_forecast_of_all_lies_between_theirs() -> None:
    a = Prediction(np.zeros((3, 2)), np.arange(24.0).reshape(4, 3, 2))
    b = Prediction(np.ones((3, 2)), None)
    found = together([a, b], np.array([0.75, 0.25]), 4)
    assert found.samples is not None
    assert found.samples.shape == (4, 3, 2)
    np.testing.assert_array_equal(found.point, np.median(found.samples, axis=0))
    assert (found.samples >= 0).all()
    assert (found.samples <= a.samples.max(axis=0)).all()
    # without futures it is that of the member with more than half of the weight
    np.testing.assert_allclose(together([a, b], np.array([0.75, 0.25])).point, 0.0)
    assert together([a, b], np.array([1.0, 0.0])).samples is None
    alone = together([a, b], np.array([1.0, 0.0]), 4)
    middle = np.median(a.samples, axis=0)  # moved to its own point forecast
    np.testing.assert_allclose(alone.point, np.clip(a.point, 0, None), atol=3)
    assert (np.ptp(alone.samples, axis=0) <= np.ptp(a.samples, axis=0)).all()
    assert (alone.point <= middle).all()


def test_the_point_forecast_is_the_weighted_median() -> None:
    values = np.array([3.0, 1.0, 100.0, 2.0])
    members = [Prediction(np.full((1, 1), v)) for v in values]
    for shares, expected in {
        (0.25, 0.25, 0.25, 0.25): 2.5,
        (0.1, 0.1, 0.6, 0.2): 100.0,
        (0.2, 0.3, 0.2, 0.3): 2.0,
        (0.5, 0.0, 0.5, 0.0): 51.5,
    }.items():
        assert together(members, np.array(shares)).point[0, 0] == expected


@pytest.mark.parametrize("seed", range(20))
def test_the_median_is_the_half_quantile_and_lies_in_its_own_band(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n_members = int(rng.integers(1, 6))
    members = [
        Prediction(rng.normal(10 * m, 1, (4, 2)), rng.normal(10 * m, 2, (20, 4, 2)))
        for m in range(n_members)
    ]
    mixed = together(members, rng.dirichlet(np.ones(n_members)), 20)
    assert mixed.samples is not None
    low, middle, high = of_samples(mixed.samples, (0.1, 0.5, 0.9))
    np.testing.assert_allclose(mixed.point, middle, rtol=1e-12)
    assert (low <= mixed.point).all()
    assert (mixed.point <= high).all()


@pytest.mark.parametrize("n_samples", [1, 2, 7, 20])
def test_as_many_futures_as_were_asked_for(n_samples: int) -> None:
    member = Prediction(np.zeros((2, 1)), np.zeros((20, 2, 1)))
    shares = np.array([0.34, 0.33, 0.33])
    found = together([member] * 3, shares, n_samples)
    assert found.samples is not None
    assert len(found.samples) == n_samples


def test_a_wave_is_left_to_who_sees_the_wave() -> None:
    t = np.arange(60.0)
    wave = np.stack([np.sin(t / 3), np.cos(t / 3)], axis=1)
    rivals = [LastValue(), SeasonalNaive()]
    losses = np.array(
        [[loss(wave[:48], r.forecast(t[:48], wave[:n])) for n in (24, 36)] for r in rivals]
    )
    shares = weights(losses)
    assert shares[1] > 0.95
