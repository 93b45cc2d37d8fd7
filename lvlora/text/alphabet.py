"""The numeric alphabet, and its place in a model's vocabulary.

Vocabularies differ in how they cut numbers: one token a digit (Qwen2.5, SmolLM2), up to three
digits (Llama 3), whatever pairs were frequent (GPT-2), or a number with its separator (the bundled
model). All have one token for each symbol, and some have tokens of several, which a text is
written with wherever they fit: from the left, the longest first. So each text has exactly one
spelling, and its likelihood is that of this spelling.

Ids are looked up and joined, never taken from a tokenization of the joined text: byte-pair
vocabularies merge pairs such as ",-" that our grammar wants apart.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lvlora.errors import ModelError

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
