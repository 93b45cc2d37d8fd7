"""Settings from a program's keywords: made, or one error with everything that is wrong with them.

Knows: what pydantic says of a value. Does not know: options, files, terminals; the command line has
its own words for the same, which name the option (`cli/complaints.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from lvlora.errors import SettingsError, closest
from lvlora.settings.base import Settings

S = TypeVar("S", bound=Settings)


def checked(model: type[S], values: Mapping[str, Any]) -> S:
    """Settings, or one error with everything that is wrong with them."""
    try:
        return model(**values)
    except ValidationError as error:
        wrong = []
        for found in error.errors(include_url=False):
            name = str(found["loc"][0]) if found["loc"] else ""
            if found["type"] == "extra_forbidden":
                near = closest(name, model.model_fields)
                meant = f"; did you mean {near}?" if near else ""
                wrong.append(f"{name}: is not a setting{meant}")
            else:
                text = found["msg"].removeprefix("Value error, ")
                wrong.append(f"{name}: {text[:1].lower()}{text[1:]}, got {found['input']!r}")
        raise SettingsError(
            "; ".join(wrong), f"The fields of {model.__name__} say what each may be."
        ) from None
