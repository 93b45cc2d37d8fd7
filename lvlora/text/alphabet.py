"""The numeric alphabet, and its place in a model's vocabulary.

Ids are looked up symbol by symbol and joined, never taken from a tokenization of the joined text:
byte-pair vocabularies merge pairs such as ",-" that our grammar wants apart. For plain unsigned
text both ways must agree, else the tokenizer is refused (`TokenAlphabet.from_tokenizer`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lvlora.errors import ModelError

SYMBOLS = "0123456789.,;-?"
"""Every symbol of the text form; a symbol's index here is its class in the restricted head."""

DIGITS = slice(0, 10)
INDEX = {symbol: i for i, symbol in enumerate(SYMBOLS)}
_PROBES = ("1.23", "0.25,1.50;0.27,1.47;", "10.07,999.80;")

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class TokenAlphabet:
    """The token ids of the symbols in one vocabulary.

    Attributes:
        ids: one id for each of `SYMBOLS`, in that order.
        start: the token that begins every sequence of this model, if it has one.
    """

    ids: tuple[int, ...]
    start: int | None = None

    @property
    def beginning(self) -> tuple[int, ...]:
        """What every sequence begins with: the start token, or nothing."""
        return () if self.start is None else (self.start,)

    @classmethod
    def from_tokenizer(
        cls, encode: Callable[[str], Sequence[int]], start: int | None = None, name: str = "model"
    ) -> TokenAlphabet:
        """Look the symbols up with ``encode`` (text to ids, no special tokens added).

        Raises:
            ModelError: a symbol is not one token, or the tokenizer merges digits or separators.
        """
        ids: list[int] = []
        for symbol in SYMBOLS:
            found = list(encode(symbol))
            if len(found) != 1:
                raise ModelError(
                    f"{name}: its tokenizer writes {symbol!r} as {len(found)} tokens, not one",
                    "lvlora needs a tokenizer with one token per digit and separator, "
                    "such as Qwen2.5, SmolLM2 or Gemma.",
                )
            ids.append(int(found[0]))
        if len(set(ids)) != len(ids):
            raise ModelError(
                f"{name}: its tokenizer gives two symbols of {SYMBOLS!r} one token",
                "Use a model with one token for each digit and sign.",
            )
        alphabet = cls(tuple(ids), start)
        for text in _PROBES:
            found = [int(i) for i in encode(text)]
            if found != alphabet.encode(text).tolist():
                raise ModelError(
                    f"{name}: its tokenizer merges digits or separators: {text!r} becomes "
                    f"{len(found)} tokens instead of {len(text)}",
                    "Numbers are learned digit by digit here. Choose a model with one token per "
                    "digit: Qwen2.5, Qwen3, SmolLM2, Gemma, or --model bundled.",
                )
        return alphabet

    def encode(self, text: str) -> Ids:
        """Token ids of a text of `SYMBOLS`, without the start token; KeyError on others."""
        return np.array([self.ids[INDEX[c]] for c in text], dtype=np.int64)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids; KeyError on an id outside the alphabet."""
        back = {token: SYMBOLS[i] for i, token in enumerate(self.ids)}
        return "".join(back[int(i)] for i in ids)

    def classes(self, ids: Ids) -> Ids:
        """Token ids to indices into `SYMBOLS`; -1 where the id is not in the alphabet."""
        order = np.argsort(self.ids)
        ordered = np.asarray(self.ids, dtype=np.int64)[order]
        place = np.minimum(np.searchsorted(ordered, ids), len(ordered) - 1)
        return np.where(ordered[place] == ids, order[place], -1).astype(np.int64)
