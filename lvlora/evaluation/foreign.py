"""Forecasts that were made elsewhere, read from a table and checked before they are scored."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lvlora.errors import DataError, SettingsError, meant, reason
from lvlora.evaluation.task_folder import TaskName
from lvlora.series.dataset import FloatArray
from lvlora.series.files.formulas import armed
from lvlora.series.files.limits import MAX_MAGNITUDE, MAX_TEXT_BYTES, MAX_VALUES

KIND = "foreign"
N_LEVELS = 101
"""Levels, evenly from 0 to 1, at which the quantiles of a file are read off: every percent is one
of them, so that coverage is that of the file's own quantiles."""

_KEYS = ("series", "step", "variable")
_LARGEST_SAMPLE = 10**9
_CSV_LIMIT = 10_000
"""Characters of a cell."""


@dataclass(frozen=True)
class ForeignForecasts:
    """What a file says of all series of an evaluation.

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
    found: dict[str, Path] = {}
    others = set(taken)
    for text in settings:
        name, _, file = text.partition("=")
        name = name.strip()
        if not name or not file or not name.isprintable() or len(name) > 100:
            raise SettingsError(
                f"--forecasts {text}: should be NAME=FILE",
                "For example --forecasts chronos-2=chronos.csv.",
            )
        if name in found or name in others:
            raise SettingsError(
                f"--forecasts {text}: another forecaster is called {name}", "Choose another name."
            )
        found[name] = Path(file)
    return found


def read_forecasts(
    path: Path,
    name: str,
    task: TaskName,
    ids: Sequence[str],
    variables: Sequence[str],
    horizon: int,
) -> ForeignForecasts:
    """Read a table of forecasts, a row a number: CSV, or Parquet by its suffix.

    Columns: ``series``, ``step`` (1 is the first after the history), ``variable``, ``value``, and
    either ``quantile`` (0.5 among them) or ``sample``; with neither, values are medians. A column
    ``task`` says for which task they were made (`TaskName`). The order of rows does not matter.

    Args:
        name: of the forecaster.
        task: what is scored.
        ids: n names of series; variables: V names.
        horizon: H steps.

    Raises:
        DataError: the file cannot be read; a row is not of this task, is there twice or missing;
            a value is not finite; the forecasts were made for another task.
        SettingsError: it is a Parquet file, and pyarrow is not installed.
    """
    is_parquet = path.suffix.lower() in (".parquet", ".pq")
    table = _parquet_columns(path) if is_parquet else _csv_columns(path)
    said = _task_of(table, task, path)
    kinds = [kind for kind in ("quantile", "sample") if kind in table.columns]
    if len(kinds) > 1:
        raise DataError(
            f"{path}: has both a column 'quantile' and a column 'sample'", "Leave one of them out."
        )
    series = _positions(table, "series", ids)
    variable = _positions(table, "variable", variables)
    step = _whole(table, "step", 1, horizon) - 1
    values = _values(table)
    if kinds == ["sample"]:
        members, which = np.unique(_whole(table, "sample", 0, _LARGEST_SAMPLE), return_inverse=True)
        words = [f"sample {m}" for m in members.tolist()]
    elif kinds == ["quantile"]:
        levels, which = np.unique(_levels(table), return_inverse=True)
        words = [f"quantile {q:g}" for q in levels.tolist()]
        if not np.isclose(levels, 0.5).any():
            raise DataError(
                f"{path}: has no quantile 0.5", "The median is the point forecast: add it."
            )
    else:
        which, words = np.zeros(len(values), dtype=np.int64), [""]
    shape = (len(ids), len(words), horizon, len(variables))
    n_wanted = int(np.prod(shape, dtype=object))
    if n_wanted > MAX_VALUES:
        raise DataError(
            f"{path}: {n_wanted:,} values; the limit is {MAX_VALUES:,}", "Give fewer samples."
        )
    flat = np.ravel_multi_index((series, which, step, variable), shape)
    _check_each_once(table, flat, shape, ids, words, variables)
    numbers = np.empty(n_wanted)
    numbers[flat] = values
    found = numbers.reshape(shape)
    if kinds == ["sample"]:
        alone = shape[1] == 1
        return ForeignForecasts(
            name, np.median(found, axis=1), None if alone else found, False, said
        )
    if kinds == ["quantile"]:
        point = found[:, int(np.argmin(np.abs(levels - 0.5)))]
        whole = None if len(levels) == 1 else _quantile_function(levels, found)
        return ForeignForecasts(name, point, whole, True, said)
    return ForeignForecasts(name, found[:, 0], None, False, said)


def _quantile_function(levels: FloatArray, found: FloatArray) -> FloatArray:
    """(n, `N_LEVELS`, H, V) of quantiles (n, Q, H, V), linear between them and flat beyond.

    Quantiles that cross are put in order first (Chernozhukov, Fernández-Val & Galichon 2010,
    doi:10.3982/ECTA7880).
    """
    ordered = np.sort(found, axis=1)
    at = np.linspace(0.0, 1.0, N_LEVELS)
    right = np.clip(np.searchsorted(levels, at), 1, len(levels) - 1)
    left = right - 1
    share = np.clip((at - levels[left]) / (levels[right] - levels[left]), 0.0, 1.0)
    share = share[None, :, None, None]
    read: FloatArray = (1 - share) * ordered[:, left] + share * ordered[:, right]
    return read


@dataclass(frozen=True)
class _Table:
    """Columns of equal length, as they were read.

    Attributes:
        first_row: the number that messages give the first row.
    """

    path: Path
    columns: Mapping[str, Sequence[Any] | NDArray[Any]]
    first_row: int

    def at(self, row: int, column: str) -> str:
        """How messages call a cell."""
        return f"{self.path}, row {self.first_row + row}, column '{column}'"


def _check_columns(path: Path, header: Sequence[str]) -> None:
    known = (*_KEYS, "quantile", "sample", "value", "task")
    for name in header:
        if name not in known:
            raise DataError(
                f"{path}: has a column '{name}'",
                f"{meant(name, known)}Columns are series, step, variable, value, and quantile or "
                "sample; task may be there.",
            )
        if list(header).count(name) > 1:
            raise DataError(f"{path}: has two columns '{name}'", "Leave one of them out.")
    for name in (*_KEYS, "value"):
        if name not in header:
            raise DataError(
                f"{path}: has no column '{name}'",
                "Columns are series, step, variable, value, and quantile or sample.",
            )


def _csv_columns(path: Path) -> _Table:
    try:
        if path.stat().st_size > MAX_TEXT_BYTES:
            raise DataError(f"{path}: more than {MAX_TEXT_BYTES:,} bytes", "Write Parquet instead.")
        with path.open(encoding="utf-8-sig", newline="") as stream:
            header, columns = _csv_cells(path, _bounded(stream, path))
    except OSError as error:
        raise _unreadable(path, error) from None
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: is not UTF-8 text ({reason(error)})", "Give CSV or .parquet."
        ) from None
    except csv.Error as error:
        raise DataError(f"{path}: is no CSV file ({reason(error)})", "Is a quote open?") from None
    return _Table(path, dict(zip(header, columns, strict=True)), 2)


def _unreadable(path: Path, error: OSError) -> DataError:
    what = "no such file" if isinstance(error, FileNotFoundError) else error.strerror or str(error)
    return DataError(f"{path}: {what}", "--forecasts wants NAME=FILE, a CSV or Parquet file.")


def _bounded(stream: Iterable[str], path: Path) -> Iterator[str]:
    for number, line in enumerate(stream, start=1):
        if len(line) > _CSV_LIMIT or "\0" in line:
            raise DataError(
                f"{path}, row {number}: is no line of a CSV file", "Give CSV or .parquet."
            )
        yield line


def _csv_cells(path: Path, lines: Iterator[str]) -> tuple[list[str], list[list[str]]]:
    reader = csv.reader(lines)
    header = [name.strip() for name in next(reader, [])]
    _check_columns(path, header)
    columns: list[list[str]] = [[] for _ in header]
    for cells in reader:
        if not cells:
            continue
        if len(cells) != len(header):
            raise DataError(
                f"{path}, row {reader.line_num}: {len(cells)} fields, but {len(header)} columns",
                "Every row has a field for each column, separated by commas.",
            )
        if len(columns[0]) * len(header) > MAX_VALUES:
            raise DataError(f"{path}: more than {MAX_VALUES:,} fields", "Give fewer samples.")
        for column, cell in zip(columns, cells, strict=True):
            column.append(cell)
    return header, columns


def _parquet_columns(path: Path) -> _Table:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise SettingsError(
            "Parquet files need the package pyarrow",
            "Install it: pip install 'lvlora[parquet]'; or write CSV.",
        ) from None
    try:
        if not path.is_file():
            raise FileNotFoundError(2, "no such file")
        with pyarrow.parquet.ParquetFile(path) as file:
            header = list(file.schema_arrow.names)
            _check_columns(path, header)
            if file.metadata.num_rows * len(header) > MAX_VALUES:
                raise DataError(f"{path}: more than {MAX_VALUES:,} fields", "Give fewer samples.")
            table = file.read()
            table.validate(full=True)
            columns = {name: table.column(name).to_pylist() for name in header}
    except OSError as error:
        raise _unreadable(path, error) from None
    except (pyarrow.ArrowException, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: is no Parquet file ({reason(error)})", "Write it again."
        ) from None
    return _Table(path, columns, 1)


def _task_of(table: _Table, task: TaskName, path: Path) -> str | None:
    """What the file says it was made for, which must be this."""
    if "task" not in table.columns:
        return None
    names = sorted({str(cell).strip() for cell in table.columns["task"]})
    if len(names) > 1:
        raise DataError(
            f"{path}: is for two tasks, {names[0][:80]} and {names[1][:80]}",
            "A file of forecasts is for one.",
        )
    if names and names[0] != str(task):
        raise DataError(
            f"{path}: {task.unlike(names[0])}",
            "lvlora evaluate --export-task DIR, with the options of this evaluation, writes what "
            "may be seen.",
        )
    return names[0] if names else None


def _positions(table: _Table, column: str, names: Sequence[str]) -> NDArray[np.int64]:
    """(N,) which of the names each row has."""
    place = {name: i for i, name in enumerate(names)}
    found = np.empty(len(table.columns[column]), dtype=np.int64)
    for row, cell in enumerate(table.columns[column]):
        name = str(cell)
        at = place.get(name, place.get(armed(name.strip())))
        if at is None:
            what = {"series": "series that is scored"}.get(column, "variable of the data")
            raise DataError(
                f"{table.at(row, column)}: {name[:80]!r} is no {what}",
                f"{meant(name, names)}There are {', '.join(names[:5])}"
                f"{', …' if len(names) > 5 else ''}.",
            )
        found[row] = at
    return found


def _numbers(table: _Table, column: str, what: str) -> FloatArray:
    """(N,) finite numbers of a column."""
    cells = table.columns[column]
    try:
        found = np.array([float(cell) for cell in cells], dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        found = np.array([_number(cell) for cell in cells], dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(found))
    if len(bad):
        row = int(bad[0])
        raise DataError(f"{table.at(row, column)}: {str(cells[row])[:80]!r} is no {what}", _HINT)
    return found


_HINT = "Every series, step and variable needs a finite number."


def _number(cell: object) -> float:
    try:
        return float(cell)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return float("nan")


def _whole(table: _Table, column: str, low: int, high: int) -> NDArray[np.int64]:
    """(N,) whole numbers of a column, within limits."""
    found = _numbers(table, column, "whole number")
    bad = np.flatnonzero((found != np.floor(found)) | (found < low) | (found > high))
    if len(bad):
        row = int(bad[0])
        limits = f"1 to {high}, the steps that are forecast" if column == "step" else f"from {low}"
        raise DataError(
            f"{table.at(row, column)}: {str(table.columns[column][row])[:80]} is none of {limits}",
            "Step 1 is the first after the history." if column == "step" else "",
        )
    return found.astype(np.int64)


def _levels(table: _Table) -> FloatArray:
    """(N,) probabilities; those that differ by rounding are one."""
    found = _numbers(table, "quantile", "probability")
    bad = np.flatnonzero((found <= 0) | (found >= 1))
    if len(bad):
        row = int(bad[0])
        raise DataError(
            f"{table.at(row, 'quantile')}: {found[row]:g} is not between 0 and 1",
            "The median is 0.5.",
        )
    rounded: FloatArray = np.round(found, 9)
    return rounded


def _values(table: _Table) -> FloatArray:
    found = _numbers(table, "value", "finite number")
    bad = np.flatnonzero(np.abs(found) > MAX_MAGNITUDE)
    if len(bad):
        raise DataError(
            f"{table.at(int(bad[0]), 'value')}: beyond the limit of {MAX_MAGNITUDE:g}", _HINT
        )
    return found


def _check_each_once(
    table: _Table,
    flat: NDArray[np.int64],
    shape: tuple[int, int, int, int],
    ids: Sequence[str],
    words: Sequence[str],
    variables: Sequence[str],
) -> None:
    """Refuse rows that are there twice, or not at all."""
    counts = np.bincount(flat, minlength=int(np.prod(shape)))

    def said(place: int) -> str:
        i, m, step, v = (int(x) for x in np.unravel_index(place, shape))
        which = f", {words[m]}" if words[m] else ""
        return f"series {ids[i]}, step {step + 1}, variable {variables[v]}{which}"

    twice = np.flatnonzero(counts > 1)
    if len(twice):
        place = int(twice[0])
        rows = np.flatnonzero(flat == place)[:2] + table.first_row
        raise DataError(
            f"{table.path}, row {rows[1]}: {said(place)} is already in row {rows[0]}",
            "Keep one row for each.",
        )
    absent = np.flatnonzero(counts == 0)
    if len(absent):
        more = f", and {len(absent) - 1:,} more" if len(absent) > 1 else ""
        raise DataError(f"{table.path}: has no row for {said(int(absent[0]))}{more}", _HINT)
