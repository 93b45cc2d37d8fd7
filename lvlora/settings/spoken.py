"""Options as a program writes them: where a program asks, ``--max-steps 5`` is ``max_steps=5``.

Messages name options as the command line does, for it is asked most. At the doors by which programs
come in they are put into Python's words; where the command line itself comes in by such a door,
they stay. What stands after ``lvlora`` is a command for a shell, whoever reads it.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Iterator
from typing import Literal, get_args, get_origin

from lvlora import errors

_NUMBER = r"-?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?"
_PLACEHOLDER = r"[A-Z]{1,12}(?![a-z])"
_PATH = r"[^\s,;:()]*[/\\][^\s,;:()]*|[^\s,;:()]+\.\w+"
_OPTION = re.compile(
    r"(?P<command>\blvlora [a-z]+(?: (?:--?[\w-]+|[A-Z]+\b|[^\s,;.()]+))*)"
    r"|(?P<option>--[a-z][a-z0-9-]*)"
    rf"(?: (?P<value>{_NUMBER}(?!\w)|{_PLACEHOLDER}|{_PATH}|[a-z][a-z0-9_-]*))?"
)
_WORDS = {"none", "latest", "bundled", "auto"}
"""That an option of any text may be given."""


@contextlib.contextmanager
def for_programs() -> Iterator[None]:
    """What goes wrong inside is said in Python's words, unless a command is running."""
    try:
        yield
    except errors.LvloraError as error:
        if not errors.commands_running:
            error.message, error.hint = in_python(error.message), in_python(error.hint)
            error.args = (error.message,)
        raise


def in_python(text: str) -> str:
    """A message or hint with keyword arguments in place of options."""

    def spoken(found: re.Match[str]) -> str:
        if found["command"]:
            return found["command"]
        option, value = found["option"], found["value"]
        if option not in _options():
            return found[0]
        name, words = _options()[option]
        if name.endswith(("=True", "=False")):
            return name + (f" {value}" if value else "")
        if value is None:
            return name
        if re.fullmatch(_NUMBER, value):
            return f"{name}={value.replace(',', '_')}"
        if re.fullmatch(_PLACEHOLDER, value):
            return f"{name}={value}"
        if value in words or not value.isalpha() or (value in _WORDS and not words):
            return f'{name}="{value}"'
        return f"{name} {value}"

    return _OPTION.sub(spoken, text)


@functools.cache
def _options() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Every option, as it is spelled -> the keyword, and the words that may follow it."""
    from lvlora.settings import data, forecasting, scoring, training
    from lvlora.settings.base import Settings

    found: dict[str, tuple[str, tuple[str, ...]]] = {}
    models = {
        model
        for module in (data, forecasting, scoring, training)
        for model in vars(module).values()
        if isinstance(model, type) and issubclass(model, Settings)
    }
    for model in sorted(models, key=lambda one: one.__name__):
        for name, field in model.model_fields.items():
            extra = field.json_schema_extra
            assert isinstance(extra, dict)
            flag = str(extra.get("flag") or f"--{name.replace('_', '-')}")
            if field.annotation is bool:
                on, _, off = flag.partition("/")
                found[on] = f"{name}=True", ()
                found[off or f"--no-{on.removeprefix('--')}"] = f"{name}=False", ()
            else:
                found[flag] = name, found.get(flag, ("", ()))[1] + _words(field.annotation)
    return found


def _words(annotation: object) -> tuple[str, ...]:
    if get_origin(annotation) is Literal:
        return tuple(map(str, get_args(annotation)))
    return tuple(word for part in get_args(annotation) for word in _words(part))
