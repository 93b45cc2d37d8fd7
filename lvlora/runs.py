"""Runs and evaluations by folder, by name, or the newest."""

from __future__ import annotations

import os
from pathlib import Path

from lvlora.errors import SettingsError, did_you_mean

CONFIG = "config.toml"
"""The file that makes a folder a run: it is the first that a run writes."""

EVALUATION = "evaluation.json"
"""The file that makes a folder an evaluation: it is the last that one writes."""

NEWEST = "latest"


def find_run(name: str | None, runs: Path, what: str, marks: tuple[str, ...] = (CONFIG,)) -> Path:
    """Return the folder of a run, or of whatever has one of the marks.

    Args:
        name: a folder, the name of a run in ``runs``, or ``latest``; None is the newest as well.
        what: how to name the option in a complaint.
    """
    folders = sorted({file.parent for mark in marks for file in runs.glob(f"*/{mark}")})
    kind = "run or evaluation" if EVALUATION in marks else "run"
    if name is None or name == NEWEST:
        if not folders:
            raise SettingsError(
                f"{what}: there is no {kind} in {runs}",
                "lvlora train makes a run; --runs looks elsewhere.",
            )
        return max(folders, key=last_sign_of_life)
    for path in (Path(os.path.expanduser(name)), runs / name):
        if _holds(path, marks):
            return path
    names = [folder.name for folder in folders]
    raise SettingsError(
        f"{what} {name}: no such {kind} in {runs}{did_you_mean(name, names)}",
        "Give its name or folder; without one, the newest is taken.",
    )


def find_run_or_evaluation(name: str | None, runs: Path, what: str) -> Path:
    """Return the folder of a run or of an evaluation; see `find_run`."""
    return find_run(name, runs, what, (CONFIG, EVALUATION))


def is_evaluation(folder: Path) -> bool:
    """Return whether a folder holds an evaluation and no run."""
    return not _holds(folder, (CONFIG,)) and _holds(folder, (EVALUATION,))


def _holds(path: Path, marks: tuple[str, ...]) -> bool:
    try:
        return any((path / mark).is_file() for mark in marks)
    except (OSError, ValueError):  # a name too long, a NUL
        return False


def last_sign_of_life(folder: Path) -> tuple[int, str]:
    """Return when a run or evaluation was worked on: --out gives any name, so by time."""
    files = (folder / "metrics.jsonl", folder / CONFIG, folder / EVALUATION)
    return next(file.stat().st_mtime_ns for file in files if file.is_file()), folder.name
