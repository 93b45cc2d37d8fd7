"""Where settings come from: flag > environment > configuration file > default."""

from __future__ import annotations

import errno
import os
import sys
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from pydantic import ValidationError

from lvlora import durable
from lvlora.errors import SettingsError, did_you_mean
from lvlora.settings.base import Settings
from lvlora.settings.fields import Field, complaints, read_fields

_LARGEST = 1_000_000
"""Bytes of a configuration."""

STAGES, SCALES = "stages", "scales"
"""Tables that belong to no command: `experiment.settings` reads them."""

Source = Literal["flag", "environment", "config", "default"]

S = TypeVar("S", bound=Settings)


@dataclass(frozen=True)
class Resolved(Generic[S]):
    """Settings, and the source of each by its name."""

    settings: S
    sources: dict[str, Source]
    missing: tuple[str, ...]
    """Required settings without a value, where that is allowed; those in ``settings`` mean
    nothing."""


@dataclass(frozen=True)
class _Input:
    value: Any
    source: Source
    label: str


def resolve(
    command: str,
    model: type[S],
    *,
    flags: Mapping[str, Any],
    environment: Mapping[str, str],
    config: str | None,
    commands: Mapping[str, type[Settings]],
    allow_missing: bool = False,
) -> Resolved[S]:
    """The settings of one call of a command.

    Args:
        command: its name, the table it may have in the file.
        flags: field name → text or bool from the command line; None where it was not given.
        environment: the variables; ``LVLORA_<FIELD>`` counts where it is not empty.
        config: a TOML file, "-" for standard input, or None.
        commands: every command's settings, for files that serve several.
        allow_missing: don't complain about required values that nobody gave.

    Raises:
        SettingsError: with everything that is wrong, one line each.
    """
    fields = read_fields(model)
    settings_read: dict[str, _Input] = {}
    problems: list[str] = []
    if config is not None:
        every: dict[str, type[Settings]] = {**commands, command: model}
        settings_read, problems = _from_config(command, config, every)
    for field in fields:
        if environment.get(field.variable):
            settings_read[field.name] = _Input(
                environment[field.variable], "environment", field.variable
            )
        flag = flags.get(field.name)
        if flag is not None:
            # an empty text on the command line takes a value of the file back
            value = None if flag == "" and field.optional else flag
            settings_read[field.name] = _Input(value, "flag", field.label)

    values = {name: one.value for name, one in settings_read.items()}
    for field in fields:  # paths of the file and the environment, as a shell expands them
        path = settings_read.get(field.name)
        if field.kind == "path" and path and path.source != "flag" and isinstance(path.value, str):
            values[field.name] = os.path.expanduser(path.value)
    missing = tuple(
        field.name for field in fields if field.required and field.name not in settings_read
    )
    if allow_missing:
        values |= dict.fromkeys(missing, "missing")
    try:
        settings = model(**values)
        problems += _impossible_names(fields, settings_read, settings)
    except ValidationError as error:
        problems += complaints(
            error,
            fields,
            lambda f: settings_read[f.name].label if f.name in settings_read else f.label,
        )
    if problems:
        raise _settings_error(command, problems)
    sources: dict[str, Source] = {
        field.name: settings_read[field.name].source if field.name in settings_read else "default"
        for field in fields
    }
    return Resolved(settings, sources, missing if allow_missing else ())


def misspelt_variables(environment: Mapping[str, str], known: Sequence[str]) -> list[str]:
    """A sentence for each LVLORA_ variable that is none of ours.

    No error: a variable may be meant for another version, or for every command of a script.
    """
    prefix = "LVLORA_"
    sentences = []
    for variable in sorted(environment):
        name = variable.removeprefix(prefix).lower()
        if variable.startswith(prefix) and name not in known:
            meant = did_you_mean(name, known, lambda word: f"{prefix}{word.upper()}")
            sentences.append(f"{variable} is not a setting and is ignored{meant or '.'}")
    return sentences


def to_toml(command: str, settings: Settings, missing: Collection[str] = ()) -> str:
    """The text of a file for ``--config``.

    Args:
        command: whose settings they are.
        missing: required fields that nobody gave; as None, which has no TOML, they are comments.
    """
    import tomli_w

    lines, panel = [f"# settings of lvlora {command}; use them again with --config"], ""
    for field in read_fields(type(settings)):
        if field.panel != panel:
            panel = field.panel
            lines += ["", f"# {panel}"]
        value = getattr(settings, field.name)
        if field.name in missing:
            lines.append(f"# {field.name} is required")
        elif value is None:
            lines.append(f"# {field.name} is not set")
        elif isinstance(value, tuple):
            items = (tomli_w.dumps({"x": item}).partition(" = ")[2].strip() for item in value)
            lines.append(f"{field.name} = [{', '.join(items)}]")
        else:
            plain = str(value) if isinstance(value, Path) else value
            lines.append(tomli_w.dumps({field.name: plain}).strip())
    return "\n".join(lines) + "\n"


def _from_config(
    command: str, config: str, commands: Mapping[str, type[Settings]]
) -> tuple[dict[str, _Input], list[str]]:
    """Return what a file says for a command, and what is wrong with its keys.

    A file without tables is for one command. One with a table for a command ([train]) may serve
    several: its keys outside the tables are shared, and each command takes those it has. The stages
    and scales of an experiment are not for single commands.
    """
    where = "standard input" if config == "-" else config
    document = load_toml(config, where)
    tables = {key: value for key, value in document.items() if isinstance(value, dict)}
    shared = {key: value for key, value in document.items() if key not in tables}
    names = {name: set(model.model_fields) for name, model in commands.items()}
    values: dict[str, _Input] = {}
    problems: list[str] = []
    for table, content in {"": shared, **tables}.items():
        if table in (STAGES, SCALES):
            continue
        if table and table not in names:
            problems.append(f"[{table}] in {where}: is not a command{did_you_mean(table, names)}")
            continue
        owner, seen = table or command, set[str]()
        for key, value in content.items():
            name = key.replace("-", "_")
            label = f"{key} in [{table}] of {where}" if table else f"{key} in {where}"
            if name in seen:
                problems.append(f"{label}: is given twice")
            seen.add(name)
            others = sorted(other for other in names if name in names[other])
            if name in names[owner]:
                if owner == command:  # a table's values come after the shared ones
                    values[name] = _Input(value, "config", label)
            elif table or not others:
                problems.append(
                    f"{label}: is not a setting of {owner}{did_you_mean(name, names[owner])}"
                )
            elif not tables:
                problems.append(
                    f"{label}: is not a setting of {command}, but of {', '.join(others)}; "
                    f"a file for several commands has tables, like [{others[0]}]"
                )
    return values, problems


def load_toml(
    config: str,
    where: str,
    *,
    option: str = "--config",
    hint: str = "lvlora COMMAND --print-config writes one to start from.",
) -> dict[str, Any]:
    """A configuration as it stands.

    Args:
        config: its file, or "-" for standard input; where: what to call it.
        option: the option that names it; hint: how to get a right one.

    Raises:
        SettingsError: it cannot be read, or is not TOML.
    """
    try:
        raw = (
            sys.stdin.buffer.read(_LARGEST)
            if config == "-"
            else durable.read_bounded(Path(config), _LARGEST, pipes=True)
        )
        return tomllib.loads(raw.decode("utf-8-sig"))
    except FileNotFoundError:
        raise SettingsError(f"{option}: there is no file {where}.", hint) from None
    except OSError as error:
        raise SettingsError(
            f"{option}: {where} cannot be read: {error.strerror}.",
            "Check its permissions, or give another file.",
        ) from None
    except UnicodeDecodeError:
        raise SettingsError(f"{option}: {where} is not UTF-8 text.", hint) from None
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{option}: {where} is not valid TOML: {error}.", hint) from None


def _impossible_names(
    fields: Sequence[Field], inputs: Mapping[str, _Input], settings: Settings
) -> list[str]:
    """Names at which nothing can be read or written, whatever the command does."""
    problems = []
    for field in fields:
        value = getattr(settings, field.name)
        names_file = field.kind == "path" or (field.kind == "text" and field.panel == "Model")
        if field.name not in inputs or value is None or not names_file:
            continue
        try:
            os.stat(value)
        except (OSError, ValueError) as error:
            number = getattr(error, "errno", None)
            if number in (None, errno.ELOOP, errno.ENAMETOOLONG):
                problems.append(
                    f"{inputs[field.name].label}: {str(value)[:40]!r} cannot be a file "
                    f"({getattr(error, 'strerror', None) or error})"
                )
    return problems


def _settings_error(command: str, problems: Sequence[str]) -> SettingsError:
    hint = f"lvlora {command} --help explains every option."
    if len(problems) == 1:
        return SettingsError(problems[0], hint)
    return SettingsError("\n  ".join([f"{len(problems)} settings are wrong:", *problems]), hint)
