"""A search space from a TOML file, with all that is wrong in it said at once."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lvlora import durable
from lvlora.errors import DataError, SettingsError, did_you_mean
from lvlora.settings.checked import complaints
from lvlora.settings.fields import Field, read_fields
from lvlora.settings.training import TrainSettings
from lvlora.sweep.space import (
    ALPHA_PER_RANK,
    SEARCHABLE,
    Choice,
    Dimension,
    Range,
    Scalar,
    Space,
)

_HINT = (
    "A setting is a list, rank = [2, 4, 8], or a range, "
    "learning_rate = {low = 1e-5, high = 1e-3, log = true}; docs/sweep.md has more."
)
_LARGEST = 1_000_000
"""Bytes of such a file."""

_RANGE_KEYS = {"low", "high", "log", "step"}


def read_space(path: Path) -> Space:
    """The space in a file.

    Raises:
        DataError: the file cannot be read.
        SettingsError: it is no space; every wrong key and value is named.
    """
    return space_of(_load(path), f"--space {path}")


def space_of(document: Mapping[str, Any], where: str) -> Space:
    """The space that a mapping says: setting → a list of values, or {"low": …, "high": …}.

    Args:
        where: whence it is, for messages.

    Raises:
        SettingsError: it is no space; every wrong key and value is named.
    """
    fields = {field.name: field for field in read_fields(TrainSettings)}
    dimensions: dict[str, Dimension] = {}
    problems: list[str] = []
    for key, value in document.items():
        name = key.replace("-", "_")
        if name not in SEARCHABLE:
            known = "is a setting, but not one to search" if name in fields else "is not a setting"
            meant = "" if name in fields else did_you_mean(name, SEARCHABLE)
            problems.append(f"{key}: {known}{meant}")
            continue
        field = None if name == ALPHA_PER_RANK else fields[name]
        found, wrong = _dimension(key, value, field)
        problems += wrong
        if found is not None:
            dimensions[name] = found
    if {"alpha", ALPHA_PER_RANK} <= set(dimensions):
        problems.append(f"alpha and {ALPHA_PER_RANK} say the same thing; search one of them")
    if not problems and not dimensions:
        problems.append("it names no setting")
    if problems:
        several = f"{len(problems)} things are wrong:\n  " if len(problems) > 1 else ""
        raise SettingsError(f"{where}: {several}" + "\n  ".join(problems), _HINT)
    return Space(dimensions)


def _load(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(durable.read_bounded(path, _LARGEST, pipes=True).decode("utf-8-sig"))
    except FileNotFoundError:
        raise DataError(f"--space {path}: there is no such file", _HINT) from None
    except OSError as error:
        raise DataError(
            f"--space {path}: cannot be read ({error.strerror})",
            "Check its permissions, or give another file.",
        ) from None
    except UnicodeDecodeError:
        raise SettingsError(f"--space {path}: is not UTF-8 text", _HINT) from None
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"--space {path}: is not valid TOML: {error}", _HINT) from None


def _dimension(key: str, value: Any, field: Field | None) -> tuple[Dimension | None, list[str]]:
    """One setting's values, or what is wrong with them; ``field`` None is alpha_per_rank."""
    if isinstance(value, dict):
        return _range(key, value, field)
    if not isinstance(value, list | tuple) or not value:
        return None, [f"{key}: should be a list or a range, got {value!r}"]
    checked = [_checked(f"{key} item {i + 1}", item, field) for i, item in enumerate(value)]
    problems = [line for _, lines in checked for line in lines]
    if problems:
        return None, problems
    values = tuple(item for item, _ in checked if item is not None)
    if len(set(values)) < len(values):
        return None, [f"{key}: a value is there twice"]
    return Choice(values), []


def _range(
    key: str, table: dict[str, Any], field: Field | None
) -> tuple[Dimension | None, list[str]]:
    problems = [
        f"{key}: a range has no {name}{did_you_mean(name, _RANGE_KEYS)}"
        for name in sorted(set(table) - _RANGE_KEYS)
    ]
    problems += [f"{key}: a range needs {name}" for name in ("low", "high") if name not in table]
    kind = "number" if field is None else field.kind
    if kind not in ("whole", "number"):
        return None, [f"{key}: has words, not numbers: give a list"]
    if problems:
        return None, problems
    ends: list[Scalar] = []
    for name in ("low", "high"):
        end, wrong = _checked(f"{key} {name}", table[name], field)
        problems += wrong
        ends += [] if end is None else [end]
    log, step = table.get("log", False), table.get("step")
    if not isinstance(log, bool):
        problems.append(f"{key} log: should be true or false, got {log!r}")
    number = isinstance(step, (int, float)) and not isinstance(step, bool)
    if step is not None and (not number or step <= 0 or (kind == "whole" and step != int(step))):
        wanted = "a whole number" if kind == "whole" else "a number"
        problems.append(f"{key} step: should be {wanted} above 0, got {step!r}")
    if problems:
        return None, problems
    low, high = float(ends[0]), float(ends[1])
    if low >= high:
        return None, [f"{key}: low should be below high, got {low:g} and {high:g}"]
    if log and step is not None:
        return None, [f"{key}: a range has log or step, not both"]
    if log and low <= 0:
        return None, [f"{key}: a range with log begins above 0, got {low:g}"]
    return Range(low, high, log, step, whole=kind == "whole"), []


def _checked(label: str, value: Any, field: Field | None) -> tuple[Scalar | None, list[str]]:
    """The value as train's settings have it, or what they have against it."""
    if field is None:
        fine = isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0
        wrong = [] if fine else [f"{label}: should be a number above 0, got {value!r}"]
        return (float(value) if fine else None), wrong
    if field.kind in ("whole", "number") and isinstance(value, bool):
        return None, [f"{label}: should be a number, got {str(value).lower()}"]
    try:
        found = getattr(TrainSettings(**{field.name: value}), field.name)
    except ValidationError as error:
        return None, complaints(error, [field], lambda _: label)
    return (",".join(found) if isinstance(found, tuple) else found), []
