"""The verb: what an evaluation lets forecasters see, written for programs of others: a task.

The histories are all of the data that its folder holds; the truth stays here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

from lvlora import folders
from lvlora.data.dataset import Dataset, Series
from lvlora.data.dates import written
from lvlora.data.files.csv import write_csv
from lvlora.errors import SettingsError
from lvlora.evaluation.answers import ExportedTask
from lvlora.evaluation.job import prepare
from lvlora.evaluation.settings import EvaluateSettings
from lvlora.narrator import Narrator, Silent

TASK = "task.json"
HISTORIES = "histories.csv"
KIND = "task"
"""Kind of such a folder, see `folders.kind_of`."""


def check(settings: EvaluateSettings) -> Path:
    """The folder of ``--export-task``, if a task may be written there.

    Raises:
        SettingsError: the folder holds something else than a task.
    """
    folder = settings.export_task
    if folder is None:
        raise SettingsError("--export-task: should name a folder.", "--export-task task")
    if settings.forecasts:
        raise SettingsError(
            "--export-task scores nothing, so --forecasts would not be read.",
            "Leave one of the two out.",
        )
    needed = {"the data": settings.data, "the runs folder": settings.runs}
    folders.check_replaceable("--export-task", folder, KIND, needed)
    return folder


def export_task(
    settings: EvaluateSettings, read: Callable[[], Dataset], narrator: Narrator | None = None
) -> ExportedTask:
    """Write the histories that ``lvlora evaluate`` with these settings shows, and what it asks.

    Nothing of the truth is written, no model is opened and nothing is spent.

    Raises:
        SettingsError: the folder holds something else.
        DataError: no series is long enough.
    """
    folder = check(settings)
    data = read()
    if data.known and narrator is not None:
        narrator.warning(
            f"Known columns ({', '.join(data.known)}) are not written: other programs forecast "
            "without them."
        )
    job = prepare(settings, data, narrator or Silent(), has_folder=False)
    task = job.task
    histories = Dataset(tuple(task.histories), task.variables, data.source, data.time_name)
    facts = {
        "split": task.protocol.part,
        "seen": str(task.disturbance) or None,
        "quantiles": list(settings.quantiles),
    }
    files = write_task(folder, job.task_name, histories, task.futures, facts)
    return ExportedTask(
        task=job.task_name,
        folder=str(folder),
        series=task.n_series,
        histories=len(task.histories),
        horizon=task.protocol.horizon,
        files=[str(path) for path in files],
    )


def write_task(
    folder: Path, name: str, histories: Dataset, futures: Sequence[Series], facts: Mapping[str, Any]
) -> list[Path]:
    """Write the folder; what was in its place must have been looked at before.

    ``histories.csv`` has the columns id, time and one for each variable; an empty cell is a missing
    value. ``task.json`` has ``task`` (the name that forecasts may repeat), ``horizon``,
    ``variables``, ``series`` (``id``, ``steps`` of its history, and the times to forecast), and
    ``facts``.

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
    task = {
        "schema_version": 1,
        "task": name,
        "horizon": len(futures[0]),
        "variables": list(histories.variables),
        **facts,
        "series": [
            {"id": past.id, "steps": len(past), "time": written(future.calendar, future.time)}
            for past, future in zip(histories, futures, strict=True)
        ],
    }
    with folders.replacing(folder.absolute()) as new:
        (new / HISTORIES).write_bytes(stream.getvalue())
        (new / TASK).write_text(json.dumps(task, indent=1, allow_nan=False) + "\n", "utf-8")
        folders.mark(new, KIND, [TASK, HISTORIES])
    return [folder / TASK, folder / HISTORIES]
