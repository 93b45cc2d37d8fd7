"""Adapters by the name of ``--adapter``: a folder, a run, its name, the newest run, or none.

Imports no torch, so that a command can say that there is none before it loads anything.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from lvlora import durable
from lvlora.errors import ModelError, meant

CONFIG = "adapter_config.json"
"""The file that makes a folder an adapter (PEFT's)."""

IN_RUN = "adapter"
"""Where a run keeps its adapter."""

LATEST = "latest"
"""The text file among the runs that holds the newest run's name."""

NONE = "none"
RUN_NAME = re.compile(r"[\w][\w.+@-]{0,254}")
"""The form of a run's name."""

_LONGEST_POINTER = 4096


def find_adapter(spec: str | None, runs: Path) -> Path | None:
    """The adapter folder that ``--adapter`` names; nothing is loaded.

    Args:
        spec: ``none``, an adapter folder, a run folder, the name of a run in ``runs``, or
            ``latest``; left out: the newest run if there has been one.
        runs: the folder of the runs.

    Returns:
        a folder with an adapter_config.json; None for ``none``, and where nothing was asked for
        and there is no run yet.

    Raises:
        ModelError: what was named is not there or has no adapter.
    """
    if spec == NONE:
        return None
    name, option = spec, f"--adapter {spec}"
    if spec is None or spec == LATEST:
        name, option = latest_run(runs), f"{runs / LATEST}"
    if name is None and spec is None:
        return None
    if name is None:
        raise ModelError(f"--adapter {LATEST}: there is no run in {runs} yet", _OTHERWISE)
    # what a user names may be a path, too; "" would be the working directory
    named = [Path(os.path.expanduser(name))] if spec == name and name else []
    places = [*named, *_inside(runs, name)]
    for place in places:
        if (adapter := _adapter_in(place)) is not None:
            return adapter
    for place in places:
        if _is_folder(place):
            raise ModelError(
                f"{option}: {place} has no adapter ({CONFIG} is missing)",
                "A run has one once its first best step is saved; a PEFT adapter folder holds "
                f"{CONFIG} and adapter_model.safetensors. {_OTHERWISE}",
            )
    raise ModelError(
        f"{option}: no folder, and no run in {runs}, is called {name!r}", _suggestion(name, runs)
    )


def refuse_adapter(folder: Path) -> None:
    """ModelError where a base model's folder holds an adapter.

    transformers would load the base that the adapter names, wherever that is.
    """
    if (folder / CONFIG).exists():
        raise ModelError(
            f"{folder}: the folder holds an adapter, not a base model",
            f"Use --adapter {folder}, and --model for its base.",
        )


def latest_run(runs: Path) -> str | None:
    """The name in ``runs/latest``, or None where there is no such file.

    Raises:
        ModelError: the file is no name of a run.
    """
    pointer = runs / LATEST
    try:
        content = durable.read_bounded(pointer, _LONGEST_POINTER)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ModelError(
            f"{pointer}: cannot be read ({error.strerror or error})", _OTHERWISE
        ) from None
    name = content.decode("utf-8", errors="replace").strip()
    if not RUN_NAME.fullmatch(name):
        raise ModelError(f"{pointer}: does not hold the name of a run", _OTHERWISE)
    return name


def run_names(runs: Path) -> list[str]:
    """Names of the runs that have an adapter, newest (by name: they begin with the time) first."""
    try:
        folders = [p for p in runs.iterdir() if _adapter_in(p) is not None]
    except OSError:
        return []
    return sorted((p.name for p in folders), reverse=True)


_OTHERWISE = "Name one: --adapter RUN_OR_FOLDER, or --adapter none for the plain model."


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # a name too long, a NUL
        return False


def _adapter_in(folder: Path) -> Path | None:
    for place in (folder, folder / IN_RUN):
        try:
            if (place / CONFIG).is_file():
                return place
        except (OSError, ValueError):
            return None
    return None


def _inside(runs: Path, name: str) -> list[Path]:
    """Return the folder of a run, never one outside of ``runs``."""
    if not RUN_NAME.fullmatch(name):
        return []
    folder = runs / name
    return [folder] if folder.resolve().parent == runs.resolve() else []


def _suggestion(spec: str, runs: Path) -> str:
    names = run_names(runs)
    guess = meant(Path(spec).name, [*names, LATEST, NONE], cutoff=0.5)
    if not names:
        return f"{guess}There is no run with an adapter yet: lvlora train makes one."
    if not guess:  # a run is remembered by the end of its name
        close = [n for n in names if spec and spec.lower() in n.lower()][:1]
        guess = f"Did you mean {close[0]}? " if close else ""
    return f"{guess}Runs with an adapter: {', '.join(names[:5])}{', …' if len(names) > 5 else ''}."
