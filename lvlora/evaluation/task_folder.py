"""What forecasters of other programs may see of an evaluation, as a folder: a task.

The histories are all of the data that it holds; the truth stays here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any, Self

from lvlora import folders
from lvlora.series.dataset import Dataset, Series
from lvlora.series.dates import written
from lvlora.series.files.csv import write_csv

TASK = "task.json"
HISTORIES = "histories.csv"
KIND = "task"
"""What `folders.kind_of` calls such a folder."""

_FORM = re.compile(r"(?P<steps>from(\d+|all)-to(\d+))-(?P<digest>[0-9a-f]{16})")


@dataclass(frozen=True)
class TaskName:
    """What identifies a task.

    >>> str(TaskName(50, 20, "0123456789abcdef"))
    'from50-to20-0123456789abcdef'

    Attributes:
        context: steps of history that forecasters see; None for all that came before.
        horizon: steps to forecast.
        digest: the first 16 digits of a hash of the data, the split, the series and what is seen.
    """

    context: int | None
    horizon: int
    digest: str

    def __str__(self) -> str:
        seen = "all" if self.context is None else self.context
        return f"from{seen}-to{self.horizon}-{self.digest[:16]}"

    @classmethod
    def read(cls, text: str) -> Self | None:
        """The inverse of ``str``; None for another text."""
        found = _FORM.fullmatch(text)
        if found is None or len(text) > 100:
            return None
        context = None if found[2] == "all" else int(found[2])
        return cls(context, int(found[3]), found["digest"])

    def unlike(self, text: str) -> str:
        """Why what was made for another task is not for this, in the middle of a sentence."""
        other = self.read(text)
        if other is None:
            return f"its column 'task' says {text[:80]!r}, which is the name of no task"
        if other.horizon != self.horizon:
            return f"forecasts {other.horizon} steps; this evaluation asks for {self.horizon}"
        if self.context is not None and (other.context is None or other.context > self.context):
            seen = "all steps" if other.context is None else f"{other.context} steps"
            return f"its forecaster saw {seen} of history; this evaluation gives {self.context}"
        return (
            f"was made for another task ({other}; this one is {self}): other data, another part "
            "or split, other series or histories"
        )


def write_task(
    folder: Path,
    name: TaskName,
    histories: Dataset,
    futures: Sequence[Series],
    facts: Mapping[str, Any],
) -> list[Path]:
    """Write the folder; what was in its place must have been looked at before.

    ``histories.csv`` has the columns id, time and one for each variable; an empty cell is a missing
    value. ``task.json`` says what is asked: ``task`` (the name that forecasts may repeat),
    ``horizon``, ``variables``, ``series`` (``id``, ``steps`` of its history, and the times to
    forecast), and ``facts``.

    Args:
        histories: n series as forecasters see them.
        futures: n series, of which only the times are written.
        facts: what else the task says, as JSON.

    Raises:
        DataError: variables are called as the columns of ids and times are.
        LvloraError: the folder cannot be written.
    """
    stream = BytesIO()
    write_csv(replace(histories, source="the histories"), stream, always_ids=True)
    asked = {
        "schema_version": 1,
        "task": str(name),
        "horizon": name.horizon,
        "variables": list(histories.variables),
        **facts,
        "series": [
            {
                "id": history.id,
                "steps": len(history),
                "time": written(future.calendar, future.time),
            }
            for history, future in zip(histories, futures, strict=True)
        ],
    }
    with folders.replacing(folder.absolute()) as new:
        (new / HISTORIES).write_bytes(stream.getvalue())
        (new / TASK).write_text(json.dumps(asked, indent=1, allow_nan=False) + "\n", "utf-8")
        folders.mark(new, KIND, [TASK, HISTORIES])
    return [folder / TASK, folder / HISTORIES]


def check_place(folder: Path, needed: Mapping[str, Path | None]) -> None:
    """Refuse, before the work, a folder that a task must not replace.

    Args:
        needed: what must stay, by a name for it: data, runs …

    Raises:
        SettingsError: it holds something else than a task of ours, or is what is needed.
    """
    folders.check_spares("--export-task", folder, needed)
    if folder.is_symlink() or (folder.exists() and not _is_empty(folder)):
        folders.check_replaceable("--export-task", folder, KIND, needed)


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())
