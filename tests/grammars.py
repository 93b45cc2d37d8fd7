"""The automaton of symbols, asked directly: what that of tokens must agree with."""

import numpy as np
from numpy.typing import NDArray

from lvlora.text.codec import INDEX
from lvlora.text.grammar import ILLEGAL, START, Grammar


def legal(grammar: Grammar) -> NDArray[np.bool_]:
    """(states, symbols): whether the symbol may come next."""
    return grammar.transitions != ILLEGAL


def walk(grammar: Grammar, text: str, state: int = START) -> int:
    """The state after a text; ValueError with the position of the first illegal symbol."""
    for position, symbol in enumerate(text):
        following = grammar.transitions[state, INDEX[symbol]] if symbol in INDEX else ILLEGAL
        if following == ILLEGAL:
            raise ValueError(f"{symbol!r} is not legal at position {position} of {text[:80]!r}")
        state = int(following)
    return state
