"""Steps, rates and validations of a run."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvlora.answers import Price
from lvlora.errors import BudgetError
from lvlora.train.plan import (
    DEFAULT_STEPS,
    USUAL,
    Cost,
    Validations,
    choose_validations,
    learning_rate,
    plan_steps,
)
from lvlora.train.settings import TrainSettings


def _plan(step=100, validation=30, **changes):
    cost = Cost(Price(step, 2 * step), Price(validation, 2 * validation))
    return plan_steps(TrainSettings(**changes), cost)


def _total(plan, step=100, validation=30):
    n, at = plan
    return n * step + (1 + len(at)) * validation * (validation > 0)


def test_a_run_is_validated_four_times_and_always_after_its_last_step():
    assert _plan() == (DEFAULT_STEPS, {50, 100, 150, 200})
    assert _plan(max_steps=7, validate_every=3)[1] == {3, 6, 7}
    assert _plan(max_steps=3)[1] == {1, 2, 3}
    assert _plan(max_steps=7, validation=0)[1] == frozenset()
    for times, at in ((1, {100}), (2, {50, 100})):
        cost = Cost(Price(1, 1), Price(1, 1), times=times)
        assert plan_steps(TrainSettings(max_steps=100), cost)[1] == at


@given(
    st.integers(1, 10**5),  # a limit that buys more than 10^5 validations is refused
    st.integers(1, 5000),
    st.integers(0, 9000),
    st.none() | st.integers(1, 50),
    st.sampled_from(["executed", "coursework"]),
)
def test_what_a_limit_buys_never_passes_it(limit, step, validation, every, convention):
    times = 1 if convention == "executed" else 2
    try:
        plan = _plan(step, validation, max_flops=limit, validate_every=every, convention=convention)
    except BudgetError:
        assert times * (step + 2 * validation) > limit
        return
    spent = times * _total(plan, step, validation)
    assert spent <= limit
    if validation == 0:
        assert spent + times * step > limit
    # a few validations may be left over, never a whole fifth of the steps
    assert spent + times * (step + 5 * validation) > limit or every


def test_steps_that_do_not_fit_are_refused_with_the_numbers():
    with pytest.raises(BudgetError) as caught:
        _plan(max_steps=10, max_flops=1000)
    assert "1,150" in caught.value.message  # 10 steps and 5 validations
    assert "1,000" in caught.value.message
    assert _plan(max_steps=10, max_flops=1150)[0] == 10
    with pytest.raises(BudgetError, match="one step costs 100"):
        _plan(max_flops=99)


def _chosen(step, series, **changes):
    """What is chosen where a step and the validation of a series have these prices."""
    return choose_validations(
        TrainSettings(**changes),
        Price(step, 2 * step),
        lambda n: Price(n * series, 2 * n * series),
    )


def test_validations_are_as_thorough_as_the_run_allows():
    assert _chosen(10**10, 2 * 10**10, max_steps=10) == USUAL  # a small model, a short run
    step, series = 3 * 10**12, 2 * 10**12
    least = Validations(4, 1)
    assert _chosen(step, series, max_steps=10) == least
    assert _chosen(step, series, max_flops=10 * step) == least
    assert _chosen(step, series, max_steps=100_000) == USUAL
    assert _chosen(step, series, max_flops=100_000 * step) == USUAL
    assert _chosen(step, series, max_flops=10**18, convention="coursework") == USUAL
    chosen = [_chosen(step, series, max_steps=n) for n in range(100, 2000, 50)]
    thoroughness = [(c.series, c.times) for c in chosen]
    assert thoroughness == sorted(thoroughness)
    assert len(set(thoroughness)) > 8
    # frequent ones leave fewer series
    assert _chosen(step, 2 * 10**11, max_steps=300).series > 4
    assert _chosen(step, 2 * 10**11, max_steps=300, validate_every=3).series == 4


@given(
    st.integers(1, 10**4),
    st.integers(10**8, 10**13),
    st.integers(10**8, 10**13),
    st.none() | st.integers(1, 100),
)
def test_validations_take_a_twentieth_unless_they_are_the_fewest(n_steps, step, series, every):
    how = _chosen(step, series, max_steps=n_steps, validate_every=every)
    times = how.times if every is None else n_steps // every
    taken = (1 + times) * how.series * series
    assert taken <= max(n_steps * step / 20, 2e12) or how == Validations(4, 1)
    assert 4 <= how.series <= 16
    assert how.times == 4 or how.series == 4


def _rates(n, schedule, warmup=0.1, peak=1.0):
    return [learning_rate(i, n, peak, warmup, schedule) for i in range(n)]


def test_the_shapes_of_the_schedules():
    assert set(_rates(50, "constant")[5:]) == {1.0}
    rates = _rates(100, "cosine")
    assert rates[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert max(rates) == pytest.approx(1.0)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[55] == pytest.approx(0.55, abs=0.01)  # half-way between the peak and a tenth
    assert rates[-1] == pytest.approx(0.1, abs=0.001)


@given(
    st.integers(1, 200),
    st.floats(0, 1),
    st.sampled_from(["cosine", "constant"]),
    st.floats(1e-6, 1),
)
def test_every_rate_is_positive_and_at_most_the_peak(n, warmup, schedule, peak):
    rates = _rates(n, schedule, warmup, peak)
    assert all(0 < r <= peak * (1 + 1e-12) for r in rates)
