"""How a history is read: at even times, gaps bridged; its text, its scale, how far ahead at a time.

The text has no times. So a history at uneven ones is interpolated to even ones, its future forecast
there, and read off at the wanted times: three to six times as near as taking its steps for
consecutive or telling their lengths (docs/notes/log/2026-11-results.md).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lvlora.data.dataset import FloatArray, Series
from lvlora.data.gaps import are_even, at_times, n_short, note_on_filled, usual_step, without_short
from lvlora.data.known import known_ahead
from lvlora.forecast.forecaster import times_ahead
from lvlora.text.codec import VALUE_SEPARATOR, Codec, TokenAlphabet
from lvlora.text.grammar import Grammar
from lvlora.text.scaling import Scale, rounding_losses, scale_for

_EVEN = 0.05
"""Share of a step by which even steps may differ from the usual one."""
_MOST_STEPS = 4
"""Even steps for each uneven one, at most."""
_FARTHEST_VIEW = 1.25
"""How far the outermost scales are away; at a factor of two the bundled model's error doubles."""


@dataclass(frozen=True)
class EvenSteps:
    """A history and the steps to forecast, all at even times."""

    history: Series
    """Its last steps, (T, V) values."""
    known: FloatArray
    """(T + H, K) known columns of these steps and of those to forecast."""
    time: FloatArray
    """(H,) times of the steps to forecast."""
    wanted: FloatArray
    """(W,) times of the forecast; ``time`` where nothing was resampled."""

    @property
    def resampled(self) -> bool:
        """Whether the steps are others than those of the forecast."""
        return self.time is not self.wanted

    def at_wanted(self, values: FloatArray) -> FloatArray:
        """(..., H, V) futures at the wanted times, (..., W, V).

        By monotone cubics from the last step of the history on, where that is known.
        """
        if not self.resampled:
            return values
        from scipy.interpolate import PchipInterpolator

        shape = (*values.shape[:-2], 1, values.shape[-1])
        last = np.broadcast_to(self.history.values[-1], shape)
        last = np.where(np.isnan(last), values[..., :1, :], last)
        path = np.concatenate([last, values], axis=-2)
        time = np.concatenate([self.history.time[-1:], self.time])
        inside = np.clip(self.wanted, time[0], time[-1])
        return np.asarray(PchipInterpolator(time, path, axis=-2)(inside))


def even_steps(history: Series, horizon: int, context: int | None = None) -> EvenSteps:
    """Return a history, or its last steps, and so many steps ahead as a model reads them.

    Raises:
        DataError: a known column is not known at every step; dates beyond the year 9999.
    """
    wanted = times_ahead(history, horizon)
    time = np.concatenate([history.time, wanted])
    known = known_ahead(history, horizon)
    past = history.last_steps(context)
    start = len(history) - len(past)
    if len(past) > 1 and not are_even(time[start:], _EVEN):
        return _resampled(past, known[start:], wanted)
    return EvenSteps(without_short(past), known[start:], wanted, wanted)


def _resampled(history: Series, known: FloatArray, wanted: FloatArray) -> EvenSteps:
    """The history at even steps that end with it, and as many ahead as lead to the wanted times."""
    last, span = history.time[-1], history.time[-1] - history.time[0]
    ahead = float(wanted[-1] - last) if len(wanted) else 0.0
    step = max(
        usual_step(history.time),
        span / (_MOST_STEPS * len(history)),
        ahead / (_MOST_STEPS * max(1, len(wanted))),
    )
    past = last - step * np.arange(int(span / step + 1e-9), -1, -1)
    future = last + step * np.arange(1, max(1, math.ceil(ahead / step - 1e-9)) + 1)
    values = np.column_stack([at_times(history.time, v, past) for v in history.values.T])
    all_times = np.concatenate([history.time, wanted])
    even = np.concatenate([past, future])
    columns = [at_times(all_times, k, np.minimum(even, all_times[-1])) for k in known.T]
    return EvenSteps(
        replace(history, time=past, values=values, absent=None, known=None, ahead=None),
        np.column_stack(columns) if columns else np.empty((len(even), 0)),
        future,
        wanted,
    )


@dataclass(frozen=True)
class Reading:
    """How one history is read."""

    codec: Codec
    """Of whole steps: K known columns and V variables."""
    scale: Scale
    """Of the same."""
    numbers: FloatArray
    """(T, K + V) its last steps, in text units."""
    known_ahead: FloatArray
    """(H, K) the known columns ahead."""
    grammar: Grammar
    """Of the V variables of its future, however far that is rolled."""
    bounds: tuple[FloatArray, FloatArray]
    """(V,) least and largest values of the future, in original units."""
    steps_at_once: int
    """Steps that are forecast before the history is read again with them."""
    history_tokens: int
    """Of the longest text that is read then."""
    name: str
    """Of the random stream."""
    columns: tuple[int, ...]
    """(V,) places of the variables in the series."""
    steps: EvenSteps
    samples: tuple[int, ...] = (0,)
    """Those of the series' samples that are drawn from this reading."""

    @property
    def n_known(self) -> int:
        """K."""
        return int(self.known_ahead.shape[1])

    @property
    def horizon(self) -> int:
        """H steps to forecast."""
        return len(self.known_ahead)

    @property
    def own_scale(self) -> Scale:
        """The scale of the V variables."""
        return self.scale.part(self.n_known)

    @property
    def alike(self) -> tuple[int, int, int, int]:
        """The properties that readings decoded together share."""
        return self.steps_at_once, self.horizon, self.n_known, self.codec.n_variables

    def steps_read(self, history: Series) -> int:
        """Steps of the history that are read, though they may have been resampled."""
        if not self.steps.resampled:
            return len(self.numbers)
        first = self.steps.history.time[-len(self.numbers)]
        reads_all = len(self.numbers) == len(self.steps.history)
        return len(history) if reads_all else int((history.time >= first).sum())

    def known_texts(self, begin: int = 0, stop: int | None = None) -> list[str]:
        """The known columns of steps ahead as the text has them, each step's before its values."""
        return [
            "".join(self.codec.number(value) + VALUE_SEPARATOR for value in step)
            for step in self.known_ahead[begin:stop].tolist()
        ]

    def known_tokens(self, alphabet: TokenAlphabet) -> int:
        """The most tokens of a step's known columns."""
        return max((alphabet.count(text) for text in self.known_texts()), default=0)

    def original(self, numbers: FloatArray) -> FloatArray:
        """Numbers of the future, (..., H, K + V) in text units, as values at the wanted times."""
        values = self.scale.invert(numbers)[..., self.n_known :]
        return self.steps.at_wanted(np.asarray(np.clip(values, *self.bounds)))


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


def notes_on_filled(
    histories: Sequence[Series], horizon: int, context: int | None = None
) -> Iterator[str]:
    """Sentences about the values that are read in place of the histories' own, if any."""
    read = [h.last_steps(context) for h in histories]
    even = [h for h in read if are_even(np.concatenate([h.time, times_ahead(h, horizon)]), _EVEN)]
    if len(even) < len(read):
        yield (
            "Time steps are uneven: the model reads even ones, between which the data are "
            "interpolated, and its forecast is read off at the wanted times."
        )
    if n_filled := n_short(even):
        yield note_on_filled(n_filled, "the model reads")


def loss_of_text(
    histories: Sequence[Series],
    stored: Scale | None,
    decimals: int,
    variables: Sequence[str],
    context: int | None = None,
) -> str:
    """A warning where the text loses much of the histories' variables, else nothing.

    Args:
        stored: a model's scale; context: only this many last steps are read.
    """
    if stored is not None and len(stored.divisors) > len(variables):  # known columns first
        stored = stored.part(len(stored.divisors) - len(variables))
    used = [h.last_steps(context) for h in histories]
    used = [h for h in used if np.isfinite(h.values).any()]
    scales = [scale_for(h, stored) for h in used]
    return rounding_losses(used, scales, decimals, variables) if used else ""


def how_cut(
    histories: Sequence[Series],
    planned: Sequence[Sequence[Reading]],
    max_positions: int,
    context: int | None = None,
) -> Iterator[str]:
    """Warnings of variables that are read apart, and of histories that are read in part.

    Args:
        planned: the readings of each history at one scale.
        max_positions: tokens that the model reads; context: the last steps that were chosen.
    """
    n = len(histories)
    n_apart = sum(len(readings) > 1 for readings in planned)
    if n_apart:
        yield (
            f"The model reads {max_positions:,} tokens, too few for all variables of {n_apart:,} "
            f"of {n:,} histories at once. It reads each variable by itself, and learns nothing of "
            "one from another. To read fewer together: --columns."
        )
    cut = []
    for history, readings in zip(histories, planned, strict=True):
        read = min(reading.steps_read(history) for reading in readings)
        n_steps = min(len(history), context or len(history))
        if read < n_steps:
            cut.append((read, n_steps))
    if cut:
        read, n_steps = min(cut)
        yield (
            f"The model reads {max_positions:,} tokens: of {len(cut):,} of {n:,} histories it "
            f"reads the last steps only, {read:,} of {n_steps:,} at least. For more of them choose "
            "a shorter --horizon, fewer --decimals or --columns, or a --model that reads more."
        )


def least_values(values: FloatArray) -> FloatArray:
    """(V,) 0 of the variables that were never negative in (T, V), -inf of the others."""
    return np.where((values < 0).any(axis=0), -np.inf, 0.0)


def bounds_of_future(values: FloatArray, horizon: int) -> tuple[FloatArray, FloatArray]:
    """(V,) least and largest values of H steps after a history (T, V).

    A future leaves the range of its history by no more than that range once more, and by more in
    proportion where the horizon is longer than the history. Where the history went on to new
    records in its second half, as a trend does, the future may go on as fast; positive values that
    never paused in growing may grow by the same factor. A constant stays what it is.

    Variables without a value have no bounds. A text may grow by two digits, so that a draw can be a
    hundred times the history's largest value: a few of them make mean, quantiles and CRPS useless.
    """
    highest = np.array([_highest(column[np.isfinite(column)], horizon) for column in values.T])
    lowest = np.array([-_highest(-column[np.isfinite(column)], horizon) for column in values.T])
    return np.maximum(lowest, least_values(values)), highest


def _highest(known: FloatArray, horizon: int) -> float:
    """The largest value that may follow (T,) known ones."""
    if not len(known):
        return np.inf
    top = float(known.max())
    with np.errstate(over="ignore"):  # beyond float64 there is no bound
        margin = (top - float(known.min())) * max(1.0, horizon / max(1, len(known) - 1))
        records = np.maximum.accumulate(known)[len(known) // 2 :]
        lag = min(horizon, len(records) - 1)
        if lag < 1:
            return top + margin
        before, after = records[:-lag], records[lag:]
        highest = top + float((after - before).max()) * horizon / lag
        if known.min() > 0:
            growth = np.float64((after / before).min()) ** (horizon / lag)
            highest = max(highest, float(top * growth))
        return float(highest + margin)
