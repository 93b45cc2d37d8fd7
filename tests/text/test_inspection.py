"""What a series looks like as text, and what the text loses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lvlora.series.dataset import Series
from lvlora.text.alphabet import TokenAlphabet
from lvlora.text.codec import Codec
from lvlora.text.inspection import inspect
from lvlora.text.scaling import Scale

ALPHABET = TokenAlphabet(tuple(range(100, 115)))


def test_by_hand():
    values = np.array([[0.251, 1.5], [np.nan, 0.3], [2.0, 3.0]])
    series = Series("a", np.arange(3.0), values)
    one = inspect(series, Scale((0.5, 1.0), "variable"), Codec(1, 2), ALPHABET, 2)
    assert one.steps == ("0.5,1.5;", "?,0.3;")
    assert one.text == "0.5,1.5;?,0.3;"
    assert one.ids == tuple(ALPHABET.encode(one.text).tolist())
    assert (one.n_steps, one.n_tokens) == (3, 8 + 6 + 8)
    assert one.tokens_per_step == pytest.approx(22 / 3)
    # 0.251 / 0.5 = 0.502 is written 0.5: 0.002 of the text's units, 0.001 of the data's
    assert one.max_error == pytest.approx(0.001)
    assert one.max_error_half_units == pytest.approx(0.002 / 0.05)


@given(
    hnp.arrays(np.float64, (6, 3), elements=st.floats(-1e4, 1e4) | st.just(np.nan)),
    st.floats(0.01, 100),
    st.integers(0, 6),
)
def test_never_more_than_half_a_unit(values, divisor, decimals):
    series = Series("a", np.arange(6.0), values)
    codec = Codec(decimals, 3)
    one = inspect(series, Scale((divisor,) * 3, "given"), codec, ALPHABET, 2)
    assert one.max_error_half_units <= 1 + 1e-3
    assert one.max_error <= divisor * codec.half_unit * (1 + 1e-3)


def test_of_missing_values_alone_nothing_is_lost():
    series = Series("a", np.arange(2.0), np.full((2, 2), np.nan))
    one = inspect(series, Scale((1.0, 1.0), "given"), Codec(2, 2), ALPHABET, 5)
    assert (one.text, one.max_error, one.max_error_half_units) == ("?,?;?,?;", 0.0, 0.0)
