"""Settings from a program's keywords: made, or one error with all that is wrong with them."""

from __future__ import annotations

import operator
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError

from lvlora.errors import SettingsError
from lvlora.settings.base import Settings
from lvlora.settings.complaints import complaints
from lvlora.settings.fields import read_fields

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
