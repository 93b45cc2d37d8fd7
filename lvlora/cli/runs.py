"""Which run is meant: a folder, a name, or the newest.

Knows: where runs lie. Does not know: what is in them.
"""

from __future__ import annotations

from pathlib import Path

from lvlora.cli.complaints import did_you_mean
from lvlora.errors import SettingsError

CONFIG = "config.toml"
"""The file that makes a folder a run: it is the first that a run writes."""

NEWEST = "latest"


def find_run(name: str | None, runs: Path, what: str) -> Path:
    """The folder of a run.

    Args:
        name: a folder, the name of a run in ``runs``, or ``latest``; None is the newest as well.
        what: how to name the option in a complaint.

    Raises:
        SettingsError: there is no such run.
    """
    if name is None or name == NEWEST:
        found = _runs(runs)
        if not found:
            raise SettingsError(
                f"{what}: there is no run in {runs}",
                "lvlora train makes one; --runs looks elsewhere.",
            )
        return max(found, key=_last_sign_of_life)
    for path in (Path(name).expanduser(), runs / name):
        if _is_run(path):
            return path
    names = [run.name for run in _runs(runs)]
    raise SettingsError(
        f"{what} {name}: no such run in {runs}{did_you_mean(name, names)}",
        "Give a run's name or folder; without one, the newest is taken.",
    )


def _runs(runs: Path) -> list[Path]:
    return sorted(file.parent for file in runs.glob(f"*/{CONFIG}"))


def _is_run(path: Path) -> bool:
    try:
        return (path / CONFIG).is_file()
    except (OSError, ValueError):  # a name too long, a NUL
        return False


def _last_sign_of_life(run: Path) -> tuple[int, str]:
    """Names need not begin with the time: --out gives any."""
    metrics = run / "metrics.jsonl"
    return (metrics if metrics.is_file() else run / CONFIG).stat().st_mtime_ns, run.name
