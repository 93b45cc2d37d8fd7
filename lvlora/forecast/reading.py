"""How a history is read: its scales, how much of it, and how far ahead at a time.

Each history is read by itself: what else is forecast beside it changes nothing. Known columns
stand first in each step; the model is given them, and never asked. Where the text of all variables
would leave few steps of a history, each variable is read by itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lvlora.data.dataset import FloatArray, Series
from lvlora.errors import DataError
from lvlora.forecast import bounds
from lvlora.forecast.even_steps import EvenSteps, even_steps
from lvlora.forecast.sampling import STREAM_SEPARATOR
from lvlora.settings.base import NumberFormat
from lvlora.text.alphabet import TokenAlphabet
from lvlora.text.codec import VALUE_SEPARATOR, Codec
from lvlora.text.grammar import Grammar
from lvlora.text.scaling import Scale, rounding_losses, scale_for, scale_with_known

_LEAST_CONTEXT = 0.5
"""A long horizon is forecast in pieces that leave at least this share of the window to history."""
_ENOUGH_STEPS = 64
"""Where the text of all variables leaves fewer, each variable is read by itself."""
_SMALL_CUT = 0.1
"""Unless no more than this share is cut: the other variables say more than so few steps."""
_FARTHEST_VIEW = 1.25
"""How far the outermost scales are away; at a factor of two the bundled model's error doubles."""


@dataclass(frozen=True)
class Reading:
    """How one history is read.

    Attributes:
        codec: of whole steps, K known columns and V variables.
        scale: of the same.
        numbers: (T, K + V) its last steps, in text units; given: (H, K) the known columns ahead.
        grammar: of the V variables of its future, however far that is rolled.
        bounds: (V,) least and largest values of the future, in original units.
        steps_at_once: that are forecast before the history is read again with them.
        history_tokens: of the longest text that is read then.
        name: of the random stream; columns: (V,) places of the variables in the series.
        samples: those of the series' samples that are drawn from this reading.
        steps: that it is of, and those to forecast.
    """

    codec: Codec
    scale: Scale
    numbers: FloatArray
    given: FloatArray
    grammar: Grammar
    bounds: tuple[FloatArray, FloatArray]
    steps_at_once: int
    history_tokens: int
    name: str
    columns: tuple[int, ...]
    steps: EvenSteps
    samples: tuple[int, ...] = (0,)

    @property
    def n_known(self) -> int:
        """K."""
        return int(self.given.shape[1])

    @property
    def horizon(self) -> int:
        """H steps to forecast."""
        return len(self.given)

    @property
    def least(self) -> FloatArray:
        """(V,) 0 of the variables that were never negative, -inf of the others."""
        return bounds.least_values(self.steps.history.values)

    @property
    def own_scale(self) -> Scale:
        """Return the scale of the V variables."""
        return self.scale.part(self.n_known)

    @property
    def alike(self) -> tuple[int, int, int, int]:
        """Return the properties that readings decoded together share."""
        return self.steps_at_once, self.horizon, self.n_known, self.codec.n_variables

    def steps_read(self, history: Series) -> int:
        """Steps of the history that are read, though they may have been resampled."""
        if not self.steps.resampled:
            return len(self.numbers)
        first = self.steps.history.time[-len(self.numbers)]
        whole = len(self.numbers) == len(self.steps.history)
        return len(history) if whole else int((history.time >= first).sum())

    def known_texts(self, begin: int = 0, stop: int | None = None) -> list[str]:
        """The known columns of steps ahead as the text has them, each step's before its values."""
        return [
            "".join(self.codec.number(value) + VALUE_SEPARATOR for value in step)
            for step in self.given[begin:stop].tolist()
        ]

    def values(self, numbers: FloatArray) -> FloatArray:
        """Numbers of the future, (..., H, K + V) in text units: (..., H, V) in original units."""
        values = self.scale.invert(numbers)[..., self.n_known :]
        return np.asarray(np.clip(values, *self.bounds))

    def original(self, numbers: FloatArray) -> FloatArray:
        """The same at the wanted times."""
        return self.steps.at_wanted(self.values(numbers))


class StepTooLong(DataError):
    """Not even two steps of a history fit into what a model reads."""


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
    columns: tuple[int, ...] | None = None,
) -> Reading:
    """Plan the reading of one history.

    Args:
        max_positions: tokens that the model can attend to.
        alphabet: what texts are written with.
        number_format: of the text.
        stored: a data set's scale, used where it fits.
        context: use only this many last steps.
        missing: the future may have missing values, and those of the history are read as such.
        factor: the divisors of the scale are multiplied by it.
        columns: places of the variables to read; None for all together.

    Raises:
        StepTooLong: not even two of its steps fit.
        DataError: it is empty; its known columns are not known.
    """
    if len(history) == 0:
        raise DataError(f"series {history.id!r}: the history is empty", "Leave it out.")
    name, n_all = history.id, history.values.shape[1]
    if columns is not None:
        name = STREAM_SEPARATOR.join((name, *map(str, columns)))
        history = replace(history, values=history.values[:, columns])
        stored = None if stored is None else stored.of_columns(columns, n_all)
    steps = even_steps(history, horizon, context, fill=not missing)
    used, horizon = steps.history, steps.horizon
    n_known, n_variables = steps.known.shape[1], used.values.shape[1]
    codec = Codec(decimals, n_known + n_variables, number_format)
    scale = scale_with_known(used, steps.known[: len(used)], stored).times(factor)
    numbers = scale.apply(np.column_stack([steps.known[: len(used)], used.values]))
    known_ahead = (
        scale.part(0, n_known).apply(steps.known[len(used) :])
        if n_known
        else steps.known[len(used) :]
    )
    room = max_positions - 1  # the start token
    # a future step is taken to be as long as the average past one; rotary positions a little
    # beyond the model's range do no harm
    per_step = alphabet.count(codec.encode(numbers)) / len(numbers)
    readable = int(room / per_step)
    if readable < 2:
        raise StepTooLong(
            f"series {history.id!r}: one step of its {codec.n_variables} variables takes "
            f"{per_step:.0f} tokens, and the model reads {max_positions}",
            "Choose fewer variables by --columns, or fewer --decimals.",
        )
    fits = len(numbers) + horizon <= readable
    at_once = horizon if fits else min(horizon, max(1, int(readable * (1 - _LEAST_CONTEXT))))
    history_tokens = room - int(at_once * per_step)
    whole = numbers
    if not fits:
        numbers = last_steps(codec, numbers, history_tokens, alphabet)
    # below an offset a text has a sign, and what it says is seldom negative
    moved = [offset != 0.0 for offset in scale.offsets[n_known:]]
    own = replace(codec, n_variables=n_variables)
    grammar = Grammar.for_history(
        own, own.encode(whole[:, n_known:]), missing=missing, signed=moved
    )
    return Reading(
        codec,
        scale,
        numbers,
        known_ahead,
        grammar,
        bounds.bounds_of_future(used.values, horizon),
        at_once,
        history_tokens,
        name,
        tuple(range(n_all)) if columns is None else columns,
        steps,
    )


def columns_apart(
    history: Series, context: int | None, together: Reading | None
) -> list[tuple[int, ...]]:
    """The variables that are read by themselves, in groups; none where all are read together.

    A variable without a value in the history has nothing to be read from, and stays beside another.

    Args:
        context: use only this many last steps.
        together: the reading of all variables; None where one of its steps is too long.
    """
    n_variables = history.values.shape[1]
    if n_variables == 1:
        return []
    if together is not None:
        n_steps, n_read = len(together.steps.history), len(together.numbers)
        if n_read >= min(_ENOUGH_STEPS, (1 - _SMALL_CUT) * n_steps):
            return []
    has_values = np.isfinite(history.values[-(context or len(history)) :]).any(axis=0)
    groups: list[tuple[int, ...]] = [(column,) for column in np.flatnonzero(has_values).tolist()]
    groups[-1] += tuple(np.flatnonzero(~has_values).tolist())
    return groups


def joint_scale(readings: Sequence[Reading]) -> Scale:
    """The scale of all variables of a history, from the readings of some of them each."""
    pairs = {
        column: pair
        for reading in readings
        for column, pair in zip(reading.columns, reading.own_scale.pairs, strict=True)
    }
    divisors, offsets = zip(*(pairs[column] for column in sorted(pairs)), strict=True)
    rule = readings[0].scale.rule if len(readings) == 1 else "variable"
    return Scale(divisors, rule, offsets)


def view_factors(n: int) -> list[float]:
    """n factors of the divisors: 1 first, the others evenly spread in the logarithm around it.

    The model reads digits, and the same dynamics at another scale are other digits. Its errors at
    one scale are partly of that scale, so the median over several is nearer to the truth than as
    many samples from one (test-time augmentation; figures in docs/notes/log/2026-11-results.md).

    Odd numbers are symmetric; an even one has its odd one out among the smaller numbers.
    """
    if n == 1:
        return [1.0]
    half = n // 2
    steps = sorted(range(-((n - 1) // 2), half + 1), key=abs)
    return [math.exp(k / half * math.log(_FARTHEST_VIEW)) for k in steps]


def last_steps(
    codec: Codec, numbers: FloatArray, tokens: int, alphabet: TokenAlphabet
) -> FloatArray:
    """The last steps whose text has at most so many tokens; at least one."""
    lengths = np.cumsum([alphabet.count(s) for s in reversed(codec.encode_steps(numbers))])
    fitting = int(np.searchsorted(lengths, tokens, side="right"))
    return numbers[-max(1, fitting) :]


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
    if stored is not None and len(stored.divisors) > len(variables):  # known columns first
        stored = stored.part(len(stored.divisors) - len(variables))
    used = [h for h in used if np.isfinite(h.values).any()]
    return (
        rounding_losses(used, [scale_for(h, stored) for h in used], decimals, variables)
        if used
        else ""
    )


def how_cut(
    histories: Sequence[Series],
    planned: Sequence[Sequence[Reading]],
    max_positions: int,
    context: int | None = None,
) -> list[str]:
    """Warnings of histories of which less is read than they have, and of variables read apart.

    Args:
        planned: the readings of each history at one scale.
        max_positions: tokens that the model reads; context: the last steps that were chosen.
    """
    warnings = []
    apart = [h for h, readings in zip(histories, planned, strict=True) if len(readings) > 1]
    if apart:
        warnings.append(
            f"The model reads {max_positions:,} tokens, too few for all variables of "
            f"{_so_many(apart, histories)} at once. It reads each variable by itself, and learns "
            "nothing of one from another. To read fewer together: --columns."
        )
    steps = [
        (min(len(h), context or len(h)), min(reading.steps_read(h) for reading in readings))
        for h, readings in zip(histories, planned, strict=True)
    ]
    cut = [h for h, (whole, read) in zip(histories, steps, strict=True) if read < whole]
    if cut:
        whole, read = min((s for s in steps if s[1] < s[0]), key=lambda s: s[1])
        warnings.append(
            f"The model reads {max_positions:,} tokens: of {_so_many(cut, histories)} it reads "
            f"the last steps only, {read:,} of {whole:,} at least. For more of them choose a "
            "shorter --horizon, fewer --decimals or --columns, or a --model that reads more."
        )
    return warnings


def _so_many(some: Sequence[Series], histories: Sequence[Series]) -> str:
    if len(histories) == 1:
        return "the history"
    return f"{len(some):,} of {len(histories):,} histories"
