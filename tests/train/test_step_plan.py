"""How many steps a limit buys."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvlora.errors import BudgetError
from lvlora.flops.budget import Price
from lvlora.settings import TrainSettings
from lvlora.train.step_plan import (
    DEFAULT_STEPS,
    USUAL,
    Validations,
    choose_validations,
    plan_steps,
)


def _plan(step=100, validation=30, **changes):
    given = TrainSettings(**changes)
    return plan_steps(given, Price(step, 2 * step), Price(validation, 2 * validation))


def _total(plan, step=100, validation=30):
    n, at = plan
    return n * step + (1 + len(at)) * validation * (validation > 0)


def test_without_a_limit_the_default_is_validated_four_times():
    n, at = _plan()
    assert n == DEFAULT_STEPS
    assert at == {50, 100, 150, 200}


def test_the_last_step_is_always_validated():
    assert _plan(max_steps=7, validate_every=3)[1] == {3, 6, 7}
    assert _plan(max_steps=3)[1] == {1, 2, 3}
    assert _plan(max_steps=7, validation=0)[1] == frozenset()


@given(
    st.integers(1, 10**6),
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


def test_a_limit_below_one_step_is_refused_with_the_price():
    with pytest.raises(BudgetError, match="one step costs 100"):
        _plan(max_flops=99)


def _thoroughness(executed, horizon=50, **changes):
    return choose_validations(
        TrainSettings(**changes),
        Price(executed, executed),
        tokens_per_step=2048,
        tokens_read=500,
        tokens_a_step=10,
        calls_a_step=6,
        horizon=horizon,
    )


def test_a_small_model_is_validated_thoroughly_however_short_the_run():
    assert _thoroughness(10**10, max_steps=10) == USUAL


def test_a_large_model_is_validated_as_its_run_allows():
    large = 3 * 10**12
    assert _thoroughness(large, max_steps=100) == Validations(4, 1, horizon=20)
    assert _thoroughness(large, max_steps=180) == Validations(4, 1)
    # half of a short series is no shorter for it
    assert _thoroughness(large, horizon=20, max_steps=20) == Validations(4, 1)
    assert _thoroughness(large, max_steps=100_000) == USUAL
    assert _thoroughness(large, max_flops=100 * large) == Validations(4, 1, horizon=20)
    assert _thoroughness(large, max_flops=100_000 * large) == USUAL
    chosen = [_thoroughness(large, max_steps=10**n // 2) for n in range(1, 7)]
    assert [c.series for c in chosen] == sorted(c.series for c in chosen)
    assert len(set(chosen)) > 2


def test_frequent_validations_leave_fewer_series():
    large = 3 * 10**12
    assert _thoroughness(large, max_steps=3000).series > 4
    assert _thoroughness(large, max_steps=3000, validate_every=10).series == 4


def test_few_validations_are_laid_out_over_the_run():
    given = TrainSettings(max_steps=100)
    assert plan_steps(given, Price(1, 1), Price(1, 1), times=1)[1] == {100}
    assert plan_steps(given, Price(1, 1), Price(1, 1), times=2)[1] == {50, 100}
