"""Reads a settings model: what each field is called, takes, is limited to and means to people."""

from __future__ import annotations

import functools
import types
from collections.abc import Iterable, Iterator
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
        name: the field's name, which is also its TOML key.
        kind: what its text is read as.
        choices: the allowed words of a "choice", or of a "list" that has only some.
        optional: None is allowed ("not set").
        default: the default, or None; ``required`` tells a missing default from one of None.
        bounds: the limits of a number by annotated_types' names: ge, gt, le, lt.
        help_panel: the help's panel: the common options, or more of its panel.
        declarations: its spellings (none for an argument); of a flag, the last one turns it off.
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
            return [self.declarations[0 if value else -1]]
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
    leaves = [*_leaves(info.annotation), *info.metadata]
    kind, choices = _kind(leaves)
    bounds = {
        limit: getattr(item, limit)
        for item in leaves
        for limit in ("ge", "gt", "le", "lt")
        if getattr(item, limit, None) is not None
    }
    argument = bool(extra["argument"])
    declarations = _spellings(name, kind, extra)
    metavar = str(extra.get("metavar") or "").strip("[]")
    if not metavar:
        metavar = name.upper() if argument else _METAVARS[kind]
    return Field(
        name=name,
        kind=kind,
        choices=choices,
        optional=type(None) in leaves,
        required=info.is_required(),
        default=None if info.default is PydanticUndefined else info.default,
        bounds=bounds if kind in ("whole", "number") else {},
        description=info.description,
        panel=str(extra["panel"]),
        help_panel=_help_panel(name, model, str(extra["panel"])),
        argument=argument,
        declarations=() if argument else declarations,
        metavar=metavar,
        bare=None if extra.get("bare") is None else str(extra["bare"]),
        repeat=bool(extra["repeat"]),
    )


def _spellings(name: str, kind: Kind, extra: dict[str, Any]) -> tuple[str, ...]:
    dashed = name.replace("_", "-")
    short = (str(extra["short"]),) if extra.get("short") else ()
    on, off = str(extra.get("flag") or f"--{dashed}/--no-{dashed}").split("/")
    return (on, off) if kind == "flag" else (f"--{dashed}", *short)


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
