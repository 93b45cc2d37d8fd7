"""The LLMTIME text form: numbers to text and back, exactly.

A time step is its variables joined by ",", every step ends with ";": ``0.25,1.50;0.27,1.47;``
(Gruver et al. 2023, arXiv:2310.07820, section 3, with fixed decimals and a decimal point as the
seed writes it; they leave the point out, which is the format "digits": ``25,150;27,147;``). A
missing value is ``?``: one character that every tokenizer has as one token.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from lvlora.data.dataset import FloatArray
from lvlora.errors import DataError
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
