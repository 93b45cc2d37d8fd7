"""Missing values between known ones."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvlora.data.gaps import bridged

NAN = np.nan


def test_a_line_is_gone_on_with_and_nothing_is_made_up_beyond_the_ends():
    time = np.array([0.0, 1, 3, 4, 7, 8])
    values = np.column_stack([[NAN, 2.5, NAN, 8.5, 14.5, NAN], [1.0, NAN, NAN, NAN, NAN, 1.0]])
    found = bridged(time, values)
    np.testing.assert_allclose(found[:, 0], [NAN, 2.5, 6.5, 8.5, 14.5, NAN])
    np.testing.assert_allclose(found[:, 1], 1.0)


@pytest.mark.parametrize("longest", [0, 1, 2, 3, None])
def test_longer_gaps_stay(longest):
    values = np.array([[0.5, NAN, 2.5, NAN, NAN, 5.5, NAN, NAN, NAN, 9.5]]).T
    missing = np.isnan(bridged(np.arange(10.0), values, longest)[:, 0])
    most = 10 if longest is None else longest
    expected = [False, most < 1, False, *[most < 2] * 2, False, *[most < 3] * 3, False]
    assert missing.tolist() == expected


def test_counts_stay_counts():
    values = np.array([[10.0, NAN, 13.0, NAN, NAN, 2.0]]).T
    found = bridged(np.arange(6.0), values)
    assert (found == np.round(found)).all()


@given(
    st.lists(st.one_of(st.none(), st.floats(-1e3, 1e3)), min_size=1, max_size=30),
    st.integers(0, 5),
)
def test_nothing_known_changes_and_nothing_passes_its_neighbours(numbers, longest):
    column = np.array([NAN if x is None else x for x in numbers], dtype=float)
    found = bridged(np.arange(float(len(column))), column[:, None], longest)[:, 0]
    known = np.isfinite(column)
    np.testing.assert_array_equal(found[known], column[known])
    where = np.flatnonzero(known)
    for i in np.flatnonzero(~known & np.isfinite(found)):
        before, after = column[where[where < i][-1]], column[where[where > i][0]]
        assert min(before, after) - 1e-9 <= found[i] <= max(before, after) + 1e-9
        assert where[where > i][0] - where[where < i][-1] - 1 <= longest
