"""The rules of the scale; none may look into the future."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lvlora.errors import DataError
from lvlora.series.dataset import Dataset, Series
from lvlora.text import scaling
from lvlora.text.scaling import Scale


def series(values, name="s"):
    values = np.asarray(values, dtype=float)
    return Series(name, np.arange(len(values), dtype=float), values)


def dataset(*arrays):
    made = tuple(series(a, str(i)) for i, a in enumerate(arrays))
    names = tuple(f"v{i}" for i in range(made[0].values.shape[1] if made else 2))
    return Dataset(made, names, "test data")


def test_of_a_data_set_the_99_7th_percentile_becomes_ten():
    values = np.random.default_rng(0).gamma(2, 1, (5, 400, 2))
    scale = scaling.of_dataset(dataset(*values))
    assert scale.rule == "dataset"
    assert len(set(scale.divisors)) == 1
    assert np.percentile(scale.apply(values), 99.7) == pytest.approx(10)
    assert (scale.apply(values) >= 10).mean() == pytest.approx(0.003, abs=1e-3)


def test_of_a_data_set_missing_values_and_signs_do_not_matter():
    values = np.random.default_rng(0).gamma(2, 1, (3, 100, 2))
    holed = np.concatenate([-values, np.full((3, 50, 2), np.nan)], axis=1)
    assert scaling.of_dataset(dataset(*holed)) == scaling.of_dataset(dataset(*values))


def test_of_a_history_the_largest_becomes_five():
    scale = scaling.of_history(series([[1.0, 4.0], [-8.0, 2.0], [np.nan, 3.0]]))
    assert scale == Scale((1.6, 1.6), "history")
    assert np.nanmax(np.abs(scale.apply(np.array([[1.0, 4.0], [-8.0, 2.0]])))) == 5


def test_magnitudes_far_apart_are_scaled_one_by_one():
    wolves_and_moose = [[20.0, 1000.0], [25.0, 700.0]]
    scale = scaling.of_history(series(wolves_and_moose))
    assert scale == Scale((5.0, 200.0), "variable")
    assert scaling.of_history(series([[50.0, 1000.0]])).rule == "history"  # 20 times: not yet
    assert scaling.of_history(series([[49.9, 1000.0]])).rule == "variable"


def test_zeros_and_missing_variables_keep_their_unit():
    assert scaling.of_history(series([[0.0, 0.0]])) == Scale((1.0, 1.0), "history")
    assert scaling.of_dataset(dataset([[0.0, 0.0]])) == Scale((1.0, 1.0), "dataset")
    far_apart = scaling.of_history(series([[np.nan, 0.0, 1.0, 1000.0]]))
    assert far_apart == Scale((1.0, 1.0, 0.2, 200.0), "variable")


def test_mostly_zeros_are_scaled_by_the_others():
    values = np.zeros((2000, 1))
    values[7] = 1e6
    assert scaling.of_dataset(dataset(values)).divisors == (1e5,)


@pytest.mark.parametrize("values", [[[np.nan, np.nan]], np.empty((0, 2))])
def test_nothing_known_is_an_error(values):
    with pytest.raises(DataError, match="every value is missing"):
        scaling.of_history(series(values))
    with pytest.raises(DataError, match="every value is missing"):
        scaling.of_dataset(dataset(values))


def test_a_data_set_without_series_is_an_error():
    with pytest.raises(DataError, match="test data"):
        scaling.of_dataset(dataset())


anything = st.floats(-1e300, 1e300) | st.just(math.nan)


@given(hnp.arrays(np.float64, hnp.array_shapes(min_dims=2, max_dims=2), elements=anything))
def test_any_values_get_a_usable_scale_and_come_back(values):
    for make in (
        lambda: scaling.of_history(series(values)),
        lambda: scaling.of_dataset(dataset(values)),
    ):
        if np.isnan(values).all():
            with pytest.raises(DataError):
                make()
            continue
        scale = make()
        assert all(math.isfinite(d) and d > 0 for d in scale.divisors)
        scaled = scale.apply(values)
        assert not np.isinf(scaled).any()
        back = scale.invert(scaled)
        # what is 300 orders of magnitude below the largest loses digits
        least = 1e-300 * np.nanmax(np.abs(values)) + 1e-300
        assert np.allclose(back, values, rtol=1e-12, atol=least, equal_nan=True)
        assert Scale.from_dict(json.loads(json.dumps(scale.to_dict()))) == scale


def test_the_future_changes_nothing():
    values = np.random.default_rng(0).gamma(2, 1, (100, 2))
    whole = series(values)
    changed = series(np.concatenate([values[:50], 1e6 * values[50:]]))
    assert scaling.of_history(whole.steps(0, 50)) == scaling.of_history(changed.steps(0, 50))


def test_given():
    assert scaling.given(2.5, 3) == Scale((2.5, 2.5, 2.5), "given")


@pytest.mark.parametrize("divisors", [[], [0], [-1.0], [float("nan")], [float("inf")], ["x"]])
def test_unusable_divisors_are_refused(divisors):
    with pytest.raises(ValueError, match=r"positive|convert"):
        Scale.from_dict({"divisors": divisors, "rule": "dataset"})
