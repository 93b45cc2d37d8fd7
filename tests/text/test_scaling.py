"""The rules of the scale; none may look into the future."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lvlora.data.dataset import Dataset, Series
from lvlora.errors import DataError
from lvlora.text import scaling
from lvlora.text.scaling import Scale


def series(values, name="s"):
    values = np.asarray(values, dtype=float)
    return Series(name, np.arange(len(values), dtype=float), values)


def dataset(*arrays):
    output = tuple(series(a, str(i)) for i, a in enumerate(arrays))
    names = tuple(f"v{i}" for i in range(output[0].values.shape[1] if output else 2))
    return Dataset(output, names, "test data")


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


def test_what_a_shared_divisor_would_erase_has_its_own():
    wolves_and_moose = [[20.0, 1000.0], [25.0, 700.0]]
    scale = scaling.of_history(series(wolves_and_moose))
    assert scale == Scale((5.0, 200.0), "variable")
    # a step of the text is 2: its rounding has 0.577, of a spread of 19 is 3.04 %, of 20 2.89 %
    for spread, rule in ((19.0, "variable"), (20.0, "history")):
        alike = [[400.0 - spread, 1000.0], [400.0 + spread, 700.0]]
        assert scaling.of_history(series(alike)).rule == rule


def test_small_variables_share_a_divisor_among_themselves():
    time = np.arange(30.0)
    prey, predator = 4 + 3 * np.sin(time), 2 + np.cos(time)
    values = np.column_stack([prey, 2.5e5 + 1e5 * np.sin(time / 3), predator])
    scale = scaling.of_history(series(values))
    assert scale.rule == "variable"
    assert scale.divisors[0] == scale.divisors[2] == prey.max() / 5
    assert scale.divisors[1] == values[:, 1].max() / 5
    assert scale.offsets == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("make", ["history", "dataset"])
def test_a_level_far_from_its_spread_is_taken_off(sign, make):
    time = np.arange(60.0)
    temperature = sign * (37 + 0.3 * np.sin(time))
    one = series(np.column_stack([2.5e5 + 1e5 * np.sin(time / 3), temperature]))
    many = dataset(one.values)
    scale = scaling.of_history(one) if make == "history" else scaling.of_dataset(many)
    numbers = scale.apply(one.values)[:, 1]
    target = 5 if make == "history" else 10
    assert target / 3 - 0.05 < numbers.min() < numbers.max() < target + 0.05
    assert scaling.lost([one.values], [scale], 2).max() < 0.01
    assert np.allclose(scale.invert(scale.apply(one.values)), one.values, rtol=1e-12)
    # without its level it is like any other, and needs no offset
    free = series(np.column_stack([temperature - sign * 36.5, temperature - sign * 36.5]))
    assert scaling.of_history(free).offsets == (0.0, 0.0)


def test_rounding_in_the_data_is_no_course():
    values = 37 + 1e-14 * np.random.default_rng(0).standard_normal((20, 1))
    assert scaling.of_history(series(values)) == Scale((values.max() / 5,), "history")
    # a constant keeps its size beside a large one
    both = np.column_stack([np.full(20, 37.0), 1e5 * (2 + np.sin(np.arange(20.0)))])
    scale = scaling.of_history(series(both))
    assert scale.apply(both)[:, 0] == pytest.approx(5)
    assert scaling.lost([both], [scale], 2)[0] < 0.01


def test_what_the_text_loses_is_the_rounding_beside_the_spread():
    rng = np.random.default_rng(1)
    arrays = [level + rng.standard_normal((5000, 2)) * [1.0, 20.0] for level in (50.0, 90.0)]
    scale = Scale((7.0, 30.0), "dataset")
    for decimals in (0, 1, 2):
        result = scaling.lost(arrays, [scale, scale], decimals)
        errors = [scale.invert(np.round(scale.apply(a), decimals)) - a for a in arrays]
        spread = np.sqrt(np.mean([a.var(axis=0) for a in arrays], axis=0))
        measured = np.sqrt(np.mean([(e**2).mean(axis=0) for e in errors], axis=0)) / spread
        assert result == pytest.approx(measured, rel=0.5 if decimals == 0 else 0.05)
    holed = [np.where(rng.random(a.shape) < 0.3, np.nan, a) for a in arrays]
    assert scaling.lost(holed, [scale, scale], 1) == pytest.approx(
        scaling.lost(arrays, [scale, scale], 1), rel=0.05
    )
    assert scaling.lost([np.zeros((4, 1))], [Scale((1.0,), "dataset")], 2) == 0
    assert scaling.lost([np.full((4, 1), np.nan)], [Scale((1.0,), "dataset")], 2) == 0


sizes = st.floats(-6, 9).map(lambda k: 10.0**k)


@given(st.lists(st.tuples(sizes, st.floats(0, 1e4)), min_size=1, max_size=5), st.data())
def test_no_course_is_erased_whatever_stands_beside_it(variables, data):
    """Of smooth courses, at any level and beside any other, nearly all is written."""
    time = np.arange(40.0)
    columns = [
        size * (level + np.sin(time / data.draw(st.floats(0.5, 8)) + i))
        for i, (size, level) in enumerate(variables)
    ]
    values = np.column_stack(columns)
    for scale in (scaling.of_history(series(values)), scaling.of_dataset(dataset(values))):
        assert scaling.lost([values], [scale], 2).max() < 0.0301
        errors = scale.invert(np.round(scale.apply(values), 2)) - values
        assert (errors.std(axis=0) < 0.05 * values.std(axis=0)).all()


def test_zeros_and_missing_variables_have_the_unit_of_the_others():
    assert scaling.of_history(series([[0.0, 0.0]])) == Scale((1.0, 1.0), "history")
    assert scaling.of_dataset(dataset([[0.0, 0.0]])) == Scale((1.0, 1.0), "dataset")
    far_apart = scaling.of_history(series([[np.nan, 0.0, 1.0, 1000.0]]))
    assert far_apart == Scale((200.0, 200.0, 0.2, 200.0), "variable")


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


def test_a_stored_scale_gives_way_for_a_variable_that_it_would_erase():
    time = np.arange(40.0)
    values = np.column_stack([5e4 * (2 + np.sin(time)), 3 + np.cos(time)])
    stored = Scale((5e4, 5e4), "dataset")
    result = scaling.scale_for(series(values), stored)
    assert result.divisors == (5e4, 0.8)
    assert result.rule == "variable"
    fits = series(values * [1, 1e4])
    assert scaling.scale_for(fits, stored) is stored


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
    reference = series(values)
    changed = series(np.concatenate([values[:50], 1e6 * values[50:]]))
    assert scaling.of_history(reference.steps(0, 50)) == scaling.of_history(changed.steps(0, 50))


def test_of_other_numbers_of_variables():
    assert Scale((2.0, 2.0), "dataset").of_variables(3) == Scale((2.0,) * 3, "dataset")
    assert Scale((2.0, 2.0), "dataset", (0.0, 1.0)).of_variables(3) is None
    assert Scale((2.0, 3.0), "dataset").of_variables(1) is None


@pytest.mark.parametrize("offsets", [[1.0], [math.nan, 0.0], [0.0, math.inf]])
def test_unusable_offsets_are_refused(offsets):
    with pytest.raises(ValueError, match="offsets"):
        Scale.from_dict({"divisors": [1.0, 1.0], "rule": "dataset", "offsets": offsets})


@pytest.mark.parametrize("divisors", [[], [0], [-1.0], [float("nan")], [float("inf")], ["x"]])
def test_unusable_divisors_are_refused(divisors):
    with pytest.raises(ValueError, match="divisors"):
        Scale.from_dict({"divisors": divisors, "rule": "dataset"})
