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


def _sentence(value: Any, field: Field | None) -> str:
    kind, limits, got = value["type"], value.get("ctx", {}), value.get("input")
    limit_words = {
        "greater_than_equal": ("ge", "should be at least"),
        "greater_than": ("gt", "should be above"),
        "less_than_equal": ("le", "should be at most"),
        "less_than": ("lt", "should be below"),
    }
    if kind in limit_words:
        name, words = limit_words[kind]
        return f"{words} {_number(limits[name])}, got {got}"
    if kind == "literal_error" and field is not None:
        meant = did_you_mean(str(got), field.choices)
        return f"should be {_either(field.choices)}, got {got!r}{meant}"
    if kind == "missing":
        return "is missing"
    if kind == "value_error":
        return str(limits["error"])
    if kind in ("string_too_short", "too_short"):
        return "should not be empty"
    if kind == "finite_number":
        return f"should be a finite number, got {got}"
    wanted = {
        "int": "a whole number",
        "float": "a number",
        "bool": "true or false",
        "string": "text (in quotes)",
        "path": "a path (in quotes)",
        "tuple": "a comma-separated list",
    }.get(kind.partition("_")[0])
    if wanted:
        return f"should be {wanted}, got {_shown(got)}"
    return f"{value['msg']}, got {_shown(got)}"


def _number(limit: float) -> str:
    return f"{limit:g}" if isinstance(limit, float) else str(limit)


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _either(words: Sequence[str]) -> str:
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} or {words[-1]}"
