"""Other programs: the task that they get, and the table of forecasts that they return.

The folder of a task holds the histories; the truth stays here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lvlora import folders
from lvlora.data.dataset import Dataset, FloatArray
from lvlora.data.dates import written
from lvlora.data.files import open_file
from lvlora.data.files.csv import armed, open_csv, table_text
from lvlora.data.files.parquet import open_parquet
from lvlora.data.files.tables import MAX_VALUES, place, read_numbers, shortened
from lvlora.errors import DataError
from lvlora.evaluation.answers import ExportedTask
from lvlora.evaluation.job import Job
from lvlora.evaluation.scores import Entry
from lvlora.evaluation.settings import EvaluateSettings
from lvlora.narrator import Narrator

if TYPE_CHECKING:
    import pandas

TASK = "task.json"
HISTORIES = "histories.csv"
N_LEVELS = 101
"""Levels, evenly from 0 to 1, at which the quantiles of a file are read off: every percent is one
of them, so that coverage is that of the file's own quantiles."""

_NUMBERS = ("step", "quantile", "sample", "value")
_TEXTS = ("series", "variable", "task")
_LEVEL_DECIMALS = 9
"""Levels that differ by less are one."""
_HINT = (
    "Columns are series, step (1 is the first after the history), variable, value, and quantile "
    "(0.5 among them) or sample; task may be there. Every value needs one row."
)


def check_task_folder(settings: EvaluateSettings, folder: Path) -> None:
    """Refuse a folder that holds something else than a task, or that the command needs.

    Raises:
        SettingsError: it cannot be replaced.
    """
    needed = {"the data": settings.data, "the runs folder": settings.runs}
    folders.check_replaceable("--export-task", folder, "task", needed)


def export_task(job: Job, folder: Path, narrator: Narrator) -> ExportedTask:
    """Write the histories that an evaluation shows, and which steps to forecast.

    docs/evaluation.md describes both files.

    Raises:
        DataError: variables are called as the columns of ids and times are.
        LvloraError: the folder cannot be written.
    """
    task = job.task
    if job.data.known:
        narrator.warning(
            f"Known columns ({', '.join(job.data.known)}) are not written: other programs forecast "
            "without them."
        )
    histories = Dataset(tuple(task.histories), task.variables, "the histories", job.data.time_name)
    content = {
        "schema_version": 1,
        "task": job.task_name,
        "horizon": task.protocol.horizon,
        "variables": list(task.variables),
        "split": task.protocol.part,
        "seen": None,
        "quantiles": list(job.settings.quantiles),
        "series": [
            {"id": past.id, "steps": len(past), "time": written(future.calendar, future.time)}
            for past, future in zip(task.histories, task.futures, strict=True)
        ],
    }
    with folders.replacing(folder.absolute()) as new:
        text = "".join(table_text(histories, always_ids=True))
        (new / HISTORIES).write_text(text, "utf-8", newline="")
        (new / TASK).write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", "utf-8")
        folders.mark(new, "task", [TASK, HISTORIES])
    return ExportedTask(
        task=job.task_name,
        folder=str(folder),
        series=task.n_series,
        histories=len(task.histories),
        horizon=task.protocol.horizon,
        files=[str(folder / TASK), str(folder / HISTORIES)],
    )


def score_foreign(job: Job, narrator: Narrator) -> list[Entry]:
    """Score the forecasts of other programs; their cost is unknown.

    Raises:
        DataError: a file is not a table of forecasts of this task.
    """
    task, entries = job.task, []
    for name, path in job.settings.forecast_files.items():
        forecasts = read_forecasts(
            path, job.task_name, task.ids, task.variables, task.protocol.horizon
        )
        if not forecasts.names_task:
            narrator.warning(
                f"{path} has no column 'task': nobody knows whether {name} saw more than the "
                "histories of this evaluation."
            )
        entries.append(
            Entry.of(
                name,
                "foreign",
                task,
                forecasts.point,
                forecasts.samples,
                job.settings.quantiles,
                are_quantiles=forecasts.are_quantiles,
                seconds=math.nan,
            )
        )
    return entries


class ForeignForecasts(NamedTuple):
    """Forecasts of a file for all series of an evaluation."""

    point: FloatArray
    """(n, H, V) the median: of the quantiles that of level 0.5, of samples their own."""
    samples: FloatArray | None
    """(n, S, H, V), S futures or the quantile function at `N_LEVELS` levels; None for medians."""
    are_quantiles: bool
    """The samples are a quantile function."""
    names_task: bool
    """The file names the task."""


def read_forecasts(
    path: Path, task: str, ids: Sequence[str], variables: Sequence[str], horizon: int
) -> ForeignForecasts:
    """Read a table of forecasts, a row a number: CSV, or Parquet by its suffix.

    With neither quantiles nor samples, values are medians. The order of rows does not matter.

    Args:
        task: the name of the task that is scored.
        ids: n names of series; variables: V names.
        horizon: H steps.

    Raises:
        DataError: the file cannot be read; a row is not of this task, is there twice or missing;
            a value is not finite; the forecasts were made for another task.
        SettingsError: it is a Parquet file, and pyarrow is not installed.
    """
    import pandas

    where = str(path)
    frame = _read_table(path, where)
    names_task = "task" in frame and len(frame) > 0
    for other in frame["task"].unique() if names_task else ():
        if str(other).strip() != task:
            raise DataError(
                f"{where}: was made for another task: column 'task' has {str(other)[:80]!r}, this "
                f"one is {task}",
                "lvlora evaluate --export-task DIR, with the options of this evaluation, writes "
                "what may be seen.",
            )
    kind = "sample" if "sample" in frame else "quantile"
    if kind not in frame:
        frame[kind] = 0.5
    for name in ("step", kind, "value"):
        frame[name] = read_numbers(frame[name], where)
        _refuse(frame[name].isna(), frame[name], where, "is not a number")
    if kind == "quantile":
        frame[kind] = frame[kind].round(_LEVEL_DECIMALS)
        levels = frame[kind]
        _refuse((levels <= 0) | (levels >= 1), levels, where, "is not between 0 and 1")
        if not (levels == 0.5).any():
            raise DataError(f"{where}: has no quantile 0.5", _HINT)
    axes: dict[str, Sequence[Any]] = {
        "series": ids,
        kind: np.unique(frame[kind]).tolist(),
        "step": range(1, horizon + 1),
        "variable": variables,
    }
    shape = tuple(map(len, axes.values()))
    if math.prod(shape) > MAX_VALUES:
        raise DataError(
            f"{where}: {math.prod(shape):,} values; the limit is {MAX_VALUES:,}",
            "Give fewer samples.",
        )
    for name in ("series", "step", "variable"):
        known = ", ".join(map(str, axes[name][:5]))
        _refuse(~frame[name].isin(axes[name]), frame[name], where, f"is none of {known}")
    _refuse(frame.duplicated(list(axes)), frame["series"], where, "repeats an earlier row")
    values = frame.set_index(list(axes))["value"]
    values = values.reindex(pandas.MultiIndex.from_product(axes.values()))
    absent = values.index[values.isna()]
    if len(absent):
        more = f", and {len(absent) - 1:,} more" if len(absent) > 1 else ""
        cell = ", ".join(f"{axis} {at}" for axis, at in zip(axes, absent[0], strict=True))
        raise DataError(f"{where}: has no row for {cell}{more}", _HINT)
    forecasts, members = values.to_numpy().reshape(shape), np.array(axes[kind])
    if kind == "sample":
        point, samples = np.median(forecasts, axis=1), forecasts
    else:
        point = forecasts[:, axes[kind].index(0.5)]
        samples = quantile_function(members, forecasts) if len(members) > 1 else forecasts
    return ForeignForecasts(
        point, samples if len(members) > 1 else None, kind == "quantile", names_task
    )


def quantile_function(levels: FloatArray, quantiles: FloatArray) -> FloatArray:
    """(n, `N_LEVELS`, H, V) of quantiles (n, Q, H, V), linear between them and flat beyond.

    Quantiles that cross are put in order first (Chernozhukov, Fernández-Val & Galichon 2010,
    doi:10.3982/ECTA7880).
    """
    ordered = np.sort(quantiles, axis=1)
    at = np.linspace(0.0, 1.0, N_LEVELS)
    right = np.clip(np.searchsorted(levels, at), 1, len(levels) - 1)
    left = right - 1
    share = np.clip((at - levels[left]) / (levels[right] - levels[left]), 0.0, 1.0)
    share = share[None, :, None, None]
    function: FloatArray = (1 - share) * ordered[:, left] + share * ordered[:, right]
    return function


def _read_table(path: Path, where: str) -> pandas.DataFrame:
    """Read the table, indexed by the numbers of its rows."""

    with open_file(path) as stream:
        is_parquet = path.suffix.lower() in (".parquet", ".pq")
        table = open_parquet(stream, where) if is_parquet else open_csv(stream, where)
        header, names = table.header, set(table.header)
        if (
            len(names) < len(header)
            or not {"series", "step", "variable", "value"} <= names <= {*_NUMBERS, *_TEXTS}
            or {"quantile", "sample"} <= names
        ):
            raise DataError(f"{where}: its columns are {', '.join(header)[:200]}", _HINT)
        numbers, texts = ([name for name in header if name in kind] for kind in (_NUMBERS, _TEXTS))
        frame = table.read(numbers, texts, [])
    for name in ("series", "variable"):  # as the task's histories.csv has them, if not as here
        frame[name] = frame[name].map(lambda cell: armed(str(cell).strip())).astype(object)
    return frame


def _refuse(wrong: pandas.Series, column: pandas.Series, where: str, problem: str) -> None:
    """Refuse the first cell that is wrong, by its row and column."""
    if wrong.any():
        at = int(np.argmax(wrong))
        shown = shortened(column.iloc[at])
        raise DataError(f"{place(column, at, where)}: '{shown}' {problem}", _HINT)
