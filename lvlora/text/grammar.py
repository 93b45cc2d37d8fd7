"""The finite automaton of the text form: after any symbols, which ones may come next.

A state is (variable, place in the number). Numbers have no leading zeros, exactly the codec's
decimals, and integer parts of up to ``max_integer_digits`` digits, so that every walk of the
automaton ends: any sequence of legal symbols is a valid series, whatever the model says. Signs are
legal variable by variable: one that was never negative stays so, whatever the others are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lvlora.text.alphabet import INDEX, SYMBOLS
from lvlora.text.codec import MINUS, POINT, STEP_SEPARATOR, VALUE_SEPARATOR, Codec

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
        return (
            self.signed
            if isinstance(self.signed, tuple)
            else ((self.signed,) * self.codec.n_variables)
        )

    @cached_property
    def transitions(self) -> NDArray[np.int64]:
        """(states, symbols): the next state, or `ILLEGAL`. State 0 begins a step."""
        return self._table[0]

    @cached_property
    def guess(self) -> NDArray[np.int64]:
        """(states,): the symbol worth feeding ahead of the choice, or -1.

        After a first digit other than 0 the point is likely but not forced: the decoder may feed it
        together with the digit and take it back when the model wants another digit.
        """
        return self._table[1]

    @cached_property
    def _table(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
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
