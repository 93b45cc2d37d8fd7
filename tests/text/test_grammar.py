"""The automaton: what is encoded walks through it, and what walks through it decodes."""

import random

import numpy as np
import pytest
from grammars import legal, walk
from hypothesis import given
from hypothesis import strategies as st

from lvlora.text.alphabet import SYMBOLS
from lvlora.text.codec import STEP_SEPARATOR, Codec
from lvlora.text.grammar import START, Grammar


@st.composite
def grammars(draw):
    codec = Codec(
        draw(st.integers(0, 4)), draw(st.integers(1, 5)), draw(st.sampled_from(["point", "digits"]))
    )
    each = st.tuples(*[st.booleans()] * codec.n_variables)
    signed = draw(st.booleans() | each)
    return Grammar(codec, signed, draw(st.integers(1, 4)))


@st.composite
def grammar_and_values(draw):
    grammar = draw(grammars())
    unit = 10.0**-grammar.codec.decimals
    point = grammar.codec.number_format == "point"
    top = (10.0**grammar.max_integer_digits * (1 if point else unit)) - unit
    values = [st.floats(-top if signed else 0.0, top) for signed in grammar.signs]
    rows = draw(st.lists(st.tuples(*values), max_size=5))
    return grammar, np.array(rows).reshape(len(rows), grammar.codec.n_variables)


@given(grammar_and_values())
def test_what_is_encoded_is_legal_and_ends_at_the_start(case):
    grammar, values = case
    text = grammar.codec.encode(values)
    assert walk(grammar, text) == START
    # and symbol by symbol, as the decoder counts steps
    state, steps = START, 0
    for symbol in text:
        steps += symbol == STEP_SEPARATOR
        state = walk(grammar, symbol, state)
    assert steps == len(values)


def random_walk(grammar: Grammar, horizon: int, rng: random.Random) -> str:
    state, steps, text = START, 0, []
    while steps < horizon:
        symbol = rng.choice(np.flatnonzero(legal(grammar)[state]).tolist())
        text.append(SYMBOLS[symbol])
        steps += SYMBOLS[symbol] == STEP_SEPARATOR
        state = int(grammar.transitions[state, symbol])
    return "".join(text)


@given(grammars(), st.integers(0, 6), st.integers(0, 2**32))
def test_any_legal_walk_decodes_to_exactly_the_horizon(grammar, horizon, seed):
    text = random_walk(grammar, horizon, random.Random(seed))
    values = grammar.codec.decode(text)
    assert values.shape == (horizon, grammar.codec.n_variables)
    assert not np.isnan(values).any()
    assert not (values < 0).any(axis=0)[~np.array(grammar.signs)].any()
    finite = values[~np.isnan(values)]
    assert (np.abs(finite) < 10.0**grammar.max_integer_digits).all()
    # what was walked is what would be written, but for the sign of a zero
    zero = grammar.codec.number(0.0)
    assert grammar.codec.encode(values) == text.replace("-" + zero, zero)


@given(grammars())
def test_every_reachable_state_has_a_way_on(grammar):
    reached, todo = {START}, [START]
    while todo:
        state = todo.pop()
        following = {int(s) for s in grammar.transitions[state] if s >= 0}
        assert following, state
        todo += following - reached
        reached |= following


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("-1.00,", {}),
        ("?,", {}),
        ("1234.00,", {}),
        ("00.10,", {}),
        ("01.00,", {}),
        ("1.000,", {}),
        ("1.0,", {}),
        ("1.00;", {}),
        ("1.00,1.00,", {}),
        ("--1.00,", {"signed": True}),
        ("1.-0", {"signed": True}),
        ("-?", {"signed": True}),
        ("1?", {}),
        ("a", {}),
    ],
)
def test_illegal_text(text, options):
    with pytest.raises(ValueError, match="not legal"):
        walk(Grammar(Codec(2, 2), **options), text)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("999.99,0.00;", {}),
        ("-1.00,-0.50;", {"signed": True}),
        ("1234.00,1.00;", {"max_integer_digits": 4}),
    ],
)
def test_legal_text(text, options):
    assert walk(Grammar(Codec(2, 2), **options), text) == START


@given(grammar_and_values())
def test_a_history_walks_through_its_own_grammar(case):
    grammar, values = case
    text = grammar.codec.encode(values)
    separate = Grammar.for_history(grammar.codec, text)
    assert walk(separate, text) == START
    steps = [step.split(",") for step in text.split(";")[:-1]]
    for variable, sign in enumerate(separate.signs):
        assert sign == any(step[variable].startswith("-") for step in steps)
    digits = [len(n.split(".")[0].lstrip("-")) for n in text.replace(";", ",").split(",") if n]
    point = grammar.codec.number_format == "point"
    least = 1 if point else 1 + grammar.codec.decimals  # the decimals are among them then
    assert separate.max_integer_digits == max(least, *digits) + 2 if digits else True


@given(st.integers(0, 4), st.lists(st.integers(0, 10**6), min_size=1, max_size=5))
def test_both_formats_may_grow_as_far(decimals, history):
    widest = []
    for form in ("point", "digits"):
        codec = Codec(decimals, 1, form)
        text = codec.encode(np.array(history, float)[:, None] / 10**decimals)
        grammar = Grammar.for_history(codec, text)
        widest.append(
            codec.value(
                "9" * grammar.max_integer_digits
                + ("." + "9" * decimals if codec.fraction_digits else "")
            )
        )
    assert widest[0] == pytest.approx(widest[1], rel=1e-9)


def test_a_number_has_an_integer_part():
    with pytest.raises(ValueError, match="integer digit"):
        Grammar(Codec(), max_integer_digits=0)
