"""Words that a shell completes beyond options: models, runs, studies, targets.

Must stay fast: no heavy import, no network.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

Completer = Callable[[str], Sequence[str]]
FolderCompleter = Callable[[str, Path], Sequence[str]]
"""One that also looks into the folder of the runs."""

_MOST_RUNS = 50


def runs_folder(runs: object = None) -> Path:
    """Where runs lie: as the command line says so far, else as the environment does."""
    return Path(os.path.expanduser(str(runs or os.environ.get("LVLORA_RUNS") or "runs")))


def models(incomplete: str) -> list[str]:
    """Names that ``--model`` knows; paths are the shell's own business."""
    from lvlora.model.catalogue import SHORT_NAMES

    return [name for name in ("auto", "bundled", *SHORT_NAMES) if name.startswith(incomplete)]


def forecasters(incomplete: str) -> list[str]:
    """Names that ``--forecaster`` knows."""
    from lvlora.forecast.rivals import default_rivals, option_name

    names = ("lm", "auto", *(option_name(rival.name) for rival in default_rivals()))
    return [name for name in names if name.startswith(incomplete)]


def priced_models(incomplete: str) -> list[str]:
    """Names that ``lvlora flops --model`` knows."""
    from lvlora.flops.catalogue import KNOWN_MODELS

    return [name for name in ("bundled", *KNOWN_MODELS) if name.startswith(incomplete)]


def adapters(incomplete: str, folder: Path) -> list[str]:
    """Runs and trials that have an adapter, the newest first; also latest and none."""
    folders = [run for run in _folders(folder) if (run / "adapter").is_dir()]
    trials = [
        trial
        for study in _folders(folder)
        if (study / "study.journal").is_file()
        for trial in _folders(study)
        if (trial / "adapter").is_dir()
    ]
    begun = [str(trial) for trial in trials if str(trial).startswith(incomplete)]
    return [*_named(incomplete, folder, folders, ("latest", "none")), *begun][:_MOST_RUNS]


def _marked(*marks: str, words: Sequence[str] = ()) -> FolderCompleter:
    """Complete words, and folders that hold one of the marks, the newest first."""

    def complete(incomplete: str, folder: Path) -> list[str]:
        folders = [f for f in _folders(folder) if any((f / mark).is_file() for mark in marks)]
        return _named(incomplete, folder, folders, words)

    return complete


def open_runs(incomplete: str, folder: Path) -> list[str]:
    """Runs whose reservation in the ledger is open."""
    import contextlib
    import sqlite3

    address = f"{(folder / 'ledger.sqlite').resolve().as_uri()}?mode=ro"
    try:
        with contextlib.closing(sqlite3.connect(address, uri=True)) as db:
            rows = db.execute(
                "SELECT DISTINCT json_extract(record, '$.run') FROM entry "
                "WHERE json_extract(record, '$.status') = 'open'"
            ).fetchall()
    except (sqlite3.Error, ValueError):  # no ledger, or none that can be read
        return []
    return [str(run) for (run,) in rows if str(run).startswith(incomplete)]


def varied_settings(incomplete: str) -> list[str]:
    """Names for ``lvlora flops --vary``."""
    from lvlora.flops.account import VARIABLE

    return [f"{name}=" for name in VARIABLE if name.startswith(incomplete)]


def _folders(folder: Path) -> Iterator[Path]:
    """The folders in it; the newest first, for a run's name begins with its time."""
    try:
        names = sorted(os.listdir(folder), reverse=True)
    except OSError:
        return
    for name in names:
        if (folder / name).is_dir():
            yield folder / name


def _named(
    incomplete: str, folder: Path, folders: Sequence[Path], words: Sequence[str]
) -> list[str]:
    """As they may be typed: words and names of runs, or paths where a path was begun."""
    paths = [str(path) for path in folders if str(path).startswith(incomplete)]
    names = [path.name for path in folders]
    chosen = [name for name in (*words, *names) if name.startswith(incomplete)]
    return (chosen or paths)[:_MOST_RUNS]


def linear_layers(incomplete: str) -> list[str]:
    """Target layers; the last of a comma-separated list is completed."""
    from lvlora.flops.shape import LINEARS

    done, comma, last = incomplete.rpartition(",")
    words = [*LINEARS, "all-linear"] if not done else LINEARS
    taken = done.split(",")
    return [f"{done}{comma}{word}" for word in words if word.startswith(last) and word not in taken]


BY_FIELD: dict[str, Completer] = {
    "forecaster": forecasters,
    "model": models,
    "targets": linear_layers,
}
"""Field name → its completer in every command that has the field."""

IN_RUNS: dict[str, FolderCompleter] = {
    "adapter": adapters,
    "resume": _marked("config.toml", words=("latest",)),
    "run": _marked("config.toml", "evaluation.json", words=("latest",)),
    "study": _marked("study.journal"),
    "close": open_runs,
}
"""The same, for what is found in the folder of the runs."""
