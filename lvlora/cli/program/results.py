"""Files that results must not overwrite."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lvlora import output_files
from lvlora.cli.program.context import CommandContext
from lvlora.errors import SettingsError
from lvlora.output_files import STANDARD_OUTPUT


def check_results(
    settings: Any, context: CommandContext, results: Mapping[str, Path | None]
) -> None:
    """Look at every file that a command is to write, before its work.

    Args:
        settings: of the command; what they name as input is spared, and the ledger.
        results: path by option.

    Raises:
        SettingsError: one can't be written, or two are the same.
    """
    spared = _needed_by(settings, context)
    for option, path in results.items():
        output_files.check(
            option,
            path,
            overwrite=settings.overwrite,
            spared=spared,
            dash=option == "--output",
            json=context.json,
        )
    named: dict[Path, str] = {}
    for option, path in results.items():
        if path is not None and path != STANDARD_OUTPUT:
            first = named.setdefault(path.resolve(), option)
            if first != option:
                raise SettingsError(f"{option} {path}: is {first}", "Choose another name.")


def _needed_by(settings: Any, context: CommandContext) -> dict[str, Path | None]:
    """Return the files that must stay, by a name for each."""
    from lvlora.flops.ledger import FILE_NAME

    data, model = getattr(settings, "data", None), getattr(settings, "model", None)
    adapters = getattr(settings, "adapter", None) or ()
    needed: dict[str, Path | None] = {
        "the input": None if data == Path("-") else data,
        "the ledger": settings.runs / FILE_NAME,
        # SQLite keeps it beside the ledger while somebody spends
        "the ledger's journal": settings.runs / f"{FILE_NAME}-journal",
        "the configuration": context.config,
        "the model": None if model is None else Path(model),
    }
    for adapter in (adapters,) if isinstance(adapters, str) else adapters:
        for place in (Path(adapter), settings.runs / adapter):
            needed[f"of the adapter {adapter}" if place.is_dir() else f"adapter {place}"] = place
    return needed
