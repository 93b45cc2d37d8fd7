"""Quantiles of draws: exact for a truth that is drawn as the samples are."""

import numpy as np
import pytest

from lvlora.data.metrics.scores import of_function, of_samples


@pytest.mark.parametrize("n_samples", [9, 19, 20, 50])
@pytest.mark.parametrize("level", [0.5, 0.8])
def test_an_interval_holds_as_many_truths_as_it_says(n_samples: int, level: float) -> None:
    rng = np.random.default_rng(n_samples)
    drawn = rng.standard_normal((n_samples + 1, 40_000))
    low, high = of_samples(drawn[1:], [(1 - level) / 2, (1 + level) / 2])
    assert np.mean((drawn[0] >= low) & (drawn[0] <= high)) == pytest.approx(level, abs=0.01)


def test_usual_quantiles_hold_fewer() -> None:
    rng = np.random.default_rng(0)
    drawn = rng.standard_normal((21, 40_000))
    low, high = np.quantile(drawn[1:], [0.1, 0.9], axis=0)
    assert np.mean((drawn[0] >= low) & (drawn[0] <= high)) == pytest.approx(0.73, abs=0.01)


def test_they_are_order_statistics_between_the_least_and_the_largest() -> None:
    nineteen = np.random.default_rng(1).permutation(19.0 + np.arange(19))
    assert of_samples(nineteen, 0.1) == 19 + 1  # the second of 19: 20 * 0.1
    assert of_samples(nineteen, 0.125) == 19 + 1.5
    assert of_samples(nineteen, [0.001, 0.04, 0.999]).tolist() == [19, 19, 37]
    assert of_samples(np.array([4.0]), 0.9) == 4


@pytest.mark.parametrize("n_samples", [1, 2, 7, 20])
def test_the_median_is_the_median(n_samples: int) -> None:
    drawn = np.random.default_rng(2).standard_normal((n_samples, 50))
    median = np.median(drawn, axis=0)
    np.testing.assert_array_equal(of_samples(drawn, 0.5), median)
    np.testing.assert_array_equal(of_samples(drawn, (0.25, 0.5))[1], median)


def test_a_quantile_function_is_read_at_its_levels() -> None:
    assert of_function(np.linspace(10, 20, 101), [0, 0.1, 0.995, 1]).tolist() == [10, 11, 19.95, 20]
