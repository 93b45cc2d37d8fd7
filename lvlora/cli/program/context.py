"""The context of a command besides its settings: where it speaks, and what it tells to do next."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lvlora.errors import SettingsError
from lvlora.settings.base import Settings
from lvlora.settings.fields import read_fields

if TYPE_CHECKING:
    from lvlora.cli.terminal.output import Output
    from lvlora.settings.configuration import Source

CARRIED = (
    *("id_column", "time_column", "columns", "split_seed", "stratify"),
    *("model", "revision", "runs"),
)
"""Options that a next command must be given again, if it has them."""


@dataclass(frozen=True)
class CommandContext:
    """The part of a command line that is the same for every command."""

    output: Output
    dry_run: bool
    debug: bool
    sources: dict[str, Source]
    config: Path | None
    began: float = field(default_factory=time.perf_counter)
    """Start of the command, by `time.perf_counter`."""

    def check_results(self, settings: Any, results: Mapping[str, Path | None]) -> None:
        """Look at every file that a command is to write, before its work.

        Args:
            settings: of the command; what they name as input is spared, and the ledger.
            results: path by option.

        Raises:
            SettingsError: one can't be written, or two are the same.
        """
        from lvlora import output_files
        from lvlora.flops.ledger import FILE_NAME

        spared: dict[str, Path | None] = {
            "the input": None if settings.data == output_files.STANDARD_OUTPUT else settings.data,
            "the ledger": settings.runs / FILE_NAME,
            # SQLite keeps it beside the ledger while somebody spends
            "the ledger's journal": settings.runs / f"{FILE_NAME}-journal",
            "the configuration": self.config,
            "the model": Path(settings.model),
        }
        adapters = settings.adapter or ()
        for adapter in (adapters,) if isinstance(adapters, str) else adapters:
            for place in (Path(adapter), settings.runs / adapter):
                name = f"of the adapter {adapter}" if place.is_dir() else f"adapter {place}"
                spared[name] = place
        named: dict[Path, str] = {}
        for option, path in results.items():
            output_files.check(
                option,
                path,
                overwrite=settings.overwrite,
                spared=spared,
                dash=option == "--output",
                json=self.output.json_mode,
            )
            if path is not None and path != output_files.STANDARD_OUTPUT:
                first = named.setdefault(path.resolve(), option)
                if first != option:
                    raise SettingsError(f"{option} {path}: is {first}", "Choose another name.")


def next_command(
    verb: str,
    target: type[Settings],
    command_settings: Settings,
    *words: str,
    also: Sequence[str] = (),
    without: Sequence[str] = (),
) -> str:
    """Return a command on the same data, for a shell; it works as it is printed.

    Args:
        target: the settings of ``verb``; command_settings: those of the command that was run.
        words: further ones, behind the data and the options that are carried on.
        also: further options to carry on; without: of those not to.
    """
    line = ["lvlora", verb]
    data = getattr(command_settings, "data", None)
    if data is not None:
        line.append(str(data))
    for option in read_fields(target):
        if option.argument or option.name in without or option.name not in (*CARRIED, *also):
            continue
        value = getattr(command_settings, option.name, None)
        if value is not None and value != target.model_fields[option.name].get_default():
            line += option.words(value)
    text = shlex.join([*line, *words])
    # what came by standard input must come so again
    return f"{text} < FILE" if str(data) == "-" else text
