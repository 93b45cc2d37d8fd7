"""How a history is read: its scales, how much of it, and how far ahead at a time.

Each history is read by itself: what else is forecast beside it changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lvlora.errors import DataError
from lvlora.series.dataset import FloatArray, Series
from lvlora.settings.base import NumberFormat
from lvlora.text.alphabet import TokenAlphabet
from lvlora.text.codec import Codec
from lvlora.text.grammar import Grammar
from lvlora.text.losses import losses
from lvlora.text.scaling import Scale, of_history, with_own

_FITTING = (0.3, 40.0)
"""A stored scale serves a history whose largest number in the text is in this range."""
_MOST_LOST = 0.1
"""And of which the text loses no more than this share of any variable's spread."""
_LEAST_CONTEXT = 0.5
"""A long horizon is forecast in pieces that leave at least this share of the window to history."""
_FARTHEST_VIEW = 1.25
"""How far the outermost scales are away; at a factor of two the bundled model's error doubles."""


@dataclass(frozen=True)
class Reading:
    """How one history is read.

    Attributes:
        numbers: (T, V) its last steps, in text units.
        grammar: of its future, however far that is rolled.
        least: (V,) what no value of the future is below, in original units; -inf where it may be.
        steps_at_once: that are forecast before the history is read again with them.
        history_tokens: of the longest text that is read then.
        name: of the series; samples: those of its samples that are drawn from this reading.
    """

    codec: Codec
    scale: Scale
    numbers: FloatArray
    grammar: Grammar
    least: FloatArray
    steps_at_once: int
    history_tokens: int
    name: str
    samples: tuple[int, ...] = (0,)

    def original(self, numbers: FloatArray) -> FloatArray:
        """Numbers of the future, (..., V) in text units, to original units."""
        values: FloatArray = np.maximum(self.scale.invert(numbers), self.least)
        return values


def read(
    history: Series,
    horizon: int,
    *,
    decimals: int,
    number_format: NumberFormat = "point",
    max_positions: int,
    alphabet: TokenAlphabet,
    stored: Scale | None = None,
    context: int | None = None,
    missing: bool = False,
    factor: float = 1.0,
) -> Reading:
    """Plan the reading of one history.

    Args:
        max_positions: tokens that the model can attend to.
        alphabet: what texts are written with.
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
    text = codec.encode(numbers)
    per_step = alphabet.count(text) / len(numbers)
    readable = int(room / per_step)
    if readable < 2:
        raise DataError(
            f"series {history.id!r}: one step of its {codec.n_variables} variables takes "
            f"{per_step:.0f} tokens, and the model reads {max_positions}",
            "Choose fewer variables by --columns, or fewer --decimals.",
        )
    fits = len(numbers) + horizon <= readable
    at_once = horizon if fits else min(horizon, max(1, int(readable * (1 - _LEAST_CONTEXT))))
    history_tokens = room - int(at_once * per_step)
    if not fits:
        numbers = last_steps(codec, numbers, history_tokens, alphabet)
    # below an offset a text has a sign, and what it says is seldom negative
    moved = [offset != 0.0 for offset in scale.offsets]
    grammar = Grammar.for_history(codec, text, missing=missing, signed=moved)
    return Reading(
        codec, scale, numbers, grammar, least_values(used), at_once, history_tokens, history.id
    )


def view_factors(n: int) -> list[float]:
    """n factors of the divisors: 1 first, the others evenly spread in the logarithm around it.

    The model reads digits, and the same dynamics at another scale are other digits. Its errors at
    one scale are partly of that scale, so the median over several is nearer to the truth than as
    many samples from one (test-time augmentation; figures in docs/notes/results.md).

    Odd numbers are symmetric; an even one has its odd one out among the smaller numbers.
    """
    if n == 1:
        return [1.0]
    half = n // 2
    steps = sorted(range(-((n - 1) // 2), half + 1), key=abs)
    return [math.exp(k / half * math.log(_FARTHEST_VIEW)) for k in steps]


def least_values(history: Series) -> FloatArray:
    """(V,) 0 of the variables that were never negative, -inf of the others."""
    negative = (history.values < 0).any(axis=0)
    return np.where(negative, -np.inf, 0.0)


def last_steps(
    codec: Codec, numbers: FloatArray, tokens: int, alphabet: TokenAlphabet
) -> FloatArray:
    """The last steps whose text has at most so many tokens; at least one."""
    lengths = np.cumsum([alphabet.count(s) for s in reversed(codec.encode_steps(numbers))])
    fitting = int(np.searchsorted(lengths, tokens, side="right"))
    return numbers[-max(1, fitting) :]


def scale_for(history: Series, stored: Scale | None) -> Scale:
    """The stored scale where it fits the history, else the history's own.

    A variable that the stored one would erase has a scale of its own beside it.
    """
    stored = None if stored is None else stored.of_variables(history.values.shape[1])
    if stored is None:
        return of_history(history)
    numbers = np.abs(stored.apply(history.values))
    top = float(np.max(numbers[np.isfinite(numbers)], initial=0.0))
    if not _FITTING[0] <= top <= _FITTING[1]:
        return of_history(history)
    return with_own(stored, history, _MOST_LOST)


def loss_of_text(
    histories: Sequence[Series],
    stored: Scale | None,
    decimals: int,
    variables: Sequence[str],
    context: int | None = None,
) -> str:
    """A sentence where the text loses much of the histories' variables, else empty.

    Args:
        stored: a model's scale.
        context: only this many last steps are read.
    """
    used = [h.steps(max(0, len(h) - (context or len(h))), len(h)) for h in histories]
    used = [h for h in used if np.isfinite(h.values).any()]
    return losses(used, [scale_for(h, stored) for h in used], decimals, variables) if used else ""


def cut_note(
    histories: Sequence[Series],
    used: Sequence[int],
    max_positions: int,
    context: int | None = None,
) -> str:
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
