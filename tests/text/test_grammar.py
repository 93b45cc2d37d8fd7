"""The automata of symbols and tokens: each text by one path, and no path but to texts."""

import random

import numpy as np
import pytest
from grammars import walk
from hypothesis import assume, given
from hypothesis import strategies as st

from lvlora.text.codec import INDEX, STEP_SEPARATOR, SYMBOLS, Codec, TokenAlphabet
from lvlora.text.grammar import ILLEGAL, START, Grammar, Spelling, spelling


def random_walk(ways: Spelling, horizon: int, rng: random.Random) -> list[int]:
    state, steps, walked = START, 0, []
    while steps < horizon:
        # seldom chosen otherwise where a thousand whole numbers are legal
        legal = np.flatnonzero(ways.legal[state]).tolist()
        short = [t for t in legal if len(ways.tokens[t]) == 1]
        token = rng.choice(short if short and rng.random() < 0.5 else legal)
        walked.append(token)
        steps += bool(ways.ends_step[state, token])
        state = int(ways.transitions[state, token])
    return walked


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


@given(grammars(), st.integers(0, 6), st.integers(0, 2**32))
def test_any_legal_walk_decodes_to_exactly_the_horizon(grammar, horizon, seed):
    walked = random_walk(spelling(grammar), horizon, random.Random(seed))
    text = "".join(SYMBOLS[i] for i in walked)
    values = grammar.codec.decode(text)
    assert values.shape == (horizon, grammar.codec.n_variables)
    assert not np.isnan(values).any()
    assert not (values < 0).any(axis=0)[~np.array(grammar.signs)].any()
    finite = values[~np.isnan(values)]
    assert (np.abs(finite) < 10.0**grammar.max_integer_digits).all()
    # what was walked is what would be written, but for the sign of a zero
    zero = grammar.codec.number(0.0)
    assert grammar.codec.encode(values) == text.replace("-" + zero, zero)


@pytest.mark.parametrize(
    "text",
    [
        *("-1.00,", "?,", "1234.00,", "00.10,", "01.00,", "1.000,", "1.0,", "1.00;"),
        *("1.00,1.00,", "1?", "a"),
        *("s--1.00,", "s1.-0", "s-?"),
    ],
)
def test_illegal_text(text):
    """With a sign where it begins with s."""
    with pytest.raises(ValueError, match="not legal"):
        walk(Grammar(Codec(2, 2), signed=text[0] == "s"), text.removeprefix("s"))


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


def alphabet(*several: str) -> TokenAlphabet:
    tokens = (*SYMBOLS, *several)
    return TokenAlphabet(tuple(range(len(tokens))), tokens=tokens)


PLAIN = alphabet()
TRIPLES = alphabet(*(f"{n:02}" for n in range(100)), *(f"{n:03}" for n in range(1000)))
"""As Llama 3."""
PAIRS = alphabet("23", "99", "999", "0.", "10", "100", "5;", "0.2", "-1", "?,")
"""As frequent pairs would be, without system."""
WHOLE = alphabet(*(f"{n // 100}.{n % 100:02}{s}" for n in range(1000) for s in ",;"), "?,", "?;")
"""As the bundled model."""

alphabets = st.sampled_from([PLAIN, TRIPLES, PAIRS, WHOLE])
pieces = st.text(alphabet="0123456789", min_size=2, max_size=4) | st.sampled_from(
    ["0.", "1.5", "-2", ".7", "3;", "0,", "?;", "0.25,", "10.0", "00"]
)
any_alphabets = alphabets | st.lists(pieces, unique=True, max_size=12).map(lambda p: alphabet(*p))


@given(grammar_and_values(), any_alphabets)
def test_every_text_has_a_path_and_it_is_its_spelling(case, tokens):
    grammar, values = case
    text = grammar.codec.encode(values)
    ways = spelling(grammar, tokens.tokens)
    state, steps = START, 0
    for token in tokens.spell(text):
        assert ways.legal[state, token], (text, ways.tokens[token])
        steps += bool(ways.ends_step[state, token])
        state = int(ways.transitions[state, token])
    assert state == START
    assert steps == len(values)


@given(grammars(), any_alphabets, st.integers(0, 5), st.integers(0, 2**32))
def test_every_path_is_the_spelling_of_a_text(grammar, tokens, horizon, seed):
    walked = random_walk(spelling(grammar, tokens.tokens), horizon, random.Random(seed))
    text = "".join(tokens.tokens[t] for t in walked)
    assert tokens.spell(text) == walked
    assert walk(grammar, text) == START
    assert text.count(STEP_SEPARATOR) == horizon


@given(grammars(), any_alphabets)
def test_no_state_is_without_a_way_on(grammar, tokens):
    for ways in (spelling(grammar), spelling(grammar, tokens.tokens)):
        reached, todo = {START}, [START]
        while todo:
            following = set(np.unique(ways.transitions[todo.pop()]).tolist()) - {ILLEGAL}
            assert following
            todo += following - reached
            reached |= following
        if len(ways.tokens) > len(SYMBOLS):  # others have the table of symbols
            assert reached == set(range(len(ways.transitions)))


@given(grammars(), any_alphabets)
def test_forced_is_the_only_legal_token(grammar, tokens):
    ways = spelling(grammar, tokens.tokens)
    for state in range(len(ways.transitions)):
        legal = np.flatnonzero(ways.legal[state])
        assert ways.forced[state] == (int(legal[0]) if len(legal) == 1 else -1)


@given(grammars())
def test_a_guess_is_legal_is_a_choice_and_leads_to_another(grammar):
    ways = spelling(grammar)
    guessed = np.flatnonzero(ways.guess >= 0)
    # a number without a point is not thought to end before it has its decimals
    before = grammar.codec.decimals - grammar.codec.fraction_digits
    assert (len(guessed) > 0) == (grammar.max_integer_digits > 1 + before)


@given(grammars(), any_alphabets)
def test_behind_a_guess_is_a_choice(grammar, tokens):
    ways = spelling(grammar, tokens.tokens)
    for state in np.flatnonzero(ways.guess >= 0):
        token = ways.guess[state]
        assert ways.legal[state, token]
        assert ways.forced[state] == -1
        # the decoder may pick right after a confirmed guess: nothing forced can lie between
        assert ways.forced[ways.transitions[state, token]] == -1


def test_forced_and_guessed_by_hand():
    grammar = Grammar(Codec(2, 2))
    ways = spelling(grammar)
    for text, forced, guess in [
        ("", -1, -1),
        ("0", ".", -1),  # no leading zeros
        ("1", -1, "."),
        ("12", -1, "."),
        ("123", ".", -1),  # the longest integer part
        ("1.", -1, -1),
        ("1.2", -1, -1),
        ("1.23", ",", -1),
        ("1.23,4.56", ";", -1),
    ]:
        state = ways.walk(PLAIN.spell(text))
        assert ways.forced[state] == (INDEX[forced] if forced != -1 else -1), text
        assert ways.guess[state] == (INDEX[guess] if guess != -1 else -1), text
    reference = spelling(Grammar(Codec(0, 1)))
    assert reference.forced[reference.walk([INDEX["0"]])] == INDEX[";"]
    assert reference.guess[reference.walk([INDEX["7"]])] == INDEX[";"]


@pytest.mark.parametrize(
    ("tokens", "before", "legal", "illegal"),
    [
        (TRIPLES, "", ["0", "1", "12", "123"], ["01", "012", "?"]),
        (TRIPLES, "0", ["."], ["0", "00"]),
        (TRIPLES, "1", ["."], ["2", "23", "234"]),  # "12" would be one token
        (TRIPLES, "123", [".", "4", "45"], ["456"]),  # five digits at most
        (TRIPLES, "0.", ["25"], ["2", "250"]),
        (WHOLE, "", ["0.25,", "9.99,", "1"], ["0", "0.25;", "?,", "-"]),
        (WHOLE, "1", ["0.25,", "2", "0"], ["."]),  # "1.25," would be one token
        (WHOLE, "0.25,", ["0.25;", "7"], ["0.25,"]),
    ],
)
def test_legal_by_hand(tokens, before, legal, illegal):
    ways = spelling(Grammar(Codec(2, 2), max_integer_digits=5), tokens.tokens)
    state = ways.walk(tokens.spell(before))
    result = {ways.tokens[t] for t in np.flatnonzero(ways.legal[state])}
    assert set(legal) <= result
    assert not set(illegal) & result


@given(grammars(), any_alphabets)
def test_the_longest_number_and_most_choices_are_reached_and_not_passed(grammar, tokens):
    assume(grammar.codec.n_variables <= 3)
    ways = spelling(grammar, tokens.tokens)
    lengths, choices, widths = [], [], []
    for seed in range(200):
        state, n, chosen, width = START, 0, 0, 1
        for token in random_walk(ways, 1, random.Random(seed)):
            n += 1
            choice = ways.forced[state] < 0
            chosen += choice and token != ways.guess[state]
            width = 1 if choice else width + 1
            state = int(ways.transitions[state, token])
            widths.append(width + (ways.guess[state] >= 0))
            if ways.ends_number[token]:
                lengths.append(n)
                choices.append(chosen)
                n = chosen = 0
    assert max(lengths) <= ways.longest_number
    assert max(choices) <= ways.most_choices
    assert max(widths) <= ways.widest


@given(grammars())
def test_the_longest_number_of_single_symbols(grammar):
    ways = spelling(grammar)
    decimals = grammar.codec.fraction_digits
    longest = (
        any(grammar.signs) + grammar.max_integer_digits + (1 + decimals if decimals else 0) + 1
    )
    assert ways.longest_number == longest
    # its point is guessed or forced, its separator forced
    assert ways.most_choices == longest - 1 - (decimals > 0)
    assert ways.widest == 2
