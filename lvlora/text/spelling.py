"""The grammar in tokens: after any tokens of a text, which ones may come next.

A token is legal if its symbols keep the symbols' automaton alive (`grammar`), and if what is
written stays a spelling of `TokenAlphabet`: from the left, the longest token first. So "2" is not
legal behind "1" where "12" is a token, and every text can be written in one way only: sampling
reaches each text by one path, and a text's probability is its one path's.

A state is the symbols' state, and the beginnings of longer tokens than those that were chosen,
which what follows must not complete; they are nodes of a tree of all tokens. States from which no
step can be completed (a "0" that only "0.25," could go on from, where that is a token) are cut off.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from lvlora.text.alphabet import INDEX, SYMBOLS
from lvlora.text.codec import STEP_SEPARATOR, VALUE_SEPARATOR
from lvlora.text.grammar import ILLEGAL, START, Grammar


@dataclass
class _Node:
    """A beginning of tokens; where one ends, its index."""

    token: int = -1
    following: dict[str, _Node] = field(default_factory=dict)


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
    transitions: NDArray[np.int64]
    guess: NDArray[np.int64]

    @cached_property
    def legal(self) -> NDArray[np.bool_]:
        """(states, tokens): whether the token may come next."""
        legal: NDArray[np.bool_] = self.transitions != ILLEGAL
        return legal

    @cached_property
    def forced(self) -> NDArray[np.int64]:
        """(states,): the only legal token, or -1 where there is a choice."""
        alone = self.legal.sum(axis=1) == 1
        return np.where(alone, self.legal.argmax(axis=1), -1).astype(np.int64)

    @cached_property
    def ends_step(self) -> NDArray[np.bool_]:
        """(states, tokens): whether the token ends a time step there."""
        ends = np.array([token.endswith(STEP_SEPARATOR) for token in self.tokens])
        ending: NDArray[np.bool_] = self.legal & ends
        return ending

    @cached_property
    def ends_number(self) -> NDArray[np.bool_]:
        """(tokens,): whether a token ends a number."""
        separators = (VALUE_SEPARATOR, STEP_SEPARATOR)
        return np.array([token.endswith(separators) for token in self.tokens])

    @cached_property
    def longest_number(self) -> int:
        """Tokens of the longest number, its separator included."""
        return self._most(np.ones_like(self.legal, dtype=np.int64))

    @cached_property
    def most_choices(self) -> int:
        """Choices of the number with most: what is forced is none, nor is a guess that is right."""
        choices = np.broadcast_to((self.forced < 0)[:, None], self.legal.shape).astype(np.int64)
        guessed = self.guess >= 0
        choices[guessed, self.guess[guessed]] = 0
        return self._most(choices)

    @cached_property
    def widest(self) -> int:
        """Tokens that follow from one choice: itself, what it forces, and what is guessed then."""
        ahead = np.full(len(self.forced), -1, dtype=np.int64)

        def behind(state: int) -> int:
            if ahead[state] < 0:
                token = self.forced[state]
                ahead[state] = (
                    self.guess[state] >= 0
                    if token < 0
                    else 1 + behind(int(self.transitions[state, token]))
                )
            return int(ahead[state])

        chosen = np.unique(self.transitions[self.forced < 0])
        return 1 + max(behind(int(state)) for state in chosen if state != ILLEGAL)

    def _most(self, costs: NDArray[np.int64]) -> int:
        """The largest sum of costs (states, tokens) on the way through a number."""
        most: dict[int, int] = {}

        def of(state: int) -> int:
            if state not in most:
                best = 0
                for following in np.unique(self.transitions[state]):
                    if following == ILLEGAL:
                        continue
                    ways = self.transitions[state] == following
                    rest = ways & ~self.ends_number
                    if (ways & self.ends_number).any():
                        best = max(best, int(costs[state, ways & self.ends_number].max()))
                    if rest.any():
                        best = max(best, int(costs[state, rest].max()) + of(int(following)))
                most[state] = best
            return most[state]

        begins = {START, *np.unique(self.transitions[:, self.ends_number]).tolist()} - {ILLEGAL}
        return max(of(state) for state in begins)

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
    root = _tree(tokens)
    places: dict[tuple[int, frozenset[int]], int] = {}
    threats_of: dict[int, tuple[_Node, ...]] = {}
    rows: list[dict[int, int]] = []
    states: list[int] = []

    def place(state: int, threats: tuple[_Node, ...]) -> int:
        key = state, frozenset(map(id, threats))
        if key not in places:
            places[key] = len(rows)
            threats_of[len(rows)] = threats
            rows.append({})
            states.append(state)
        return places[key]

    place(START, ())
    done = 0
    while done < len(rows):
        # tokens from here on: along the tree, as far as the grammar goes
        open_ = [(root, states[done], threats_of[done])]
        while open_:
            node, state, threats = open_.pop()
            for symbol, child in node.following.items():
                following = int(grammar.transitions[state, INDEX[symbol]])
                if following == ILLEGAL:
                    continue
                met = [t.following[symbol] for t in threats if symbol in t.following]
                if any(t.token >= 0 for t in met):
                    continue  # a longer token would have been taken
                left = tuple(t for t in met if t.following)
                if child.token >= 0:
                    longer = (child,) if child.following else ()
                    rows[done][child.token] = place(following, (*left, *longer))
                open_.append((child, following, left))
        done += 1
    transitions = np.full((len(rows), len(tokens)), ILLEGAL, dtype=np.int64)
    for row, legal in zip(transitions, rows, strict=True):
        row[list(legal)] = list(legal.values())
    return _alive(grammar, tokens, transitions, np.array(states))


def _tree(tokens: tuple[str, ...]) -> _Node:
    root = _Node()
    for i, token in enumerate(tokens):
        node = root
        for symbol in token:
            node = node.following.setdefault(symbol, _Node())
        node.token = i
    return root


def _alive(
    grammar: Grammar,
    tokens: tuple[str, ...],
    transitions: NDArray[np.int64],
    states: NDArray[np.int64],
) -> Spelling:
    """Without the states from which a step can't be completed, and those that nothing leads to."""
    ends = np.array([token.endswith(STEP_SEPARATOR) for token in tokens])
    legal = transitions != ILLEGAL
    alive = (legal & ends).any(axis=1)
    while True:
        more = alive | (legal & alive[transitions]).any(axis=1)
        if (more == alive).all():
            break
        alive = more
    transitions = np.where(legal & alive[transitions], transitions, ILLEGAL)
    reached, new = {START}, [START]
    while new:
        following = set(np.unique(transitions[new.pop()]).tolist()) - {ILLEGAL} - reached
        reached |= following
        new += following
    kept = np.array(sorted(reached))
    places = np.full(len(states), ILLEGAL, dtype=np.int64)
    places[kept] = np.arange(len(kept))
    transitions = np.where(transitions[kept] == ILLEGAL, ILLEGAL, places[transitions[kept]])
    # the symbols are the first tokens
    guess = grammar.guess[states[kept]]
    possible = (guess >= 0) & (transitions[np.arange(len(kept)), guess] != ILLEGAL)
    alone = (transitions != ILLEGAL).sum(axis=1) == 1
    return Spelling(grammar, tokens, transitions, np.where(possible & ~alone, guess, -1))
