"""Other programs: the task that they get, and the table of forecasts that they return.

The folder of a task holds the histories; the truth stays here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lvlora import folders
from lvlora.data.dataset import Dataset, FloatArray
from lvlora.data.dates import written
from lvlora.data.files.columns import MAX_VALUES, place, read_numbers
from lvlora.data.files.csv import TextTable, armed, write_csv
from lvlora.data.files.parquet import ParquetTable, open_table
from lvlora.data.files.readers import open_file
from lvlora.errors import DataError, meant
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

    ``histories.csv`` has the columns id, time and one for each variable; an empty cell is a missing
    value. ``task.json`` has ``task`` (the name that forecasts may repeat), ``horizon``,
    ``variables``, ``split``, ``quantiles``, ``seen`` (changes to the histories), and ``series``:
    ``id``, ``steps`` of its history, and the times to forecast.

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
    stream = BytesIO()
    histories = Dataset(tuple(task.histories), task.variables, "the histories", job.data.time_name)
    write_csv(histories, stream, always_ids=True)
    content = {
        "schema_version": 1,
        "task": job.task_name,
        "horizon": task.protocol.horizon,
        "variables": list(task.variables),
        "split": task.protocol.part,
        "seen": str(task.disturbance) or None,
        "quantiles": list(job.settings.quantiles),
        "series": [
            {"id": past.id, "steps": len(past), "time": written(future.calendar, future.time)}
            for past, future in zip(task.histories, task.futures, strict=True)
        ],
    }
    with folders.replacing(folder.absolute()) as new:
        (new / HISTORIES).write_bytes(stream.getvalue())
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

    Columns: ``series``, ``step`` (1 is the first after the history), ``variable``, ``value``, and
    either ``quantile`` (0.5 among them) or ``sample``; with neither, values are medians. A column
    ``task`` names the task for which they were made. The order of rows does not matter.

    Args:
        task: the name of the task that is scored.
        ids: n names of series; variables: V names.
        horizon: H steps.

    Raises:
        DataError: the file cannot be read; a row is not of this task, is there twice or missing;
            a value is not finite; the forecasts were made for another task.
        SettingsError: it is a Parquet file, and pyarrow is not installed.
    """
    where = str(path)
    table = _read_table(path, where)
    others = {str(name).strip() for name in table["task"].unique()} if "task" in table else set()
    for other in sorted(others - {task}):
        raise DataError(
            f"{where}: was made for another task: column 'task' has {other[:80]!r}, this one is "
            f"{task}",
            "lvlora evaluate --export-task DIR, with the options of this evaluation, writes what "
            "may be seen.",
        )
    kind = next((name for name in ("quantile", "sample") if name in table), "")
    members, which = np.zeros(1), np.zeros(len(table["value"]), dtype=np.int64)
    if kind == "quantile":
        levels = _numbers(table[kind], where, 0, 1, _LEVEL_DECIMALS)
        members, which = np.unique(levels, return_inverse=True)
        if not np.isclose(members, 0.5).any():
            raise DataError(f"{where}: has no quantile 0.5", _HINT)
    elif kind == "sample":
        numbers = _numbers(table[kind], where, -1, 1e9, 0)
        members, which = np.unique(numbers.astype(np.int64), return_inverse=True)
    axes: dict[str, Sequence[Any]] = {
        "series": ids,
        kind: members.tolist(),
        "step": range(1, horizon + 1),
        "variable": variables,
    }
    shape = tuple(map(len, axes.values()))
    if math.prod(shape) > MAX_VALUES:
        raise DataError(
            f"{where}: {math.prod(shape):,} values; the limit is {MAX_VALUES:,}",
            "Give fewer samples.",
        )
    steps = _numbers(table["step"], where, 0, horizon + 1, 0).astype(np.int64) - 1
    series, variable = (
        _positions(table[name], axes[name], where) for name in ("series", "variable")
    )
    cells = np.ravel_multi_index((series, which, steps, variable), shape)

    def words(cell: int) -> str:
        at = zip(axes, np.unravel_index(cell, shape), strict=True)
        return ", ".join(f"{axis} {axes[axis][int(i)]}" for axis, i in at if axis)

    _, first, inverse = np.unique(cells, return_index=True, return_inverse=True)
    repeats = np.flatnonzero(first[inverse] != np.arange(len(cells)))
    if len(repeats):
        again, rows = int(repeats[0]), table["value"].index
        raise DataError(
            f"{where}, row {rows[again]}: {words(cells[again])} is already in row "
            f"{rows[first[inverse[again]]]}",
            _HINT,
        )
    values = np.full(math.prod(shape), np.nan)
    values[cells] = _numbers(table["value"], where)
    absent = np.flatnonzero(np.isnan(values))
    if len(absent):
        more = f", and {len(absent) - 1:,} more" if len(absent) > 1 else ""
        raise DataError(f"{where}: has no row for {words(int(absent[0]))}{more}", _HINT)
    forecasts, has_several = values.reshape(shape), len(members) > 1
    if kind != "quantile":
        point, samples = np.median(forecasts, axis=1), forecasts
    else:
        point = forecasts[:, int(np.argmin(np.abs(members - 0.5)))]
        samples = quantile_function(members, forecasts) if has_several else forecasts
    return ForeignForecasts(
        point, samples if has_several else None, kind == "quantile", bool(others)
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


def _read_table(path: Path, where: str) -> dict[str, pandas.Series]:
    """Read the columns by name, indexed by the numbers of their rows."""
    with open_file(path) as stream:
        opened: AbstractContextManager[TextTable | ParquetTable]
        if path.suffix.lower() in (".parquet", ".pq"):
            opened = open_table(stream, where)
        else:
            opened = nullcontext(TextTable.open(stream, where))
        with opened as table:
            header, names = table.header, set(table.header)
            if (
                len(names) < len(header)
                or not {"series", "step", "variable", "value"} <= names <= {*_NUMBERS, *_TEXTS}
                or {"quantile", "sample"} <= names
            ):
                raise DataError(f"{where}: its columns are {', '.join(header)[:200]}", _HINT)
            numbers, texts = (
                [i for i, name in enumerate(header) if name in kind] for kind in (_NUMBERS, _TEXTS)
            )
            return {header[i]: column for i, column in table.columns(numbers, texts).items()}


def _positions(column: pandas.Series, names: Sequence[str], where: str) -> NDArray[np.int64]:
    """(N,) the place of each row's name among the names; a categorical column stays one."""
    import pandas

    index = pandas.Index(names, dtype=object)
    exact, stripped = (
        index.get_indexer(pandas.Index(column.map(text)))
        for text in (str, lambda cell: armed(str(cell).strip()))
    )
    positions: NDArray[np.int64] = np.where(exact < 0, stripped, exact)

    def problem(at: int) -> str:
        name = str(column.iloc[at])[:80]
        return f"{name!r} is none of {', '.join(names[:5])}. {meant(name, names)}"

    _refuse(positions < 0, column, where, problem)
    return positions


def _numbers(
    column: pandas.Series,
    where: str,
    above: float = -math.inf,
    below: float = math.inf,
    decimals: int | None = None,
) -> FloatArray:
    """(N,) numbers of a column, rounded, all between two others; 0 decimals: whole ones."""
    numbers = read_numbers(column, where)
    rounded = numbers if decimals is None else np.round(numbers, decimals)
    is_right = (rounded > above) & (rounded < below) & ((rounded == numbers) | (decimals != 0))
    kind = "a whole number " if decimals == 0 else ""
    bounds = "a number" if decimals is None else f"{kind}above {above:g} and below {below:g}"
    _refuse(~is_right, column, where, lambda at: f"{numbers[at]:g} is not {bounds}")
    return rounded


def _refuse(
    wrong: NDArray[np.bool_],
    column: pandas.Series,
    where: str,
    problem: Callable[[int], str],
) -> None:
    """Refuse the first cell that is wrong, by its row and column."""
    if wrong.any():
        at = int(np.argmax(wrong))
        raise DataError(f"{place(column, at, where)}: {problem(at)}", _HINT)
