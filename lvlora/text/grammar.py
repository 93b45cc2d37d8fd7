"""The grammar of the text form: after any symbols or tokens, which ones may come next.

Over symbols, a state is (variable, place in the number). Numbers have no leading zeros, exactly the
codec's decimals, and integer parts of up to ``max_integer_digits`` digits, so that every walk of
the automaton ends: any sequence of legal symbols is a valid series, whatever the model says. Signs
are legal variable by variable: one that was never negative stays so, whatever the others are.

Over tokens, one is legal if its symbols keep the symbols' automaton alive, and if what is written
stays a spelling of `TokenAlphabet`: from the left, the longest token first. So "2" is not legal
behind "1" where "12" is a token, and every text can be written in one way only: sampling reaches
each text by one path, and a text's probability is its one path's.

A state over tokens is the symbols' state, and the beginnings of longer tokens than those that were
chosen, which what follows must not complete; they are nodes of a tree of all tokens, and nodes with
the same tokens' ends below them are one ("1" and "2", where all pairs of digits are tokens). States
from which no step can be completed (a "0" that only "0.25," could go on from, where that is a
token) are cut off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from lvlora.text.codec import INDEX, MINUS, POINT, STEP_SEPARATOR, SYMBOLS, VALUE_SEPARATOR, Codec

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

START = 0
ILLEGAL = -1


@dataclass(frozen=True)
class Grammar:
    """The automaton of one codec.

    Attributes:
        codec: decimals and number of variables.
        signed: a number may begin with "-"; of all variables, or of each.
        max_integer_digits: longest integer part.
    """

    codec: Codec
    signed: bool | tuple[bool, ...] = False
    max_integer_digits: int = 3

    def __post_init__(self) -> None:
        if self.max_integer_digits < 1:
            raise ValueError("a number has at least one integer digit")
        if isinstance(self.signed, tuple) and len(self.signed) != self.codec.n_variables:
            raise ValueError("one sign for each variable")

    @property
    def signs(self) -> tuple[bool, ...]:
        """Return for each variable whether its numbers may begin with "-"."""
        if isinstance(self.signed, tuple):
            return self.signed
        return (self.signed,) * self.codec.n_variables

    @cached_property
    def transitions(self) -> Ints:
        """(states, symbols): the next state, or `ILLEGAL`. State 0 begins a step."""
        return self._table[0]

    @cached_property
    def guess(self) -> Ints:
        """(states,): the symbol worth feeding ahead of the choice, or -1; see `Spelling`."""
        return self._table[1]

    @cached_property
    def _table(self) -> tuple[Ints, Ints]:
        decimals, n_variables = self.codec.fraction_digits, self.codec.n_variables
        # without a point few numbers end before as many digits as they have decimals, and one
        usual = self.codec.decimals - decimals
        # places in a number: 0 begin, 1 after "-", 2 after a leading 0, 3… after 1, 2… integer
        # digits, then after the point and each decimal, last: the number is complete
        first_int = 3
        last_int = first_int + self.max_integer_digits - 1
        first_fraction = last_int + 1
        complete = first_fraction + decimals
        places = complete + 1
        table = np.full((n_variables * places, len(SYMBOLS)), ILLEGAL, dtype=np.int64)
        guess = np.full(n_variables * places, -1, dtype=np.int64)
        digits = [INDEX[d] for d in "0123456789"]
        for variable in range(n_variables):
            base = variable * places
            last = variable == n_variables - 1
            separator = INDEX[STEP_SEPARATOR if last else VALUE_SEPARATOR]
            after_separator = 0 if last else base + places
            integer_end = INDEX[POINT] if decimals else separator
            after_integer = base + first_fraction if decimals else after_separator

            for place in (0, 1):
                table[base + place, digits[0]] = base + 2
                table[base + place, digits[1:]] = base + first_int
            if self.signs[variable]:
                table[base, INDEX[MINUS]] = base + 1
            table[base + 2, integer_end] = after_integer
            for place in range(first_int, last_int + 1):
                table[base + place, integer_end] = after_integer
                if place < last_int:
                    table[base + place, digits] = base + place + 1
                    guess[base + place] = integer_end if place >= first_int + usual else -1
            for place in range(first_fraction, complete):
                table[base + place, digits] = base + place + 1
            table[base + complete, separator] = after_separator
        return table, guess

    @classmethod
    def for_history(cls, codec: Codec, text: str, *, signed: Sequence[bool] = ()) -> Grammar:
        """The grammar for continuing a history's text.

        Signs of the variables that have one in it, and of those that are ``signed``; integer parts
        may grow two digits beyond the history's longest, which bounds a runaway future at a hundred
        times the past.
        """
        steps = [step.split(VALUE_SEPARATOR) for step in text.split(STEP_SEPARATOR)]
        longest = max(
            (len(number.split(POINT)[0].lstrip(MINUS)) for step in steps for number in step),
            default=1,
        )
        # without a point decimals are among them: "0" has as many then as "0.00"
        longest = max(longest, 1 + codec.decimals - codec.fraction_digits)
        signs = list(signed) or [False] * codec.n_variables
        for step in steps:
            for variable, number in enumerate(step):
                signs[variable] |= number.startswith(MINUS)
        return cls(codec, tuple(signs), max_integer_digits=longest + 2)


@dataclass(frozen=True, eq=False)
class Spelling:
    """A grammar's automaton over tokens. State 0 begins a step.

    Attributes:
        grammar: over symbols; tokens: of `TokenAlphabet`.
        transitions: (states, tokens), the next state or `ILLEGAL`.
        guess: (states,) a token worth feeding ahead of the choice, or -1: after a first digit other
            than 0 the point is likely but not forced, and the decoder may feed it together with the
            digit and take it back when the model wants another digit.
    """

    grammar: Grammar
    tokens: tuple[str, ...]
    transitions: Ints
    guess: Ints

    @cached_property
    def legal(self) -> Bools:
        """(states, tokens): whether the token may come next."""
        return np.asarray(self.transitions != ILLEGAL)

    @cached_property
    def forced(self) -> Ints:
        """(states,): the only legal token, or -1 where there is a choice."""
        alone = self.legal.sum(axis=1) == 1
        return np.where(alone, self.legal.argmax(axis=1), -1).astype(np.int64)

    @cached_property
    def ends_step(self) -> Bools:
        """(states, tokens): whether the token ends a time step there."""
        ends = np.array([token.endswith(STEP_SEPARATOR) for token in self.tokens])
        return np.asarray(self.legal & ends)

    @cached_property
    def ends_number(self) -> Bools:
        """(tokens,): whether a token ends a number."""
        separators = (VALUE_SEPARATOR, STEP_SEPARATOR)
        return np.array([token.endswith(separators) for token in self.tokens])

    @cached_property
    def longest_number(self) -> int:
        """Tokens of the longest number, its separator included."""
        return self._most(np.ones(self.transitions.shape, dtype=np.int64))

    @cached_property
    def most_choices(self) -> int:
        """Choices of the number with most: what is forced is none, nor is a guess that is right."""
        costs = np.repeat(self.forced[:, None] < 0, len(self.tokens), axis=1).astype(np.int64)
        guessed = np.flatnonzero(self.guess >= 0)
        costs[guessed, self.guess[guessed]] = 0
        return self._most(costs)

    @cached_property
    def widest(self) -> int:
        """Tokens that follow from one choice: itself, what it forces, and what is guessed then."""
        forced = np.flatnonzero(self.forced >= 0)
        after = self.transitions[forced, self.forced[forced]]
        ahead = (self.guess >= 0).astype(np.int64)
        while np.any(ahead[forced] != 1 + ahead[after]):
            ahead[forced] = 1 + ahead[after]
        chosen = self.transitions[self.forced < 0]
        return 1 + int(ahead[chosen[chosen != ILLEGAL]].max())

    def _most(self, costs: Ints) -> int:
        """The largest sum of costs, of a token in each state, on the way through a number."""
        most, longer = np.full(len(costs), -1), np.zeros(len(costs), dtype=np.int64)
        while np.any(most != longer):
            most = longer
            ahead = np.where(self.ends_number, 0, most[self.transitions])
            longer = np.where(self.legal, costs + ahead, 0).max(axis=1)
        ends = self.transitions[self.legal & self.ends_number]
        return int(longer[[START, *np.unique(ends)]].max())

    def walk(self, spelled: list[int], state: int = START) -> int:
        """The state after tokens; `ILLEGAL` as soon as one is not legal."""
        for token in spelled:
            if state == ILLEGAL:
                break
            state = int(self.transitions[state, token])
        return state


@lru_cache(maxsize=256)
def spelling(grammar: Grammar, tokens: tuple[str, ...] = tuple(SYMBOLS)) -> Spelling:
    """The automaton of a grammar over the tokens of an alphabet."""
    if len(tokens) == len(SYMBOLS):
        return Spelling(grammar, tokens, grammar.transitions, grammar.guess)
    tree = _tree(tokens)
    places: dict[tuple[int, ...], int] = {(START,): 0}
    states = list(places)
    rows: list[Ints] = []
    while len(rows) < len(states):
        state, *threats = states[len(rows)]
        legal, following = tree.ways_on(grammar.transitions, state, threats)
        row = np.full(len(tokens), ILLEGAL, dtype=np.int64)
        distinct, inverse = np.unique(following, axis=1, return_inverse=True)
        at = []
        for after, *nodes in distinct.T.tolist():
            key = (after, *(node for node in nodes if node >= 0))
            if key not in places:
                places[key] = len(states)
                states.append(key)
            at.append(places[key])
        row[legal] = np.array(at, dtype=np.int64)[inverse.ravel()]
        rows.append(row)
    return _alive(grammar, tokens, np.stack(rows), np.array([key[0] for key in states]))


@dataclass(frozen=True)
class _Tree:
    """The beginnings of an alphabet's tokens, those that go on alike as one node.

    Attributes:
        following: (nodes + 1, symbols), the next node or -1; of -1, the last row, always -1.
        ends: (nodes + 1,) whether a token ends there; goes_on: whether a longer one does.
        symbols: (tokens, longest) their symbols; lengths, nodes: (tokens,) where they end.
    """

    following: Ints
    ends: Bools
    goes_on: Bools
    symbols: Ints
    lengths: Ints
    nodes: Ints

    def ways_on(self, table: Ints, state: int, threats: list[int]) -> tuple[Ints, Ints]:
        """Tokens that are legal in a symbols' state, and what each leads to.

        Args:
            table: of the symbols' automaton; threats: nodes that must not become a token.

        Returns:
            (legal,) tokens, and (1 + nodes, legal): the symbols' state after each, and below it the
            nodes that must not become a token then, in their order, -1 where there are fewer.
        """
        tokens = np.arange(len(self.lengths))
        at = np.full(len(tokens), state)
        met = np.repeat(np.array([threats], dtype=np.int64).T, len(tokens), axis=1)
        done = []
        for place in range(self.symbols.shape[1]):
            symbols = self.symbols[tokens, place]
            at, met = table[at, symbols], self.following[met, symbols]
            # a token that is completed would have been taken instead
            left = (at != ILLEGAL) & ~self.ends[met].any(axis=0)
            whole = self.lengths[tokens] == place + 1
            done.append((tokens[left & whole], at[left & whole], met[:, left & whole]))
            left &= ~whole
            tokens, at, met = tokens[left], at[left], met[:, left]
        tokens, at = (np.concatenate([part[i] for part in done]) for i in (0, 1))
        met = np.concatenate([part[2] for part in done] or [met], axis=1)
        nodes = np.concatenate([met, self.nodes[tokens][None]])
        nodes = np.sort(np.where(self.goes_on[nodes], nodes, -1), axis=0)
        return tokens, np.concatenate([at[None], nodes])


@lru_cache(maxsize=8)
def _tree(tokens: tuple[str, ...]) -> _Tree:
    children: list[dict[int, int]] = [{}]
    ending, nodes = {}, []
    for token in tokens:
        node = 0
        for symbol in token:
            node = children[node].setdefault(INDEX[symbol], len(children))
            if node == len(children):
                children.append({})
        ending[node] = True
        nodes.append(node)
    # from the leaves on: what a beginning becomes is all that matters of it
    alike: dict[tuple[bool, tuple[tuple[int, int], ...]], int] = {}
    kind = [0] * len(children)
    for node in reversed(range(len(children))):
        below = tuple(sorted((symbol, kind[child]) for symbol, child in children[node].items()))
        kind[node] = alike.setdefault((node in ending, below), len(alike))
    following = np.full((len(alike) + 1, len(SYMBOLS)), -1, dtype=np.int64)
    ends = np.zeros(len(alike) + 1, dtype=np.bool_)
    for (whole, below), i in alike.items():
        ends[i] = whole
        for place, child in below:
            following[i, place] = child
    lengths = np.array([len(token) for token in tokens])
    symbols = np.zeros((len(tokens), lengths.max()), dtype=np.int64)
    for row, token in zip(symbols, tokens, strict=True):
        row[: len(token)] = [INDEX[symbol] for symbol in token]
    goes_on = following.max(axis=1) >= 0
    return _Tree(following, ends, goes_on, symbols, lengths, np.array([kind[n] for n in nodes]))


def _alive(grammar: Grammar, tokens: tuple[str, ...], transitions: Ints, states: Ints) -> Spelling:
    """Without the states from which a step can't be completed, and those that nothing leads to."""
    ends = np.array([token.endswith(STEP_SEPARATOR) for token in tokens])
    following = [np.unique(row[row != ILLEGAL]).tolist() for row in transitions]
    before: list[list[int]] = [[] for _ in following]
    for state, after in enumerate(following):
        for other in after:
            before[other].append(state)
    last = np.flatnonzero((transitions[:, ends] != ILLEGAL).any(axis=1)).tolist()
    alive = _reached(last, before)
    kept = sorted(_reached([START], [[s for s in after if s in alive] for after in following]))
    # one more for what is illegal, which is -1
    places = np.full(len(states) + 1, ILLEGAL, dtype=np.int64)
    places[kept] = np.arange(len(kept))
    transitions = places[transitions[kept]]
    # the symbols are the first tokens; between a guess and the next choice nothing may be forced
    guess = grammar.guess[states[kept]]
    behind = transitions[np.arange(len(kept)), guess]
    alone = (transitions != ILLEGAL).sum(axis=1) == 1
    possible = (guess >= 0) & (behind != ILLEGAL) & ~alone & ~alone[behind]
    return Spelling(grammar, tokens, transitions, np.where(possible, guess, -1))


def _reached(begins: list[int], following: list[list[int]]) -> set[int]:
    """All that can be come to."""
    reached, new = set(begins), list(begins)
    while new:
        more = set(following[new.pop()]) - reached
        reached |= more
        new += more
    return reached
