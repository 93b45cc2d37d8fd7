"""The scale that brings values into the range a model reads well; never taken from the future.

Each variable has a divisor, and an offset where it needs one. The rules (LLMTIME takes its scale
from the history alone, too: Gruver et al. 2023, arXiv:2310.07820):

- ``history``: of a lone series, from its history: the largest |value| becomes 5, which leaves room
  for futures twice as large.
- ``dataset``: of a data set, from the training part alone: the 99.7th percentile of |value|
  becomes 10, so that integer parts of two digits are rare. It is stored with what is trained on it.

Variables of like size share a divisor, because how large they are beside each other is something
that a model can use, and what the bundled one was made with: its error on predators and prey is
twice as large when each has a divisor of its own (docs/notes/log/2026-11-results.md). They share
one only as long as the text, with its usual two decimals, keeps their spread: a variable of which
it would lose more than 3 % has its own (``variable``), or shares one with others that are as small.
Where its own loses more than 1 % because the level is far from the spread (37 ± 0.3), an offset is
subtracted first, and what is written is the variable's course between about a third of the target
and all of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import ConfigDict, Field, FiniteFloat, TypeAdapter

from lvlora import numbers
from lvlora.data.dataset import Dataset, FloatArray, Series
from lvlora.errors import DataError

Rule = Literal["dataset", "history", "variable"]

RULES = 2
"""Version of the rules: what was measured with others is told apart (calibrations)."""
DATASET_PERCENTILE = 99.7
DATASET_TARGET = 10.0
HISTORY_TARGET = 5.0
MOST_LOST = 0.01
"""Share of a variable's spread that its text may lose: the standard deviation of the rounding."""
_MOST_LOST_SHARED = 0.03
"""The same where variables share a divisor. At 1 % a tenth of the coursework's histories would be
parted, and those are forecast worse for it."""
_FITTING = (0.3, 40.0)
"""A stored scale serves a history whose largest number in the text is in this range."""
_MOST_LOST_STORED = 0.1
"""And of which the text loses no more than this share of any variable's spread."""

Divisor = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_MOST_VARIABLES = 100_000

_DECIMALS = 2
"""Decimals that the rules count with: scales do not depend on how a text is written."""
_NOTHING = 1e-305
"""A smaller size is too small to divide by, and taken for zero."""
_CONSTANT = 1e-15
"""A spread below this share of the largest |value| is rounding of float64, not a course."""
_NARROW = 0.5
"""An offset must make the divisor at least so much smaller."""


@dataclass(frozen=True)
class Scale:
    """A divisor and an offset for each variable: number in the text = (value - offset) / divisor.

    The rule ``variable`` is ``history`` with several divisors. Without offsets they are zeros.
    """

    # strict parts of strict records would refuse the object that JSON has for it
    __pydantic_config__ = ConfigDict(strict=False, extra="ignore")

    divisors: Annotated[tuple[Divisor, ...], Field(min_length=1, max_length=_MOST_VARIABLES)]
    rule: Rule
    offsets: Annotated[tuple[FiniteFloat, ...], Field(max_length=_MOST_VARIABLES)] = ()

    def __post_init__(self) -> None:
        if not self.offsets:
            object.__setattr__(self, "offsets", (0.0,) * len(self.divisors))
        if len(self.offsets) != len(self.divisors):
            raise ValueError("one offset for each divisor")

    def apply(self, values: FloatArray) -> FloatArray:
        """Original units (..., V) to text units, in float64."""
        return np.asarray((values - np.asarray(self.offsets)) / np.asarray(self.divisors))

    def invert(self, values: FloatArray) -> FloatArray:
        """Text units (..., V) to original units."""
        return np.asarray(values * np.asarray(self.divisors) + np.asarray(self.offsets))

    @classmethod
    def of_pairs(cls, pairs: Iterable[tuple[float, float]], rule: Rule) -> Scale:
        """Return the scale of a divisor and an offset for each variable."""
        divisors, offsets = zip(*pairs, strict=True)
        return cls(divisors, rule, offsets)

    @property
    def pairs(self) -> list[tuple[float, float]]:
        """Divisor and offset of each variable."""
        return list(zip(self.divisors, self.offsets, strict=True))

    def part(self, begin: int, stop: int | None = None) -> Scale:
        """Return the scale of some of the variables."""
        return replace(self, divisors=self.divisors[begin:stop], offsets=self.offsets[begin:stop])

    def of_columns(self, columns: Sequence[int], n_variables: int) -> Scale:
        """Return the scale of some of V variables and of the known columns before them, if any."""
        n_known = len(self.divisors) - n_variables
        if n_known < 0:  # one for all variables, or for others
            return self
        pairs = self.pairs[:n_known] + [self.pairs[n_known + column] for column in columns]
        return Scale.of_pairs(pairs, self.rule)

    def times(self, factor: float) -> Scale:
        """The divisors multiplied by a factor; the numbers in the text become so much smaller."""
        return replace(self, divisors=tuple(factor * d for d in self.divisors))

    def of_variables(self, n_variables: int) -> Scale | None:
        """The same for so many variables; None where it has several divisors for others."""
        if len(self.divisors) == n_variables:
            return self
        if len(set(self.pairs)) > 1:
            return None
        return Scale.of_pairs(self.pairs[:1] * n_variables, self.rule)

    def to_dict(self) -> dict[str, Any]:
        """For JSON: {"divisors": […], "rule": …, "offsets": […]}."""
        return {**asdict(self), "divisors": list(self.divisors), "offsets": list(self.offsets)}

    @classmethod
    def from_dict(cls, facts: dict[str, Any]) -> Scale:
        """The inverse of `to_dict`; ValueError where it is none."""
        return TypeAdapter(cls).validate_python(facts)


def _joined(known: Sequence[Scale], scale: Scale) -> Scale:
    """Return scales of known columns before that of the variables, whose rule the result has."""
    return Scale.of_pairs([pair for one in (*known, scale) for pair in one.pairs], scale.rule)


def of_dataset(train: Dataset) -> Scale:
    """From the training part: of its known columns, each its own, and of its variables.

    Raises:
        DataError: there is no value in it.
    """
    parts = [s.known for s in train if s.known is not None]
    columns = [[part[:, [k]] for part in parts] for k in range(parts[0].shape[1] if parts else 0)]
    of_each = [_scale(v, "dataset") for v in (*columns, [s.values for s in train])]
    *known, scale = of_each
    if scale is None:
        raise DataError(
            f"{train.source or 'the data'}: every value is missing",
            "At least one value must be known.",
        )
    return _joined([one or Scale((1.0,), "dataset") for one in known], scale)


def sizes_of(dataset: Dataset) -> tuple[float, ...]:
    """(V,) the 99.7th percentile of |value| of each variable; 0 for one without a value."""
    return tuple(size.top for size in _sizes([s.values for s in dataset], DATASET_PERCENTILE))


def of_history(history: Series) -> Scale:
    """From the given history of a lone series (all of it is known, none is future).

    Raises:
        DataError: there is no value in it.
    """
    scale = _scale([history.values], "history")
    if scale is None:
        raise DataError(
            f"series {history.id!r}: every value is missing",
            "Leave the series out; --series names those to take.",
        )
    return scale


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
    fits = lost([history.values], [stored], _DECIMALS) <= _MOST_LOST_STORED
    if fits.all():
        return stored
    choices = zip(fits, stored.pairs, of_history(history).pairs, strict=True)
    return Scale.of_pairs([a if fit else b for fit, a, b in choices], "variable")


def scale_with_known(history: Series, known: FloatArray, stored: Scale | None) -> Scale:
    """Return the scale of known columns and variables; known columns change no other.

    Args:
        known: (T, K) beside the history; stored: of both, or of the variables alone.
    """
    n_known, n_variables = known.shape[1], history.values.shape[1]
    of_known: list[Scale | None] = [None] * n_known
    if n_known and stored is not None and len(stored.divisors) == n_known + n_variables:
        of_known = [stored.part(k, k + 1) for k in range(n_known)]
        stored = stored.part(n_known)
    scale = scale_for(history, stored)
    parts = [
        scale_for(replace(history, values=column[:, None]), of_one)
        if np.isfinite(column).any()
        else of_one or Scale((1.0,), "history")
        for column, of_one in zip(known.T, of_known, strict=True)
    ]
    return _joined(parts, scale)


def of_beginning(series: Series, n_steps: int) -> Scale:
    """The scale of a history of its first steps; of all of it where these have no value."""
    known = np.empty((len(series), 0)) if series.known is None else series.known
    for part in (series.steps(0, n_steps), series):
        if np.isfinite(part.values).any():
            return scale_with_known(part, known[: len(part)], None)
    return Scale((1.0,) * (known.shape[1] + series.values.shape[1]), "history")


def lost(values: Sequence[FloatArray], scales: Sequence[Scale], decimals: int) -> FloatArray:
    """How much of each variable its text loses: sd of the rounding / sd of the values.

    Both are over all series together, each series' own level left out. A constant is measured by
    its size; zeros and variables without a value lose nothing.

    Args:
        values: of n series, (T, V) each; scales: of each series.
        decimals: of each number in the text.

    Returns:
        (V,) shares, 0.01 for 1 %.
    """
    sizes = _sizes(values, 100.0)
    unit = np.array([size.unit for size in sizes])
    with np.errstate(over="ignore"):  # what is infinite is bounded
        squares = [
            np.isfinite(v).sum(axis=0) * np.minimum(np.asarray(s.divisors) / unit, 1e150) ** 2
            for v, s in zip(values, scales, strict=True)
        ]
    known = np.maximum(sum(np.isfinite(v).sum(axis=0) for v in values), 1)
    typical = np.sqrt(np.sum(squares, axis=0) / known)
    return _lost(typical, np.array([size.spread for size in sizes]) / unit, decimals)


class _Size(NamedTuple):
    """Percentiles of |value| and of both ends of a variable, its spread, and its largest |value|.

    All are zeros without a value, but for the unit, 1.
    """

    top: float
    low: float
    high: float
    spread: float
    unit: float


def _sizes(parts: Sequence[FloatArray], percentile: float) -> list[_Size]:
    """Return the sizes of each variable of series (T, V)."""
    variables = range(parts[0].shape[1] if parts else 0)
    return [_size([p[:, v][np.isfinite(p[:, v])] for p in parts], percentile) for v in variables]


def _size(columns: Sequence[FloatArray], percentile: float) -> _Size:
    """Return the sizes of a variable from its values in each series."""
    values = np.concatenate(columns)
    unit = float(np.abs(values).max(initial=0.0))
    if unit <= _NOTHING:
        return _Size(0.0, 0.0, 0.0, 0.0, 1.0)
    top = _percentile(np.abs(values), percentile)
    low, high = np.percentile(values, [(100 - percentile) / 2, (100 + percentile) / 2])
    # in units of the largest: squares of 1e200, and their differences, are beyond float64
    squares = sum(float(((c / unit - (c / unit).mean()) ** 2).sum()) for c in columns if len(c))
    share = float(np.sqrt(squares / values.size))
    return _Size(top, float(low), float(high), unit * share if share > _CONSTANT else top, unit)


def _percentile(magnitudes: FloatArray, percentile: float) -> float:
    # where nearly all values are zero the percentile says nothing about the others
    return float(np.percentile(magnitudes, percentile)) or float(magnitudes.max())


def _scale(parts: Sequence[FloatArray], rule: Literal["dataset", "history"]) -> Scale | None:
    """One divisor for all variables of like size, from the largest down; None without values."""
    percentile = DATASET_PERCENTILE if rule == "dataset" else 100.0
    target = DATASET_TARGET if rule == "dataset" else HISTORY_TARGET
    known = [np.abs(p[np.isfinite(p)]) for p in parts]
    if not any(map(len, known)):
        return None
    sizes = _sizes(parts, percentile)
    pairs: dict[int, tuple[float, float]] = {}
    remaining = list(range(len(sizes)))
    while remaining:
        largest = max(remaining, key=lambda v: sizes[v].top)
        top = sizes[largest].top
        if not pairs:
            top = _percentile(np.concatenate(known), percentile)
        shared = _divisor(top, target)
        group = [v for v in remaining if _keeps(shared, sizes[v], _MOST_LOST_SHARED)]
        if largest in group and (len(group) > 1 or _keeps(shared, sizes[largest], MOST_LOST)):
            pairs |= dict.fromkeys(group, (shared, 0.0))
        else:
            pairs[largest] = _alone(sizes[largest], target)
        remaining = [v for v in remaining if v not in pairs]
    scale = Scale.of_pairs([pairs[v] for v in range(len(sizes))], rule)
    is_parted = rule == "history" and (len(set(scale.divisors)) > 1 or any(scale.offsets))
    return replace(scale, rule="variable") if is_parted else scale


def _alone(size: _Size, target: float) -> tuple[float, float]:
    """Divisor and offset of a variable that shares none."""
    plain = _divisor(size.top, target)
    if _keeps(plain, size, MOST_LOST):
        return plain, 0.0
    width = size.high - size.low
    # its lowest value becomes a third of the target, its highest the target
    divisor = 1.5 * width / target
    if not _NOTHING < divisor < _NARROW * plain:
        return plain, 0.0
    return divisor, size.low - 0.5 * width


def _keeps(divisor: float, size: _Size, most_lost: float) -> bool:
    """Whether the text loses no more of a variable's spread with this divisor."""
    share = _lost(divisor / size.unit, size.spread / size.unit, _DECIMALS)
    return bool(share <= most_lost)


def _lost(divisors: Any, spread: Any, decimals: int) -> FloatArray:
    """Uniform rounding errors have a twelfth of the squared unit as their variance."""
    rounding = divisors * 10.0**-decimals / np.sqrt(12)
    varies = np.asarray(spread) > 0
    return np.where(varies, rounding / np.where(varies, spread, 1.0), 0.0)


def _divisor(top: float, target: float) -> float:
    """Return the divisor that brings ``top`` to ``target``; 1 for zeros and for tiny sizes."""
    return top / target if top > _NOTHING else 1.0


def rounding_losses(
    series: Sequence[Series], scales: Sequence[Scale], decimals: int, variables: Sequence[str]
) -> str:
    """A sentence where the text of series at these scales loses more than 1 % of a spread."""
    shares = lost([s.values for s in series], scales, decimals)
    return rounding_sentence(shares, decimals, variables)


def rounding_sentence(shares: Iterable[float], decimals: int, variables: Sequence[str]) -> str:
    """The same from the share of each variable's spread that is lost."""
    much = [
        f"{numbers.share(float(share))} of the spread of {name}"
        for name, share in zip(variables, shares, strict=True)
        if share > MOST_LOST
    ]
    if not much:
        return ""
    words = [*much[:3], *([f"{len(much) - 3} more"] if len(much) > 3 else [])]
    listed = " and ".join([*([", ".join(words[:-1])] if words[1:] else []), words[-1]])
    decimal = "decimal" if decimals == 1 else "decimals"
    return f"With {decimals} {decimal} the text loses {listed} by rounding."
