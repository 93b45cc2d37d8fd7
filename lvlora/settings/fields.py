"""Reads a settings model: what each field is called, takes, is limited to and means to people."""

from __future__ import annotations

import functools
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from lvlora.settings.base import Settings, field_names

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


@dataclass(frozen=True)
class Field:
    """One field of a settings model, as a terminal needs it.

    Attributes:
        name: the field's name, which is also its TOML key.
        kind: what its text is read as.
        choices: the allowed words of a "choice", or of a "list" that has only some.
        optional: None is allowed ("not set").
        default: the default, or None; ``required`` tells a missing default from one of None.
        bounds: the limits of a number by annotated_types' names: ge, gt, le, lt.
        help_panel: the help's panel: the common options, or more of its panel.
        declarations: its spellings, as the help shows them (none for an argument).
        opposite: the spelling of a flag that the help does not show.
        metavar: what stands for its value.
        bare: the value meant when the option stands without one.
        repeat: it may stand several times.
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
    opposite: str
    metavar: str
    bare: str | None
    repeat: bool = False

    @property
    def label(self) -> str:
        """How errors name it: the long option, or the argument's metavar."""
        if self.argument:
            return self.metavar
        return self.declarations[0]

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return f"LVLORA_{self.name.upper()}"

    def words(self, value: Any) -> list[str]:
        """The option and its value as words of a command line."""
        if self.kind == "flag":
            return [self.declarations[0]]
        return [self.declarations[0], ",".join(value) if isinstance(value, tuple) else str(value)]

    def default_text(self) -> str:
        """The default as it would be typed; empty where there is none to show."""
        if self.required or self.default is None or self.kind == "flag":
            return ""
        if isinstance(self.default, tuple):
            return ",".join(
                f"{part:g}" if isinstance(part, float) else part for part in self.default
            )
        if isinstance(self.default, float):
            return f"{self.default:g}"
        return str(self.default)

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
    return tuple(_read(name, model) for name in field_names(model))


def by_help(model: type[Settings]) -> list[Field]:
    """Sort fields as a help page shows them: arguments, common options, the rest by panel."""
    place = {name: index for index, name in enumerate(model.common)}
    return sorted(
        read_fields(model),
        key=lambda field: (not field.argument, place.get(field.name, len(place))),
    )


def _help_panel(name: str, model: type[Settings], panel: str) -> str:
    if not model.common:
        return panel
    return COMMON if name in model.common else f"More: {panel}"


def _read(name: str, model: type[Settings]) -> Field:
    info = model.model_fields[name]
    extra = info.json_schema_extra
    if not isinstance(extra, dict) or "panel" not in extra or not info.description:
        raise TypeError(f"the settings field {name!r} is not made by lvlora.settings.base.option")
    annotation, optional = _without_none(info.annotation)
    kind = _kind(annotation)
    argument = bool(extra["argument"])
    declarations, opposite = _spellings(name, kind, info.default, extra)
    metavar = str(extra.get("metavar") or "").strip("[]")
    if not metavar:
        metavar = name.upper() if argument else _METAVARS[kind]
    return Field(
        name=name,
        kind=kind,
        choices=_choices(kind, annotation),
        optional=optional,
        required=info.is_required(),
        default=None if info.default is PydanticUndefined else info.default,
        bounds=dict(_bounds(info.annotation, info.metadata)) if kind in ("whole", "number") else {},
        description=info.description,
        panel=str(extra["panel"]),
        help_panel=_help_panel(name, model, str(extra["panel"])),
        argument=argument,
        declarations=() if argument else declarations,
        opposite=opposite,
        metavar=metavar,
        bare=None if extra.get("bare") is None else str(extra["bare"]),
        repeat=bool(extra["repeat"]),
    )


def _spellings(
    name: str, kind: Kind, default: object, extra: dict[str, Any]
) -> tuple[tuple[str, ...], str]:
    """(what the help shows, the hidden opposite of a flag)."""
    spelled = str(extra.get("flag") or f"--{name.replace('_', '-')}")
    short = (str(extra["short"]),) if extra.get("short") else ()
    if kind != "flag":
        return (spelled, *short), ""
    on, _, off = spelled.partition("/")
    off = off or f"--no-{on.removeprefix('--')}"
    shown, opposite = (off, on) if default is True else (on, off)
    return (shown, *short), opposite


def _without_none(annotation: Any) -> tuple[Any, bool]:
    """(the type itself, None is allowed)."""
    annotation = _bare_type(annotation)
    if get_origin(annotation) in (Union, types.UnionType):
        parts = [part for part in get_args(annotation) if part is not type(None)]
        optional = len(parts) < len(get_args(annotation))
        inner = _bare_type(parts[0]) if len(parts) == 1 else annotation
        return _without_word(inner), optional
    return annotation, False


def _without_word(annotation: Any) -> Any:
    """A count that may be a word instead (none) is read as a count; its validator knows both."""
    if get_origin(annotation) in (Union, types.UnionType):
        parts = [part for part in get_args(annotation) if get_origin(part) is not Literal]
        return _bare_type(parts[0]) if len(parts) == 1 else annotation
    return annotation


def _bare_type(annotation: Any) -> Any:
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return annotation


def _kind(annotation: Any) -> Kind:
    origin = get_origin(annotation)
    if origin is Literal:
        return "choice"
    if origin is tuple:
        return "list"
    kinds: dict[Any, Kind] = {
        bool: "flag",
        int: "whole",
        float: "number",
        str: "text",
        Path: "path",
    }
    if annotation not in kinds:
        raise TypeError(f"no option can be made from {annotation}")
    return kinds[annotation]


def _choices(kind: Kind, annotation: Any) -> tuple[str, ...]:
    words = get_args(annotation)[0] if kind == "list" else annotation
    return tuple(map(str, get_args(words))) if get_origin(words) is Literal else ()


def _bounds(annotation: Any, metadata: list[Any]) -> Iterator[tuple[str, Any]]:
    for item in metadata:
        for name in ("ge", "gt", "le", "lt"):
            if getattr(item, name, None) is not None:
                yield name, getattr(item, name)
    if get_origin(annotation) is Annotated:
        for item in get_args(annotation)[1:]:
            yield from _bounds(None, item.metadata if isinstance(item, FieldInfo) else [item])
    elif get_origin(annotation) in (Union, types.UnionType):
        for part in get_args(annotation):
            yield from _bounds(part, [])


def _short(number: float) -> str:
    return f"{number:,}" if isinstance(number, int) else f"{number:g}"
