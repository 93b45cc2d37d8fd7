"""Forecasts that were made elsewhere: a long table, read by pandas and checked before scoring."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lvlora.data.dataset import FloatArray
from lvlora.data.files.columns import MAX_VALUES, place, read_numbers
from lvlora.data.files.csv import TextTable, armed
from lvlora.data.files.parquet import ParquetTable, open_table
from lvlora.data.files.readers import open_file
from lvlora.errors import DataError, SettingsError, meant

if TYPE_CHECKING:
    import pandas

KIND = "foreign"
N_LEVELS = 101
"""Levels, evenly from 0 to 1, at which the quantiles of a file are read off: every percent is one
of them, so that coverage is that of the file's own quantiles."""

_TEXTS = ("series", "variable", "task")
_NUMBERS = ("step", "quantile", "sample", "value")
_OPTIONAL = ("quantile", "sample", "task")
_LARGEST_SAMPLE = 10**9
_LEVEL_DECIMALS = 9
"""Levels that differ by less are one."""
_COLUMNS_HINT = (
    "Columns are series, step, variable, value, and quantile or sample; task may be there."
)
_VALUES_HINT = "Every series, step and variable needs a finite number."


@dataclass(frozen=True)
class ForeignForecasts:
    """Forecasts of a file for all series of an evaluation.

    Attributes:
        name: what tables call its forecaster.
        point: (n, H, V) the median: of the quantiles that of level 0.5, of samples their own.
        samples: (n, S, H, V) futures, or the quantile function at `N_LEVELS` even levels; None for
            a file of medians alone.
        are_quantiles: whether ``samples`` are the latter.
        task: for which the file says that it was made; None where it does not say.
    """

    name: str
    point: FloatArray
    samples: FloatArray | None
    are_quantiles: bool
    task: str | None


def named_files(settings: Iterable[str], taken: Iterable[str] = ()) -> dict[str, Path]:
    """Names and files of ``--forecasts NAME=FILE``.

    Args:
        taken: names that other forecasters have.

    Raises:
        SettingsError: no name, no file, or a name that is not the only one.
    """
    files: dict[str, Path] = {}
    others = set(taken)
    for text in settings:
        name, _, file = text.partition("=")
        name = name.strip()
        if not name or not file or not name.isprintable() or len(name) > 100:
            raise SettingsError(
                f"--forecasts {text}: should be NAME=FILE",
                "For example --forecasts chronos-2=chronos.csv.",
            )
        if name in files or name in others:
            raise SettingsError(
                f"--forecasts {text}: another forecaster is called {name}", "Choose another name."
            )
        files[name] = Path(file)
    return files


def read_forecasts(
    path: Path, name: str, task: str, ids: Sequence[str], variables: Sequence[str], horizon: int
) -> ForeignForecasts:
    """Read a table of forecasts, a row a number: CSV, or Parquet by its suffix.

    Columns: ``series``, ``step`` (1 is the first after the history), ``variable``, ``value``, and
    either ``quantile`` (0.5 among them) or ``sample``; with neither, values are medians. A column
    ``task`` names the task for which they were made. The order of rows does not matter.

    Args:
        name: of the forecaster.
        task: the name of what is scored.
        ids: n names of series; variables: V names.
        horizon: H steps.

    Raises:
        DataError: the file cannot be read; a row is not of this task, is there twice or missing;
            a value is not finite; the forecasts were made for another task.
        SettingsError: it is a Parquet file, and pyarrow is not installed.
    """
    import pandas

    where = str(path)
    table = _read_table(path, where)
    task_name = _task_of(table, task, where)
    kind, members, which = _members(table, where)
    shape = (len(ids), len(members), horizon, len(variables))
    n_values = math.prod(shape)
    if n_values > MAX_VALUES:
        raise DataError(
            f"{where}: {n_values:,} values; the limit is {MAX_VALUES:,}", "Give fewer samples."
        )
    cells = pandas.MultiIndex(
        levels=[ids, members, range(1, horizon + 1), variables],
        codes=[
            _positions(table["series"], ids, where, "series that is scored"),
            which,
            _whole(table["step"], 1, horizon, where) - 1,
            _positions(table["variable"], variables, where, "variable of the data"),
        ],
        names=["series", kind, "step", "variable"],
        verify_integrity=False,
    )
    values = pandas.Series(_complete(table["value"], where), index=cells)
    _refuse_repeats(values, table["value"].index, where)
    every = pandas.MultiIndex.from_product(cells.levels, names=cells.names)
    values = values.reindex(every)
    absent = np.flatnonzero(values.isna())
    if len(absent):
        more = f", and {len(absent) - 1:,} more" if len(absent) > 1 else ""
        raise DataError(
            f"{where}: has no row for {_cell(every, int(absent[0]))}{more}", _VALUES_HINT
        )
    numbers = values.to_numpy().reshape(shape)
    several = len(members) > 1
    if kind != "quantile":
        point = np.median(numbers, axis=1)
        return ForeignForecasts(name, point, numbers if several else None, False, task_name)
    point = numbers[:, int(np.argmin(np.abs(members - 0.5)))]
    samples = _quantile_function(members, numbers) if several else None
    return ForeignForecasts(name, point, samples, True, task_name)


def _refuse_repeats(values: pandas.Series, rows: pandas.Index, where: str) -> None:
    repeats = np.flatnonzero(values.index.duplicated())
    if not len(repeats):
        return
    at = int(repeats[0])
    first = int(np.flatnonzero(values.index == values.index[at])[0])
    raise DataError(
        f"{where}, row {rows[at]}: {_cell(values.index, at)} is already in row {rows[first]}",
        "Keep one row for each.",
    )


def _cell(index: pandas.MultiIndex, at: int) -> str:
    """An entry of the index in words: series a, quantile 0.1, step 1, variable prey."""
    pairs = zip(index.names, index[at], strict=True)
    return ", ".join(f"{name} {value}" for name, value in pairs if name)


def _quantile_function(levels: FloatArray, quantiles: FloatArray) -> FloatArray:
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
    read: FloatArray = (1 - share) * ordered[:, left] + share * ordered[:, right]
    return read


def _read_table(path: Path, where: str) -> dict[str, pandas.Series]:
    """The columns by name, indexed by the numbers of their rows."""
    with open_file(path) as stream:
        if path.suffix.lower() in (".parquet", ".pq"):
            with open_table(stream, where) as parquet:
                return _columns(parquet, where)
        return _columns(TextTable.open(stream, where), where)


def _columns(table: TextTable | ParquetTable, where: str) -> dict[str, pandas.Series]:
    header, known = table.header, (*_TEXTS, *_NUMBERS)
    for name in header:
        if name not in known:
            raise DataError(
                f"{where}: has a column '{name}'", f"{meant(name, known)}{_COLUMNS_HINT}"
            )
        if header.count(name) > 1:
            raise DataError(f"{where}: has two columns '{name}'", "Leave one of them out.")
    for name in known:
        if name not in header and name not in _OPTIONAL:
            raise DataError(f"{where}: has no column '{name}'", _COLUMNS_HINT)
    numbers = [i for i, name in enumerate(header) if name in _NUMBERS]
    texts = [i for i, name in enumerate(header) if name in _TEXTS]
    return {header[i]: column for i, column in table.columns(numbers, texts).items()}


def _task_of(table: dict[str, pandas.Series], task: str, where: str) -> str | None:
    """The task that the file names, which must be this."""
    if "task" not in table:
        return None
    names = sorted({str(name).strip() for name in table["task"].unique()})
    if names and names != [task]:
        other = next(name for name in names if name != task)
        raise DataError(
            f"{where}: was made for another task: column 'task' has {other[:80]!r}, this one is "
            f"{task}",
            "lvlora evaluate --export-task DIR, with the options of this evaluation, writes what "
            "may be seen.",
        )
    return names[0] if names else None


def _members(
    table: dict[str, pandas.Series], where: str
) -> tuple[str | None, NDArray[Any], NDArray[np.int64]]:
    """The column that tells forecasts of one number apart, its values, (N,) which each row has."""
    if "quantile" in table and "sample" in table:
        raise DataError(
            f"{where}: has both a column 'quantile' and a column 'sample'", "Leave one of them out."
        )
    if "sample" in table:
        samples = _whole(table["sample"], 0, _LARGEST_SAMPLE, where)
        numbers, which = np.unique(samples, return_inverse=True)
        return "sample", numbers, which
    if "quantile" not in table:
        return None, np.zeros(1), np.zeros(len(table["value"]), dtype=np.int64)
    rounded = np.round(_complete(table["quantile"], where), _LEVEL_DECIMALS)
    bad = np.flatnonzero((rounded <= 0) | (rounded >= 1))
    if len(bad):
        at = int(bad[0])
        raise DataError(
            f"{place(table['quantile'], at, where)}: {table['quantile'].iloc[at]:g} is not between "
            f"0 and 1, rounded to {_LEVEL_DECIMALS} decimals",
            "The median is 0.5.",
        )
    levels, which = np.unique(rounded, return_inverse=True)
    if not np.isclose(levels, 0.5).any():
        raise DataError(
            f"{where}: has no quantile 0.5", "The median is the point forecast: add it."
        )
    return "quantile", levels, which


def _positions(
    column: pandas.Series, names: Sequence[str], where: str, what: str
) -> NDArray[np.int64]:
    """(N,) the place of each row's name among the names."""
    import pandas

    codes, distinct = pandas.factorize(column, use_na_sentinel=False)
    _, first = np.unique(codes, return_index=True)
    places = {name: i for i, name in enumerate(names)}
    translation = np.empty(len(distinct), dtype=np.int64)
    for code, (cell, at) in enumerate(zip(distinct, first.tolist(), strict=True)):
        name = str(cell)
        position = places.get(name, places.get(armed(name.strip())))
        if position is None:
            raise DataError(
                f"{place(column, at, where)}: {name[:80]!r} is no {what}",
                f"{meant(name[:80], names)}There are {', '.join(names[:5])}"
                f"{', …' if len(names) > 5 else ''}.",
            )
        translation[code] = position
    return translation[np.asarray(codes, dtype=np.int64)]


def _complete(column: pandas.Series, where: str) -> FloatArray:
    """(N,) numbers of a column, none of them missing."""
    numbers = read_numbers(column, where)
    missing = np.flatnonzero(np.isnan(numbers))
    if len(missing):
        raise DataError(
            f"{place(column, int(missing[0]), where)}: the number is missing", _VALUES_HINT
        )
    return numbers


def _whole(column: pandas.Series, low: int, high: int, where: str) -> NDArray[np.int64]:
    """(N,) whole numbers of a column, within limits."""
    numbers = _complete(column, where)
    bad = np.flatnonzero((numbers != np.floor(numbers)) | (numbers < low) | (numbers > high))
    if len(bad):
        at = int(bad[0])
        raise DataError(
            f"{place(column, at, where)}: {numbers[at]:g} is none of {low} to {high}",
            "Step 1 is the first after the history; samples are numbered.",
        )
    return numbers.astype(np.int64)
