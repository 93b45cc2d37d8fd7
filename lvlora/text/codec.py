"""Numbers to text, text to tokens, and back, exactly.

The text form is LLMTIME's: a time step is its variables joined by ",", every step ends with ";":
``0.25,1.50;0.27,1.47;`` (Gruver et al. 2023, arXiv:2310.07820, section 3, with fixed decimals and a
decimal point as the seed writes it; they leave the point out, which is the format "digits":
``25,150;27,147;``). A missing value is ``?``: one character that every tokenizer has as one token.

Vocabularies differ in how they cut numbers: one token a digit (Qwen2.5, SmolLM2), up to three
digits (Llama 3), whatever pairs were frequent (GPT-2), or a number with its separator (the bundled
model). All have one token for each symbol, and some have tokens of several, which a text is
written with wherever they fit: from the left, the longest first. So each text has exactly one
spelling, and its likelihood is that of this spelling.

Ids are looked up and joined, never taken from a tokenization of the joined text: byte-pair
vocabularies merge pairs such as ",-" that our grammar wants apart.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lvlora.data.dataset import FloatArray
from lvlora.errors import DataError, ModelError
from lvlora.settings.base import NumberFormat

VALUE_SEPARATOR = ","
STEP_SEPARATOR = ";"
POINT = "."
MINUS = "-"
MISSING = "?"

_SAFE_PRODUCT = 2.0**36
"""Below it the product with a power of ten is off by less than 2^-17: only values nearer than that
to a tie may round to the other neighbour, which is within half a unit up to that much as well."""

_TIE_DIGITS = 6
"""A number so near to a tie is one: the last bits of a unit of the data decide no digit."""

_FORMS = {
    "point": "A text of numbers looks like 0.25,1.50;0.27,1.47;",
    "digits": "A text of numbers without points looks like 25,150;27,147;",
}


def checked_format(name: object) -> NumberFormat:
    """A number format by its name; ValueError for any other word."""
    if name == "point" or name == "digits":
        return name
    raise ValueError(f"{name!r} is no number format")


@dataclass(frozen=True)
class Codec:
    """How one number becomes text.

    With 0 decimals there is no point; the format "digits" leaves it out of others, too.
    """

    decimals: int = 2
    n_variables: int = 2
    number_format: NumberFormat = "point"

    def __post_init__(self) -> None:
        if self.decimals < 0 or self.n_variables < 1:
            raise ValueError("decimals must be >= 0 and n_variables >= 1")
        checked_format(self.number_format)

    @property
    def half_unit(self) -> float:
        """The largest error of rounding: half a unit of the last decimal."""
        return 0.5 * 10.0**-self.decimals

    @property
    def fraction_digits(self) -> int:
        """Digits after a point in the text; 0: there is no point."""
        return self.decimals if self.number_format == "point" else 0

    @property
    def usual_number(self) -> str:
        """A number of text units from 1 to 9.99, as most are."""
        return self.format_units(15 * 10**self.decimals // 10)

    def number(self, value: float) -> str:
        """One value as text: fixed decimals, "-" only for what rounds below zero, "?" for NaN."""
        if math.isnan(value):
            return MISSING
        if math.isinf(value):
            raise DataError("an infinite value has no text form", "Replace or drop it.")
        scaled = value * 10.0**self.decimals
        if abs(scaled) < _SAFE_PRODUCT:
            units = round(scaled)
            if abs(abs(scaled - units) - 0.5) < 10.0**-_TIE_DIGITS:
                units = round(round(scaled, _TIE_DIGITS))
        else:  # exact at any size, and slow
            units = round(Fraction(value) * 10**self.decimals)
        return self.format_units(units)

    def format_units(self, units: int) -> str:
        """An integer number of last-decimal units as text: 150 is "1.50" with two decimals."""
        sign = MINUS if units < 0 else ""
        if not self.fraction_digits:
            return f"{sign}{abs(units)}"
        digits = f"{abs(units):0{self.decimals + 1}d}"
        return f"{sign}{digits[: -self.decimals]}{POINT}{digits[-self.decimals :]}"

    def value(self, text: str) -> float:
        """The number that a text stands for; NaN for a missing one."""
        if text == MISSING:
            return math.nan
        if self.number_format == "point":
            return float(text)
        try:  # integers are divided exactly, and rounded once
            return float(int(text) / 10**self.decimals)
        except (OverflowError, ValueError):  # beyond float64, or more digits than int() reads
            return math.inf

    def encode(self, values: FloatArray) -> str:
        """Text of a (T, V) array, already divided by its scale; every step ends with ";"."""
        return "".join(self.encode_steps(values))

    def encode_steps(self, values: FloatArray) -> list[str]:
        """The same as one string a step, for windows that start at step boundaries."""
        if values.ndim != 2 or values.shape[1] != self.n_variables:
            raise ValueError(f"expected shape (T, {self.n_variables}), got {values.shape}")
        rows: list[list[float]] = values.tolist()
        return [VALUE_SEPARATOR.join(self.number(v) for v in row) + STEP_SEPARATOR for row in rows]

    def decode(self, text: str) -> FloatArray:
        """The numbers of a text of whole steps, (T, V).

        Raises:
            DataError: the text holds something that is no number, a number beyond float64, or a
                step of another width.
        """
        *steps, rest = text.split(STEP_SEPARATOR)
        if rest.strip():
            raise self._malformed(len(steps), f"{rest[:60]!r} has no {STEP_SEPARATOR!r} at its end")
        rows = [self._step(step, index) for index, step in enumerate(steps)]
        return np.array(rows, dtype=np.float64).reshape(len(rows), self.n_variables)

    def _step(self, step: str, index: int) -> list[float]:
        fields = [field.strip() for field in step.split(VALUE_SEPARATOR)]
        if len(fields) != self.n_variables:
            has = f"{len(fields)} values, not {self.n_variables}: {step[:60]!r}"
            raise self._malformed(index, has)
        fraction = rf"\.[0-9]{{{self.decimals}}}" if self.fraction_digits else ""
        pattern = re.compile(rf"-?[0-9]+{fraction}|\?")
        is_point = self.number_format == "point"
        kind = f"number with {self.decimals} decimals" if is_point else "whole number"
        for field in fields:
            if not pattern.fullmatch(field):
                raise self._malformed(index, f"{field[:40]!r} is not a {kind}")
        values = [self.value(field) for field in fields]
        if any(map(math.isinf, values)):
            raise self._malformed(index, "a number is beyond float64")
        return values

    def _malformed(self, index: int, what: str) -> DataError:
        return DataError(f"step {index + 1} of the text: {what}", _FORMS[self.number_format])


SYMBOLS = "0123456789.,;-?"
"""Every symbol of the text form; a symbol's index here is its class in the restricted head."""

INDEX = {symbol: i for i, symbol in enumerate(SYMBOLS)}
_PROBES = ("1.23", "0.25,1.50;0.27,1.47;", "10.07,999.80;")
_USABLE = re.compile(
    r"(?=..)(-?[0-9]+[.,;]?|(-?[0-9]+)?\.[0-9]+[,;]?|\?[,;])", re.ASCII | re.DOTALL
)
"""Two symbols or more that stand side by side in a text, with a separator at their end alone: a
token never reaches into two numbers."""

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class TokenAlphabet:
    """The tokens of one vocabulary that texts are written with."""

    ids: tuple[int, ...]
    """One for each of ``tokens``, in their order."""
    start: int | None = None
    """The token that begins every sequence of this model, if it has one."""
    tokens: tuple[str, ...] = tuple(SYMBOLS)
    """`SYMBOLS`, one by one, then any of several; a token's index is its class in the head."""

    def __post_init__(self) -> None:
        if len(self.ids) != len(self.tokens) or self.tokens[: len(SYMBOLS)] != tuple(SYMBOLS):
            raise ValueError("one id for each token, and the symbols first")

    @property
    def beginning(self) -> tuple[int, ...]:
        """Return the beginning of every sequence: the start token, or nothing."""
        return () if self.start is None else (self.start,)

    @classmethod
    def from_tokenizer(
        cls,
        encode: Callable[[str], Sequence[int]],
        start: int | None = None,
        name: str = "model",
        vocabulary: Callable[[], Mapping[str, int]] = dict,
    ) -> TokenAlphabet:
        """Look the symbols up with ``encode`` (text to ids, no special tokens added).

        Args:
            vocabulary: asked for tokens of several symbols, where the tokenizer uses such.

        Raises:
            ModelError: a symbol is not one token, or two are the same.
        """
        ids: list[int] = []
        for symbol in SYMBOLS:
            symbol_ids = list(encode(symbol))
            if len(symbol_ids) != 1:
                raise ModelError(
                    f"{name}: its tokenizer writes {symbol!r} as {len(symbol_ids)} tokens, not one",
                    "lvlora needs a tokenizer that has a token for each digit and separator, as "
                    "those of Qwen2.5, Llama 3, GPT-2, SmolLM2 and Gemma.",
                )
            ids.append(int(symbol_ids[0]))
        if len(set(ids)) != len(ids):
            raise ModelError(
                f"{name}: its tokenizer gives two symbols of {SYMBOLS!r} one token",
                "Use a model that has a token for each digit and separator.",
            )
        alphabet = cls(tuple(ids), start)
        if all([int(i) for i in encode(t)] == alphabet.encode(t).tolist() for t in _PROBES):
            return alphabet
        usable = [(int(i), token) for token, i in vocabulary().items() if _USABLE.fullmatch(token)]
        several = {token: i for i, token in sorted(usable) if list(encode(token)) == [i]}
        return cls((*ids, *several.values()), start, (*SYMBOLS, *several))

    @cached_property
    def _classes(self) -> dict[str, int]:
        return {token: i for i, token in enumerate(self.tokens)}

    @cached_property
    def _lengths(self) -> list[int]:
        return sorted({len(token) for token in self.tokens}, reverse=True)

    def spell(self, text: str) -> list[int]:
        """The indices into ``tokens`` of a text's spelling; KeyError on symbols that have none."""
        if len(self.tokens) == len(SYMBOLS):
            return [INDEX[symbol] for symbol in text]
        ids, at = [], 0
        while at < len(text):
            for length in self._lengths:
                token = self._classes.get(text[at : at + length])
                if token is not None:
                    break
            else:
                raise KeyError(text[at])
            ids.append(token)
            at += length
        return ids

    def count(self, text: str) -> int:
        """Tokens of a text's spelling."""
        return len(text) if len(self.tokens) == len(SYMBOLS) else len(self.spell(text))

    def encode(self, text: str) -> Ids:
        """Token ids of a text of `SYMBOLS`, without the start token; KeyError on others."""
        return np.array([self.ids[i] for i in self.spell(text)], dtype=np.int64)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids; KeyError on an id outside the alphabet."""
        back = dict(zip(self.ids, self.tokens, strict=True))
        return "".join(back[int(i)] for i in ids)

    def classes(self, ids: Ids) -> Ids:
        """Token ids to indices into ``tokens``; -1 where the id is not in the alphabet."""
        order = np.argsort(self.ids)
        ordered = np.asarray(self.ids, dtype=np.int64)[order]
        place = np.minimum(np.searchsorted(ordered, ids), len(ordered) - 1)
        return np.where(ordered[place] == ids, order[place], -1).astype(np.int64)
