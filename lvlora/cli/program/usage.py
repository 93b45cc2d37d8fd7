"""What typer refuses, as one of our errors: a line that says what is wrong, a hint what to do.

Knows: what typer's refusals carry. Does not know: any command. Typer brings its own click, whose
classes have no public name, so its errors are told by what they have.
"""

from __future__ import annotations

import re
from typing import Any

from lvlora.errors import SettingsError
from lvlora.guesses import closest


def refusal(error: BaseException) -> SettingsError | None:
    """The error to be told instead of typer's; None if it is not one of typer's refusals."""
    if not (hasattr(error, "format_message") and hasattr(error, "exit_code")):
        return None
    context = getattr(error, "ctx", None)
    command = "lvlora" if context is None else str(context.command_path)
    hint = f"{command} --help explains every option."
    option = getattr(error, "option_name", None)
    if option is not None and hasattr(error, "possibilities"):
        return SettingsError(
            f"{command} has no option {option}.", f"{_meant(option, context)}{hint}"
        )
    if option is not None:  # a value is missing, or there is one too many
        wrong = "needs a value" if "requires" in error.format_message() else "takes no value"
        # typer does not say of which command
        return SettingsError(f"{option} {wrong}.", hint.replace("lvlora -", "lvlora COMMAND -"))
    extra = re.search(r"unexpected extra arguments?(?:\(s\))? \((.*)\)", error.format_message())
    if extra:
        return SettingsError(
            f"{command}: got an unexpected extra argument ({extra[1]}).",
            f"A value with spaces stands in quotes. {hint}",
        )
    return SettingsError(f"{command}: {error.format_message()}", hint)


def unknown_command(name: str, commands: list[str]) -> SettingsError:
    """The error about a word that should be a command."""
    if name == "help":
        return SettingsError(
            "there is no command help.", "lvlora --help lists all; lvlora COMMAND --help says more."
        )
    match = closest(name, commands)
    meant = f"Did you mean {match}? " if match else ""
    return SettingsError(f"there is no command {name}.", f"{meant}lvlora --help lists all.")


def _meant(option: str, context: Any) -> str:
    """ "Did you mean --rank? ", or nothing."""
    if context is None:
        return ""
    known = {
        spelling.lstrip("-").replace("-", "_"): spelling
        for parameter in context.command.params
        for spelling in (*parameter.opts, *parameter.secondary_opts)
        if spelling.startswith("--") and not getattr(parameter, "hidden", False)
    }
    # a negative that is meant well: --no-resume for an option that has none
    match = closest(option.lstrip("-").replace("-", "_"), known)
    if match:
        return f"Did you mean {known[match]}? "
    # lvlora --rank 4 train
    return "" if context.parent is not None else "A command's options stand after its name. "
