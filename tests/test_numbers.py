"""Numbers as people read them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvlora import numbers


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (numbers.count(540_672), "540,672"),
        (numbers.si(0), "0"),
        (numbers.si(0.5), "0.5"),
        (numbers.si(999), "999"),
        (numbers.si(999.9), "1 k"),
        (numbers.si(540_672), "541 k"),
        (numbers.si(999_999), "1 M"),
        (numbers.si(1.694e12, "FLOP"), "1.69 TFLOP"),
        (numbers.flops(10**17), "1e17"),
        (numbers.flops(123_456_789_012), "1.23e11"),
        (numbers.flops(999_999), "999,999"),
        (numbers.flops(0), "0"),
        (numbers.plain(0.0), "0.000"),
        (numbers.plain(0.12345), "0.1235"),
        (numbers.plain(0.0123456), "0.01235"),
        (numbers.plain(12345.678), "12,346"),
        (numbers.plain(1.5), "1.500"),
        (numbers.plain(1e-9), "1.000e-09"),
        (numbers.plain(math.nan), "–"),
        (numbers.plain(None), "–"),
        (numbers.plain(-math.inf), "-inf"),
        (numbers.interval(-0.05, 0.26719), "-0.050 … +0.267"),
        (numbers.interval(-1234.5, 98765.4), "-1,234 … +98,765"),
        (numbers.interval(-2e-7, 1e-9), "-2.00e-07 … +1.00e-09"),
        (numbers.interval(0.0, 0.0), "+0.00 … +0.00"),
        (numbers.interval(math.nan, math.nan), "–"),
        (numbers.interval(None, 1.0), "–"),
        (numbers.share(0.276), "27.6 %"),
        (numbers.share(123.456), "12,345.6 %"),
        (numbers.share(1e150), "1.00e+152 %"),
        (numbers.share(0.00001), "0.001 %"),
        (numbers.duration(2.34), "2.3 s"),
        (numbers.duration(59.6), "1 min 0 s"),
        (numbers.duration(80), "1 min 20 s"),
        (numbers.duration(11100), "3 h 5 min"),
        (numbers.duration(187200), "2 d 4 h"),
        (numbers.size(988e6), "988 MB"),
        (numbers.size(12), "12 B"),
    ],
)
def test_as_people_read_them(shown, expected):
    assert shown == expected


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_can_be_shown(number):
    assert numbers.plain(number)
    assert numbers.si(number)
    assert numbers.flops(number)
    assert numbers.size(abs(number))


@given(st.floats(min_value=1e-300, max_value=1e300))
def test_four_digits_are_kept(number):
    assert float(numbers.plain(number).replace(",", "")) == pytest.approx(number, rel=1e-3)


@given(st.floats(min_value=0, max_value=1e9))
def test_durations_have_no_sixtieth_second(seconds):
    shown = numbers.duration(seconds)
    assert " 60 " not in f" {shown} "
