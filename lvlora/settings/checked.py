"""Settings of keyword arguments, and sentences about whatever pydantic refuses in them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError

from lvlora.errors import SettingsError, did_you_mean
from lvlora.settings.base import Settings
from lvlora.settings.fields import Field, read_fields

S = TypeVar("S", bound=Settings)


def checked(model: type[S], values: Mapping[str, Any], refused: Collection[str] = ()) -> S:
    """Make settings of a program's keyword arguments.

    Args:
        refused: settings that only the command has.

    Raises:
        SettingsError: with everything that is wrong, each by its name.
    """
    for name in sorted(values.keys() & set(refused)):
        raise SettingsError(
            f"{name}: is an option of the command alone.", "The result has what it would write."
        )
    try:
        return model(**values)
    except ValidationError as error:
        wrong = complaints(error, read_fields(model), lambda field: field.name)
        raise SettingsError(
            "; ".join(wrong), f"The fields of {model.__name__} say what each may be."
        ) from None


def check_count(
    name: str, value: object, *, optional: bool = False, at_most: int | None = None
) -> None:
    """SettingsError unless an argument is a whole number above 0, and at most ``at_most``."""
    if value is None and optional:
        return
    try:
        count = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        count = 0
    if isinstance(value, bool) or count < 1:
        raise SettingsError(
            f"{name}: should be a whole number above 0, got {value!r}", "It counts time steps."
        )
    if at_most is not None and count > at_most:
        raise SettingsError(
            f"{name}: should be at most {at_most:,}, got {value!r}", "It counts time steps."
        )


def check_levels(levels: Sequence[float]) -> None:
    """SettingsError unless all are probabilities of quantiles."""
    for level in levels:
        if not 0 < level < 1:
            raise SettingsError(
                f"quantiles: each should be between 0 and 1, got {level!r}", "For example 0.9."
            )


def complaints(
    error: ValidationError, fields: Sequence[Field], label: Callable[[Field], str]
) -> list[str]:
    """One line for each thing that is wrong, in the order of the help.

    Args:
        error: what pydantic raised.
        fields: the model's fields, in the help's order.
        label: how to name a field, by where its value came from.
    """
    by_name = {field.name: (order, field) for order, field in enumerate(fields)}
    lines: list[tuple[int, str]] = []
    for problem in error.errors(include_url=False):
        location = problem["loc"]
        if location and location[0] in by_name:
            order, field = by_name[str(location[0])]
            part = "".join(f"item {index + 1} " for index in location[1:] if isinstance(index, int))
            colon = "" if problem["type"] == "missing" else ":"
            lines.append((order, f"{label(field)}{colon} {part}{_sentence(problem, field)}"))
        elif problem["type"] == "extra_forbidden":
            name = str(location[0])
            lines.append((-1, f"{name}: is not a setting{did_you_mean(name, by_name)}"))
        else:
            lines.append((len(fields), _sentence(problem, None)))
    return [line for _, line in sorted(lines, key=lambda pair: pair[0])]


def _sentence(problem: Any, field: Field | None) -> str:
    if problem["type"] == "value_error":
        return str(problem["ctx"]["error"])
    if problem["type"] == "missing":
        return "is missing"
    words, value = problem["msg"].removeprefix("Input "), problem["input"]
    choices = field.choices if field is not None and problem["type"] == "literal_error" else ()
    return f"{words}, got {value!r}{did_you_mean(str(value), choices)}"
