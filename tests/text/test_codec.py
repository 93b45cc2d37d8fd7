"""The text form: exact, and honest about what is cut or wrong."""

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lvlora.errors import DataError
from lvlora.text.codec import Codec

formats = st.sampled_from(["point", "digits"])
codecs = st.builds(
    Codec, decimals=st.integers(0, 8), n_variables=st.integers(1, 5), number_format=formats
)
ordinary = st.floats(-1000, 1000)
values_of_any_kind = st.one_of(
    ordinary, st.just(math.nan), st.floats(allow_nan=False, allow_infinity=False), st.just(-0.0)
)


def arrays(draw, codec, elements=values_of_any_kind, max_steps=8):
    n_steps = draw(st.integers(0, max_steps))
    return draw(hnp.arrays(np.float64, (n_steps, codec.n_variables), elements=elements))


@st.composite
def codec_and_values(draw, elements=values_of_any_kind):
    codec = draw(codecs)
    return codec, arrays(draw, codec, elements)


@given(codec_and_values())
def test_round_trip_is_within_half_a_unit(case):
    codec, values = case
    back = codec.decode(codec.encode(values))
    assert back.shape == values.shape
    assert np.array_equal(np.isnan(back), np.isnan(values))
    for x, y in zip(values.ravel().tolist(), back.ravel().tolist(), strict=True):
        if not math.isnan(x):
            # exactly: half a unit, and the error of the nearest float64 to the decimal number
            error = abs(Fraction(y) - Fraction(x))
            allowed = Fraction(1, 2 * 10**codec.decimals) + abs(Fraction(x)) * Fraction(2) ** -52
            assert error <= allowed


@given(st.integers(0, 8), st.integers(-(10**12), 10**12), formats)
def test_numbers_with_that_many_decimals_come_back_the_same(decimals, units, number_format):
    codec = Codec(decimals, 1, number_format)
    text = codec.format_units(units)
    assert codec.number(codec.value(text)) == text
    assert codec.value(text) == units / 10**decimals


@given(codec_and_values())
def test_the_formats_differ_in_points_and_leading_zeros_only(case):
    codec, values = case
    point, digits = replace(codec, number_format="point"), replace(codec, number_format="digits")
    pairs = zip(point.encode(values).split(";"), digits.encode(values).split(";"), strict=True)
    for with_point, without in pairs:
        for one, other in zip(with_point.split(","), without.split(","), strict=True):
            sign, bare = one[: one.startswith("-")], one.lstrip("-").replace(".", "")
            assert sign + (bare.lstrip("0") or bare[-1:]) == other
    assert np.array_equal(
        digits.decode(digits.encode(values)), point.decode(point.encode(values)), equal_nan=True
    )


def test_other_formats_are_unknown():
    with pytest.raises(ValueError, match="'roman' is no number format"):
        Codec(2, 1, "roman")
    with pytest.raises(DataError, match="whole number") as caught:
        Codec(2, 1, "digits").decode("1.50;")
    assert "25,150;27,147;" in caught.value.hint
    with pytest.raises(DataError):
        Codec(0, 1).decode("1.;")


@given(codec_and_values())
def test_every_step_is_one_string_and_ends_with_a_semicolon(case):
    codec, values = case
    steps = codec.encode_steps(values)
    assert len(steps) == len(values)
    assert all(step.endswith(";") and step.count(";") == 1 for step in steps)
    assert all(step.count(",") == codec.n_variables - 1 for step in steps)
    assert "".join(steps) == codec.encode(values)


@given(codec_and_values())
def test_a_step_without_its_end_is_refused(case):
    codec, values = case
    text = codec.encode(values)
    for cut in range(1, len(text)):
        if text[cut - 1] != ";":
            with pytest.raises(DataError):
                codec.decode(text[:cut])


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (1.23, 2, "1.23"),
        (0.0, 2, "0.00"),
        (-0.0, 2, "0.00"),
        (-0.004, 2, "0.00"),
        (-0.006, 2, "-0.01"),
        (-12.5, 1, "-12.5"),
        (0.125, 2, "0.12"),  # a tie goes to the even neighbour
        (0.375, 2, "0.38"),
        (9.999, 2, "10.00"),
        (7.0, 0, "7"),
        (0.4, 0, "0"),
        (math.nan, 3, "?"),
        (1e22, 2, "10000000000000000000000.00"),
        (2.0**53 + 2, 1, "9007199254740994.0"),
        (123456789012.345, 3, "123456789012.345"),
    ],
)
def test_numbers(value, decimals, text):
    assert Codec(decimals, 1).number(value) == text


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0.25,1.50;0.27,1.47;", [[0.25, 1.5], [0.27, 1.47]]),
        ("", np.empty((0, 2))),
        (" 1.00, 2.00;\n3.00, 4.00;\n", [[1.0, 2.0], [3.0, 4.0]]),
    ],
)
def test_texts_with_and_without_white_space(text, values):
    assert np.array_equal(Codec().decode(text), values)
    assert Codec().encode(np.array(values)) == "".join(text.split())


@pytest.mark.parametrize(
    "text",
    [
        *("1.00;", "1.00,2.00,3.00;", "1.00,2.00;;", ",;"),  # not two values
        *("1.00,x;", "1.00,2.0;", "1.00,2.000;", "1,2;", "nan,inf;", "1.00,.50;", "1.00,2 .00;"),
        *("1.00,+2.00;", "1.00,--2.00;", "1.00,1e5;", "1.00," + "9" * 400 + ".00;"),
        "١.00,2.00;",  # a digit, but not of the alphabet
        *("1.00,2.00;3.00,abc", "1.00,2.00;3.00,4.00,5", "1.00,2.00;3.000", "1.00,2.00;-,"),
        *("1.00,2.00;.5", "1.00,2.00;??"),
    ],
)
def test_malformed_text_is_refused(text):
    with pytest.raises(DataError):
        Codec().decode(text)


def test_infinity_has_no_text():
    with pytest.raises(DataError, match="infinite"):
        Codec().encode(np.array([[1.0, math.inf]]))


@pytest.mark.parametrize("shape", [(3,), (3, 3), (3, 1), (2, 2, 2)])
def test_another_shape_is_a_programming_error(shape):
    with pytest.raises(ValueError, match="expected shape"):
        Codec().encode(np.zeros(shape))


@given(st.text(alphabet="0123456789.,;-? x\n", max_size=60), codecs)
def test_any_text_decodes_or_is_refused(text, codec):
    try:
        values = codec.decode(text)
    except DataError:
        return
    assert values.shape[1] == codec.n_variables
    assert not np.isinf(values).any()
