"""How a history is read: its scale, how much of it, and how far ahead at a time.

Knows: scales, texts, how many tokens a model can attend to. Does not know: models' calls, samples.
Each history is read by itself: what else is forecast beside it changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lvlora.errors import DataError
from lvlora.series.dataset import FloatArray, Series
from lvlora.settings.base import NumberFormat
from lvlora.text.codec import Codec
from lvlora.text.grammar import Grammar
from lvlora.text.scaling import Scale, of_history

_FITTING = (0.3, 40.0)
"""A stored scale serves a history whose largest number in the text is in this range."""
_LEAST_CONTEXT = 0.5
"""A long horizon is forecast in pieces that leave at least this share of the window to history."""


@dataclass(frozen=True)
class Reading:
    """How one history is read.

    Attributes:
        numbers: (T, V) its last steps, in text units.
        grammar: of its future, however far that is rolled.
        piece: steps that are forecast before the history is read again with them.
        history_tokens: the longest text that is read then.
        name: of the series; samples: those of its samples that are drawn from this reading.
    """

    codec: Codec
    scale: Scale
    numbers: FloatArray
    grammar: Grammar
    piece: int
    history_tokens: int
    name: str
    samples: tuple[int, ...] = (0,)


def read(
    history: Series,
    horizon: int,
    *,
    decimals: int,
    number_format: NumberFormat = "point",
    max_positions: int,
    stored: Scale | None = None,
    context: int | None = None,
    missing: bool = False,
    factor: float = 1.0,
) -> Reading:
    """Plan the reading of one history.

    Args:
        max_positions: tokens that the model can attend to.
        number_format: of the text.
        stored: a data set's scale, used where it fits.
        context: use only this many last steps.
        missing: the future may have missing values.
        factor: the divisors of the scale are multiplied by it.

    Raises:
        DataError: it is empty, or not even two of its steps fit.
    """
    if len(history) == 0:
        raise DataError(f"series {history.id!r}: the history is empty", "Leave it out.")
    codec = Codec(decimals, history.values.shape[1], number_format)
    used = history.steps(max(0, len(history) - (context or len(history))), len(history))
    scale = scale_for(used, stored).times(factor)
    numbers = scale.apply(used.values)
    room = max_positions - 1  # the start token
    # a future step is taken to be as long as the average past one; rotary positions a little
    # beyond the model's range do no harm
    per_step = len(codec.encode(numbers)) / len(numbers)
    readable = int(room / per_step)
    if readable < 2:
        raise DataError(
            f"series {history.id!r}: one step of its {codec.n_variables} variables takes "
            f"{per_step:.0f} tokens, and the model reads {max_positions}",
            "Choose fewer variables by --columns, or fewer --decimals.",
        )
    fits = len(numbers) + horizon <= readable
    piece = horizon if fits else min(horizon, max(1, int(readable * (1 - _LEAST_CONTEXT))))
    history_tokens = room - int(piece * per_step)
    if not fits:
        numbers = last_steps(codec, numbers, history_tokens)
    grammar = Grammar.for_history(codec, codec.encode(numbers), missing=missing)
    return Reading(codec, scale, numbers, grammar, piece, history_tokens, history.id)


def last_steps(codec: Codec, numbers: FloatArray, tokens: int) -> FloatArray:
    """The last steps whose text is at most so long; at least one."""
    lengths = np.cumsum([len(s) for s in reversed(codec.encode_steps(numbers))])
    fitting = int(np.searchsorted(lengths, tokens, side="right"))
    return numbers[-max(1, fitting) :]


def joint_grammar(readings: Sequence[Reading]) -> Grammar:
    """One that allows every number that the grammars of these readings allow."""
    digits = max(r.grammar.max_integer_digits for r in readings)
    signed = any(r.grammar.signed for r in readings)
    return replace(readings[0].grammar, signed=signed, max_integer_digits=digits)


def scale_for(history: Series, stored: Scale | None) -> Scale:
    """The stored scale where it fits the history, else the history's own."""
    if stored is None:
        return of_history(history)
    if len(stored.divisors) != history.values.shape[1]:
        if len(set(stored.divisors)) > 1:
            return of_history(history)
        stored = Scale(stored.divisors[:1] * history.values.shape[1], stored.rule)
    numbers = np.abs(stored.apply(history.values))
    top = float(np.max(numbers[np.isfinite(numbers)], initial=0.0))
    return stored if _FITTING[0] <= top <= _FITTING[1] else of_history(history)


def cut_note(
    histories: Sequence[Series], used: Sequence[int], max_positions: int,
    context: int | None = None,
) -> str:  # fmt: skip
    """A sentence when histories were cut from the left further than asked, else empty.

    Args:
        used: steps of each history that were read.
        context: the last steps that were asked for.
    """
    cut = [
        (len(h), n)
        for h, n in zip(histories, used, strict=True)
        if n < min(len(h), context or len(h))
    ]
    if not cut:
        return ""
    before, after = cut[0]
    return (
        f"{len(cut)} of {len(histories)} histories were cut from the left "
        f"({before} to the last {after} steps for the first): the model reads {max_positions} "
        "tokens"
    )
