import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvlora.answers import Price
from lvlora.train.settings import TrainSettings

counts = st.integers(0, 10**25)
prices = st.builds(Price, counts, counts)


@given(prices, prices, st.integers(0, 10**6))
def test_prices_add_and_multiply_exactly(a, b, n):
    assert n * (a + b) == a * n + n * b
    assert sum([a, b, b]) == a + 2 * b
    assert (a + b) - b == a
    for convention in ("executed", "coursework"):
        x, y = a.of(convention), b.of(convention)
        assert (a | b).of(convention) == max(x, y)
        assert (a & b).of(convention) == min(x, y)


def test_a_price_has_two_conventions_only():
    with pytest.raises(KeyError):
        Price(1, 2).of("profiler")


@pytest.mark.parametrize(
    ("text", "flops"),
    [
        ("1e17", 10**17),
        (" 100_000 ", 100_000),
        ("2.5e15", 25 * 10**14),
        ("123456789012345678901", 123456789012345678901),
    ],
)
def test_counts_are_read_exactly(text, flops):
    assert TrainSettings(max_flops=text).max_flops == flops


@pytest.mark.parametrize(
    "text", ["", "much", "1.5", "-1e3", "0", "nan", "inf", "1e999999999", "1e-3"]
)
def test_other_text_is_refused(text):
    with pytest.raises(ValueError, match="max_flops"):
        TrainSettings(max_flops=text)
