"""Commands that are printed as advice: they work as they are printed."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from lvlora.settings.base import Settings
from lvlora.settings.fields import read_fields

CARRIED = (
    # how the data are read and split
    *("id_column", "time_column", "columns", "split_seed", "stratify"),
    *("model", "revision", "runs"),
)
"""Options that a next command must be given again, if it has them."""

STANDARD_INPUT = Path("-")


def next_command(
    verb: str,
    target: type[Settings],
    command_settings: Settings,
    *words: str,
    also: Sequence[str] = (),
    without: Sequence[str] = (),
) -> str:
    """A command on the same data, for a shell.

    Args:
        target: the settings of ``verb``; command_settings: those of the command that was run.
        words: further ones, behind the data and the options that are carried on.
        also: further options to carry on; without: of those not to.
    """
    line = ["lvlora", verb]
    data = getattr(command_settings, "data", None)
    if data is not None:
        line.append(str(data))
    for field in read_fields(target):
        if field.argument or field.name in without or field.name not in (*CARRIED, *also):
            continue
        value = getattr(command_settings, field.name, None)
        if value is not None and value != target.model_fields[field.name].get_default():
            line += field.words(value)
    text = shlex.join([*line, *words])
    # what came by standard input must come so again
    return f"{text} < FILE" if data == STANDARD_INPUT else text
