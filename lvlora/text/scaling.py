"""The scale that brings values into the range a model reads well; never taken from the future.

Knows: the two rules and what a result must say about them. Does not know: text, tokens.

Rules (LLMTIME takes its scale from the history alone, too: Gruver et al. 2023, arXiv:2310.07820):
- ``dataset``: one scalar for a data set, from the training split alone: the 99.7th percentile of
  |value| becomes 10, so that integer parts of two digits are rare.
- ``history``: for a lone series one scalar from its history: the largest |value| becomes 5, which
  leaves room for futures twice as large.
- ``variable``: as ``history`` for each variable, when their magnitudes differ by more than 20.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from lvlora.errors import DataError
from lvlora.series.dataset import Dataset, FloatArray, Series

Rule = Literal["dataset", "history", "variable", "given"]

DATASET_PERCENTILE = 99.7
DATASET_TARGET = 10.0
HISTORY_TARGET = 5.0
MAGNITUDES_APART = 20.0


@dataclass(frozen=True)
class Scale:
    """Divisors of the variables: number in the text = value / divisor.

    Attributes:
        divisors: (V,) positive floats.
        rule: where they came from.
    """

    divisors: tuple[float, ...]
    rule: Rule

    def apply(self, values: FloatArray) -> FloatArray:
        """Original units (..., V) to text units, in float64."""
        scaled: FloatArray = values / np.asarray(self.divisors)
        return scaled

    def invert(self, values: FloatArray) -> FloatArray:
        """Text units (..., V) to original units."""
        original: FloatArray = values * np.asarray(self.divisors)
        return original

    def times(self, factor: float) -> Scale:
        """The divisors multiplied by a factor; the numbers in the text become so much smaller."""
        return self if factor == 1.0 else replace(
            self, divisors=tuple(factor * d for d in self.divisors)
        )  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """For JSON: {"divisors": […], "rule": …}."""
        return {**asdict(self), "divisors": list(self.divisors)}

    @classmethod
    def from_dict(cls, facts: dict[str, Any]) -> Scale:
        """The inverse of `to_dict`; ValueError on divisors that are not positive and finite."""
        divisors = tuple(float(d) for d in facts["divisors"])
        if not divisors or not all(np.isfinite(d) and d > 0 for d in divisors):
            raise ValueError(f"divisors must be positive numbers, got {facts['divisors']}")
        return cls(divisors, facts["rule"])


def given(divisor: float, n_variables: int) -> Scale:
    """A scale the user chose."""
    return Scale((divisor,) * n_variables, "given")


def of_dataset(train: Dataset) -> Scale:
    """One scalar from the training split.

    Raises:
        DataError: there is no value in it.
    """
    magnitudes = np.concatenate([np.empty(0), *(np.abs(s.values).ravel() for s in train)])
    magnitudes = magnitudes[np.isfinite(magnitudes)]
    if magnitudes.size == 0:
        raise DataError(
            f"{train.source or 'the data'}: every value is missing",
            "At least one value must be known.",
        )
    # where nearly all values are zero the percentile says nothing about the others
    top = float(np.percentile(magnitudes, DATASET_PERCENTILE)) or float(magnitudes.max())
    return Scale((_divisor(top, DATASET_TARGET),) * len(train.variables), "dataset")


def of_history(history: Series) -> Scale:
    """A scale from the given history of a lone series (all of it is known, none is future).

    Raises:
        DataError: there is no value in it.
    """
    magnitudes = np.abs(history.values)
    if not np.isfinite(magnitudes).any():
        raise DataError(
            f"series {history.id!r}: every value is missing",
            "Leave the series out; --series names those to take.",
        )
    tops = np.array([np.max(column[np.isfinite(column)], initial=0.0) for column in magnitudes.T])
    positive = tops[tops > 0]
    if positive.size and positive.max() / MAGNITUDES_APART > positive.min():
        return Scale(tuple(_divisor(float(t), HISTORY_TARGET) for t in tops), "variable")
    divisor = _divisor(float(tops.max()), HISTORY_TARGET)
    return Scale((divisor,) * history.values.shape[1], "history")


def _divisor(top: float, target: float) -> float:
    """What brings ``top`` to ``target``; 1 for zeros, and for what is too small to divide by."""
    return top / target if top > 1e-300 else 1.0
