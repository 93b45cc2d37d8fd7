"""Vocabularies that a model of numbers may have: a token a symbol, two a number, or one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numeric_tokenizer
import torch

_UNITS = tuple(f"{n // 100}.{n % 100:02}" for n in range(1000))
_BEGINNINGS = tuple(f"{n // 10}.{n % 10}" for n in range(100))


@dataclass(frozen=True)
class Vocabulary:
    """Tokens of several symbols.

    Attributes:
        several: what stands beside the symbols.
        fewest, usual: tokens that a number with two decimals and its separator takes.
    """

    several: tuple[str, ...]
    fewest: int
    usual: int


VOCABULARIES = {
    "symbols": Vocabulary((), 4, 5),
    "pairs": Vocabulary((*_BEGINNINGS, *(d + s for d in "0123456789?" for s in ",;")), 2, 2),
    "numbers": Vocabulary(tuple(n + s for n in (*_UNITS, "?") for s in ",;"), 1, 1),
}


def number_line(hidden: int) -> torch.Tensor:
    """(vocabulary, hidden) embeddings of "numbers" to begin with: near numbers have near ones.

    Sines and cosines of periods from 0.04 to 40 in the logarithm, as positions have them (Vaswani
    et al. 2017, section 3.5), and a part that all tokens with the same separator share.
    """
    several = VOCABULARIES["numbers"].several
    first = numeric_tokenizer.START_ID + 1
    weight = torch.randn(first + len(several), hidden) * 0.02
    values = torch.arange(len(_UNITS)) / 100
    periods = torch.logspace(math.log10(0.04), math.log10(40), hidden // 2)
    angles = 2 * math.pi * values[:, None] / periods
    waves = 0.02 * math.sqrt(2) * torch.cat([angles.sin(), angles.cos()], 1)
    symbols = numeric_tokenizer.alphabet().tokens
    for place, separator in enumerate(",;"):
        rows = slice(first + place, first + 2 * len(_UNITS), 2)
        own, shared = weight[rows], weight[symbols.index(separator)]
        weight[rows] = 0.25 * own + waves + 0.5 * shared
    return weight
