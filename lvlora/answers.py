"""The base of every record: strict, closed shapes that describe their keys.

An answer is what a verb gives back: Python gets the model, ``--json`` prints it.
"""

from __future__ import annotations

import math
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
    def _given(self, inner: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = inner(self)
        set_keys = {*self.model_fields_set, "schema_version"}
        return {name: value for name, value in values.items() if name in set_keys}


class Answer(Shape):
    """The one object that a command prints with --json."""

    schema_version: Literal[1] = 1
    """Grows when a key changes its meaning or goes away; new keys may come without that."""


Count = Annotated[int, Field(ge=0)]
"""A count, zero or more."""


class Flops(Shape):
    """An exact count in both conventions."""

    executed: Count
    """FLOPs that the program executes, by its matrix products."""
    coursework: Count
    """By the rules of the coursework, which price every elementary operation."""


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
    probe_flops: Flops
    """FLOPs of the measurement; they are charged to no run."""
