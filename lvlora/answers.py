"""The base of every record: strict, closed shapes that describe their keys.

An answer is what a verb gives back: Python gets the model, ``--json`` prints it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
)


def _open(schema: dict[str, Any]) -> None:
    """A published schema allows further keys: a later version may add some."""
    schema.pop("additionalProperties", None)


class Shape(BaseModel):
    """Part of an answer. Here an unknown key is an error, so that none goes undescribed.

    A key with a default belongs to an answer only where it was asked for: what nobody gave is not
    printed, while an explicit None is.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        defer_build=True,
        json_schema_extra=_open,
    )

    @model_serializer(mode="wrap")
    def _set_values(self, inner: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = inner(self)
        set_keys = {*self.model_fields_set, "schema_version"}
        return {name: value for name, value in values.items() if name in set_keys}


class Answer(Shape):
    """The one object that a command prints with --json."""

    schema_version: Literal[1] = 1
    """Grows when a key changes its meaning or goes away; new keys may come without that."""


Count = Annotated[int, Field(ge=0, strict=True)]
"""A count, zero or more."""


@dataclass(frozen=True)
class Price:
    """Exact FLOPs of some work in both conventions; prices add, and multiply with whole numbers."""

    # strict parts of strict records would refuse the object that JSON has for it
    __pydantic_config__ = ConfigDict(strict=False, extra="forbid", json_schema_extra=_open)

    executed: Count
    """FLOPs that the program executes, by its matrix products."""
    coursework: Count
    """By the rules of the coursework, which price every elementary operation."""

    def __add__(self, other: Price) -> Price:
        return Price(self.executed + other.executed, self.coursework + other.coursework)

    def __radd__(self, other: int) -> Price:
        # so that sum(prices) works
        return self if other == 0 else NotImplemented

    def __sub__(self, other: Price) -> Price:
        return Price(self.executed - other.executed, self.coursework - other.coursework)

    def __mul__(self, times: int) -> Price:
        return Price(self.executed * times, self.coursework * times)

    __rmul__ = __mul__

    def __or__(self, other: Price) -> Price:
        """Return the larger of the two, convention by convention."""
        return Price(max(self.executed, other.executed), max(self.coursework, other.coursework))

    def __and__(self, other: Price) -> Price:
        """Return the smaller of the two, convention by convention."""
        return Price(min(self.executed, other.executed), min(self.coursework, other.coursework))

    def of(self, convention: str) -> int:
        """Return the count in ``executed`` or ``coursework``."""
        return self.to_dict()[convention]

    def to_dict(self) -> dict[str, int]:
        """Return both counts by their convention, for JSON."""
        return {"executed": self.executed, "coursework": self.coursework}


NOTHING = Price(0, 0)


def _finite_or_none(value: object) -> object:
    if value is None or isinstance(value, bool | int | str):
        return value
    try:
        number = float(value)  # type: ignore[arg-type]  # numpy's are floats, too
    except TypeError:
        return value  # pydantic refuses it by the name of its key
    return number if math.isfinite(number) else None


Number = Annotated[float | None, BeforeValidator(_finite_or_none)]
"""A measured number; None (null) where it is not defined or not finite."""


class Estimate(Shape):
    """An estimate of the whole from a few measured steps on this machine."""

    seconds: float
    """From start to end."""
    peak_bytes: int
    """Memory at most."""
    probe_flops: Price
    """FLOPs of the measurement; they are charged to no run."""
