"""The automaton of tokens: each text by one path, and no path but to texts."""

import random

import numpy as np
import pytest
from grammars import walk
from hypothesis import assume, given
from hypothesis import strategies as st

from lvlora.text.alphabet import INDEX, SYMBOLS, TokenAlphabet
from lvlora.text.codec import STEP_SEPARATOR, Codec
from lvlora.text.grammar import ILLEGAL, START, Grammar, Spelling, spelling
from tests.text.test_grammar import grammar_and_values, grammars


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


@given(grammars(), any_alphabets, st.integers(0, 5), st.integers(0, 2**32))
def test_every_path_is_the_spelling_of_a_text(grammar, tokens, horizon, seed):
    walked = random_walk(spelling(grammar, tokens.tokens), horizon, random.Random(seed))
    text = "".join(tokens.tokens[t] for t in walked)
    assert tokens.spell(text) == walked
    assert walk(grammar, text) == START
    assert text.count(STEP_SEPARATOR) == horizon


@given(grammars(), any_alphabets)
def test_no_state_is_without_a_way_on(grammar, tokens):
    ways = spelling(grammar, tokens.tokens)
    reached, todo = {START}, [START]
    while todo:
        following = set(np.unique(ways.transitions[todo.pop()]).tolist()) - {ILLEGAL}
        assert following
        todo += following - reached
        reached |= following
    if len(tokens.tokens) > len(SYMBOLS):  # others have the table of symbols
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
