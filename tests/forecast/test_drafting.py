"""Drafts of numbers: near to what was, never more than is allowed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lvlora.forecast.drafting import WIDEST, Allowance, Balance, Chances, Course, Draft
from lvlora.text.codec import Codec
from lvlora.text.grammar import Grammar


def course(numbers):
    found = Course()
    for number in numbers:
        found.add(number)
    return found


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([], None),
        ([7], 7),
        ([5, 5, 5, 5], 5),
        ([1, 3, 5, 7], 9),
        ([1, 4, 9, 16, 25, 36, 49], 64),
        # a noisy level: the last value errs least
        ([50, 48, 51, 49, 52, 48, 50, 51, 49], 49),
    ],
)
def test_a_number_is_expected_where_its_course_leads(numbers, expected):
    assert course(numbers).expected() == expected


def test_a_smooth_series_is_expected_nearly_right():
    """Three decimals of a sine: all but the last digit, nearly always."""
    units = np.round(1000 * (2 + np.sin(0.25 * np.arange(200)))).astype(int).tolist()
    errors = [abs(course(units[:t]).expected() - units[t]) for t in range(20, 200)]
    assert np.median(errors) < 20


@st.composite
def drafts(draw):
    """A grammar, the expected number in units, and the beginning of another number."""
    decimals = draw(st.integers(0, 3))
    signed = draw(st.booleans())
    least = -(10**5) if signed else 0
    expected, other = (draw(st.integers(least, 10**5)) for _ in range(2))
    codec = Codec(decimals, 1, draw(st.sampled_from(["point", "digits"])))
    written = codec.format_units(other)
    begun = written[: draw(st.integers(0, len(written)))]
    return Grammar(codec, signed=signed, max_integer_digits=6), expected, begun


@given(drafts())
def test_the_draft_is_the_nearest_number_that_begins_so(given_):
    grammar, expected, begun = given_
    codec = grammar.codec
    draft = Draft(grammar, codec.format_units(expected) + ";")
    for symbol in begun:
        draft.add(symbol)
    ahead = draft.ahead()
    whole = codec.format_units(expected)
    grammar.walk(begun + ahead)  # every symbol is legal
    if whole.startswith(begun):
        rest = whole[len(begun) :]
        assert ahead == (rest[:-1] if codec.decimals else rest + ";")
        return
    assume(codec.fraction_digits and "." in begun)
    missing = codec.decimals - len(begun.partition(".")[2])
    assume(missing > 0)
    candidates = [begun + f"{i:0{missing}d}" for i in range(10**missing)]
    best = min(candidates, key=lambda text: abs(int(text.replace(".", "")) - expected))
    if not (begun.startswith("-0") and int(best.replace(".", "")) == 0):  # -0.0 is 0.0
        assert begun + ahead == best[:-1]


def test_variables_take_turns_and_missing_values_are_passed_over():
    grammar = Grammar(Codec(1, 2), missing=True)
    draft = Draft(grammar, "1.0,9.0;2.0,?;3.0,9.5;4.0,9.5;")
    assert draft.ahead() == "5."
    for symbol in "5.1":
        draft.add(symbol)
    assert draft.ahead() == ""  # its last decimal is there
    draft.add(",")
    assert draft.ahead() == "9."
    draft.add("?")
    assert draft.ahead() == ""


def test_a_copy_goes_its_own_way():
    draft = Draft(Grammar(Codec(1, 1)), "1.0;2.0;3.0;")
    other = draft.copy()
    for symbol in "9.9;9.9;":
        other.add(symbol)
    assert draft.ahead() == "4."
    assert other.ahead() != draft.ahead()


def test_an_unsigned_number_is_never_expected_below_zero():
    assert Draft(Grammar(Codec(1, 1)), "3.0;2.0;1.0;0.0;").ahead() == "0."
    assert Draft(Grammar(Codec(1, 1), signed=True), "2.0;1.0;0.0;").ahead() == "-1."


@given(
    st.integers(1, 60),
    st.lists(st.tuples(st.integers(1, WIDEST), st.integers(1, 4)), max_size=80),
)
def test_an_allowance_always_has_room_for_what_is_certain(most, wishes):
    """Whatever is wished and confirmed: two a call, and in all at most twice the choices."""
    allowance, remaining, spent = Allowance(most), most - 1, 0
    wishes = iter(wishes)
    while remaining > 0:
        wish, choices = next(wishes, (WIDEST, 1))
        room = allowance.width(remaining)
        assert 2 <= room <= WIDEST
        width = max(2, min(wish, room))
        allowance.spend(width)
        spent += width
        remaining -= choices
    assert spent <= 2 * most


def test_a_draft_that_is_never_right_is_given_up_and_one_that_is_now_and_then_is_not():
    chances = Chances()
    assert chances.worth_it(3)
    for _ in range(20):
        chances.learn(3, False)
    assert not chances.worth_it(3)
    assert chances.worth_it(4)
    for i in range(20):
        chances.learn(4, i % 3 == 0)
    assert chances.worth_it(4)


@pytest.mark.parametrize(("progress", "expected"), [(1, False), (3, True)])
def test_drafts_rest_where_they_do_not_pay_and_are_tried_again(progress, expected):
    """Eight rows, five wide: a call takes half as long again, and has to settle as much more."""
    balance, settled = Balance(8, fixed=43.0), 0
    drafted = []
    for _ in range(100):
        drafted.append(balance.drafts(settled))
        balance.spend(5 if drafted[-1] else 2)
        settled += progress if drafted[-1] else 1
    assert drafted[:24] == [True] * 24
    assert drafted[24] is expected
    assert drafted[80] is True
    assert all(drafted) is expected
