"""The fields of a settings model for people: their names, kinds and limits, and what is wrong."""

from __future__ import annotations

import functools
import operator
import types
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from lvlora.errors import SettingsError, did_you_mean
from lvlora.settings.base import PANELS, Settings

S = TypeVar("S", bound=Settings)

Kind = Literal["flag", "whole", "number", "text", "path", "list", "choice"]

COMMON = "Common options"
"""Panel of a command's `Settings.common`."""

_METAVARS: dict[Kind, str] = {
    "flag": "",
    "whole": "INT",
    "number": "NUMBER",
    "text": "TEXT",
    "path": "PATH",
    "list": "A,B",
    "choice": "WORD",
}
_KINDS: dict[Any, Kind] = {
    bool: "flag",
    int: "whole",
    float: "number",
    str: "text",
    Path: "path",
}


@dataclass(frozen=True)
class Field:
    """One field of a settings model, as a terminal needs it.

    Attributes:
        name: also its TOML key.
        choices: the allowed words of a "choice", or of a "list" that has only some.
        default: None where ``required``, too.
        bounds: the limits of a number by annotated_types' names: ge, gt, le, lt.
        declarations: its spellings (none for an argument); of a flag, the last one turns it off.
    """

    name: str
    kind: Kind
    choices: tuple[str, ...]
    optional: bool
    required: bool
    default: Any
    bounds: dict[str, Any]
    description: str
    panel: str
    help_panel: str
    argument: bool
    declarations: tuple[str, ...]
    metavar: str
    bare: str | None
    repeat: bool

    @property
    def label(self) -> str:
        """How errors name it: the long option, or the argument's metavar."""
        return self.metavar if self.argument else self.declarations[0]

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return f"LVLORA_{self.name.upper()}"

    def words(self, value: Any) -> list[str]:
        """The option and its value as words of a command line."""
        if self.kind == "flag":
            return [self.declarations[0 if value else -1]]
        return [self.declarations[0], ",".join(value) if isinstance(value, tuple) else str(value)]

    def default_text(self) -> str:
        """The default as it would be typed; empty where there is none to show."""
        if self.required or self.default is None or self.kind == "flag":
            return ""
        parts = self.default if isinstance(self.default, tuple) else (self.default,)
        return ",".join(f"{part:g}" if isinstance(part, float) else str(part) for part in parts)

    def limits_text(self) -> str:
        """The limits in words: "1 to 4,096", "min 1", "above 0"."""
        low, high = self.bounds.get("ge"), self.bounds.get("le")
        if low is not None and high is not None:
            return f"{_short(low)} to {_short(high)}"
        words = {"ge": "min", "gt": "above", "le": "max", "lt": "below"}
        return ", ".join(
            f"{words[name]} {_short(limit)}"
            for name, limit in self.bounds.items()
            # the largest number that fits is a limit of the machine, not news to a reader
            if not (name in ("lt", "le") and limit >= 2**62)
        )


@functools.cache  # the settings, the command line and the configuration each ask
def read_fields(model: type[Settings]) -> tuple[Field, ...]:
    """Every field of a model: arguments first, then options by panel in the help's order."""
    fields = [_read(name, model) for name in _declared(model)]
    return tuple(sorted(fields, key=lambda f: (not f.argument, PANELS.index(f.panel))))


def by_help(model: type[Settings]) -> list[Field]:
    """Sort fields as a help page shows them: arguments, common options, the rest by panel."""
    place = {name: index for index, name in enumerate(model.common)}
    return sorted(
        read_fields(model),
        key=lambda field: (not field.argument, place.get(field.name, len(place))),
    )


def _declared(model: type[Settings]) -> list[str]:
    """The names of the fields: those of bases, from left to right, before a class's own."""
    names: dict[str, None] = {}
    for base in model.__bases__:
        if issubclass(base, Settings):
            names.update(dict.fromkeys(_declared(base)))
    annotations = vars(model)["__annotations__"]
    names.update(dict.fromkeys(name for name in model.model_fields if name in annotations))
    return list(names)


def _read(name: str, model: type[Settings]) -> Field:
    info = model.model_fields[name]
    extra = info.json_schema_extra
    if not isinstance(extra, dict) or "panel" not in extra or not info.description:
        raise TypeError(f"the settings field {name!r} is not made by lvlora.settings.base.option")
    leaves = [*_leaves(info.annotation), *info.metadata]
    kind, choices = _kind(leaves)
    bounds = {
        limit: getattr(item, limit)
        for item in leaves
        for limit in ("ge", "gt", "le", "lt")
        if getattr(item, limit, None) is not None
    }
    argument, panel = bool(extra["argument"]), str(extra["panel"])
    help_panel = f"More: {panel}" if model.common else panel
    metavar = str(extra.get("metavar") or "").strip("[]")
    return Field(
        name=name,
        kind=kind,
        choices=choices,
        optional=type(None) in leaves,
        required=info.is_required(),
        default=None if info.default is PydanticUndefined else info.default,
        bounds=bounds if kind in ("whole", "number") else {},
        description=info.description,
        panel=panel,
        help_panel=COMMON if name in model.common else help_panel,
        argument=argument,
        declarations=() if argument else _spellings(name, kind, extra),
        metavar=metavar or (name.upper() if argument else _METAVARS[kind]),
        bare=None if extra.get("bare") is None else str(extra["bare"]),
        repeat=bool(extra["repeat"]),
    )


def _spellings(name: str, kind: Kind, extra: dict[str, Any]) -> tuple[str, ...]:
    dashed = name.replace("_", "-")
    if kind == "flag":
        return tuple(str(extra.get("flag") or f"--{dashed}/--no-{dashed}").split("/"))
    return (f"--{dashed}", str(extra["short"])) if extra.get("short") else (f"--{dashed}",)


def _leaves(annotation: Any) -> Iterator[Any]:
    """The types of an annotation, and what bounds them."""
    if get_origin(annotation) is Annotated:
        inner, *metadata = get_args(annotation)
        yield from _leaves(inner)
        for item in metadata:
            yield from item.metadata if isinstance(item, FieldInfo) else [item]
    elif get_origin(annotation) in (Union, types.UnionType):
        for part in get_args(annotation):
            yield from _leaves(part)
    else:
        yield annotation


def _kind(leaves: list[Any]) -> tuple[Kind, tuple[str, ...]]:
    """The kind of a field, and its words; a count that may be a word (none) is a count."""
    for leaf in leaves:
        if leaf in _KINDS:
            return _KINDS[leaf], ()
        if get_origin(leaf) is tuple:
            return "list", _words(_leaves(get_args(leaf)[0]))
    return "choice", _words(leaves)


def _words(leaves: Iterable[Any]) -> tuple[str, ...]:
    literals = (leaf for leaf in leaves if get_origin(leaf) is Literal)
    return tuple(str(word) for literal in literals for word in get_args(literal))


def _short(number: float) -> str:
    return f"{number:,}" if isinstance(number, int) else f"{number:g}"


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
        count = 0 if isinstance(value, bool) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        count = 0
    if count < 1:
        wanted = "a whole number above 0"
    elif at_most is not None and count > at_most:
        wanted = f"at most {at_most:,}"
    else:
        return
    raise SettingsError(f"{name}: should be {wanted}, got {value!r}", "It counts time steps.")


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
