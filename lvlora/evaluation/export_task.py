"""The verb: what an evaluation lets forecasters see, written for programs of others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lvlora.errors import SettingsError
from lvlora.evaluation.answers import ExportedTask
from lvlora.evaluation.job import check_windows, prepare
from lvlora.evaluation.task_folder import check_place, write_task
from lvlora.narrator import Narrator, Silent
from lvlora.series.dataset import Dataset
from lvlora.settings.scoring import EvaluateSettings


def check(settings: EvaluateSettings) -> Path:
    """The folder of ``--export-task``, if a task may be written there.

    Raises:
        SettingsError: it may not, or options don't go together.
    """
    folder = settings.export_task
    if folder is None:
        raise SettingsError("--export-task: should name a folder.", "--export-task task")
    if settings.forecasts:
        raise SettingsError(
            "--export-task scores nothing, so --forecasts would not be read.",
            "Leave one of the two out.",
        )
    check_windows(settings)
    check_place(folder, {"the data": settings.data, "the runs folder": settings.runs})
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
    given = job.task
    seen = Dataset(tuple(given.histories), given.variables, data.source, data.time_name)
    facts = {
        "split": given.protocol.part,
        "seen": str(given.disturbance) or None,
        "quantiles": list(settings.quantiles),
    }
    files = write_task(folder, job.task_name, seen, given.futures, facts)
    return ExportedTask(
        task=str(job.task_name),
        folder=str(folder),
        series=given.n_series,
        histories=len(given.histories),
        horizon=given.protocol.horizon,
        files=[str(path) for path in files],
    )
