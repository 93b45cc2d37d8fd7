"""The context of a command besides its settings."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lvlora.cli.terminal.output import Output

if TYPE_CHECKING:
    from lvlora.settings.configuration import Source


@dataclass(frozen=True)
class CommandContext:
    """The part of a command line that is the same for every command.

    Attributes:
        json: one JSON object on stdout instead of tables.
        dry_run: say what it would cost, spend nothing.
        verbosity: -1 quiet, 0 normal, 1 and more verbose.
        debug: tracebacks are wanted.
        sources: where each setting's value came from.
        output: the one sink.
        began: when the command did, by `time.perf_counter`.
        config: the configuration file that was read.
    """

    json: bool
    dry_run: bool
    verbosity: int
    debug: bool
    output: Output
    sources: dict[str, Source] = field(default_factory=dict)
    began: float = field(default_factory=time.perf_counter)
    config: Path | None = None
