"""The learning rate of each step."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvlora.train.loop import learning_rate


def _rates(n, schedule, warmup=0.1, peak=1.0):
    return [learning_rate(i, n, peak, warmup, schedule) for i in range(n)]


def test_cosine_rises_to_the_peak_and_falls_to_a_tenth():
    rates = _rates(100, "cosine")
    assert rates[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert max(rates) == pytest.approx(1.0)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[55] == pytest.approx(0.55, abs=0.01)  # half-way between the peak and a tenth
    assert rates[-1] == pytest.approx(0.1, abs=0.001)


def test_one_cycle_begins_and_ends_low():
    rates = _rates(100, "one-cycle", warmup=0.3)
    assert rates[0] < 0.06
    assert max(rates) == pytest.approx(1.0)
    assert rates[-1] < 0.001


def test_constant_stays():
    assert set(_rates(50, "constant")[5:]) == {1.0}


@given(
    st.integers(1, 200),
    st.floats(0, 1),
    st.sampled_from(["cosine", "one-cycle", "constant"]),
    st.floats(1e-6, 1),
)
def test_every_rate_is_positive_and_at_most_the_peak(n, warmup, schedule, peak):
    rates = _rates(n, schedule, warmup, peak)
    assert all(0 < r <= peak * (1 + 1e-12) for r in rates)
