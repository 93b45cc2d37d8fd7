"""Parquet: a long table with an id column (or a table of one trajectory), by way of pyarrow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lvlora.errors import DataError, SettingsError, reason
from lvlora.series.dataset import Dataset, FloatArray
from lvlora.series.dates import Moments, moments_of
from lvlora.series.files.limits import MAX_MAGNITUDE, MAX_VALUES
from lvlora.series.files.tables import (
    LONE_ID,
    SHORT_OF_ROWS,
    Rows,
    assemble,
    assign_roles,
    check_magnitude,
    check_name,
    table_header,
    time_hint,
    unclear_column,
)
from lvlora.settings.data import InputSettings


def _pyarrow() -> tuple[Any, Any]:
    """The packages pyarrow and pyarrow.parquet; SettingsError if they are not installed."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise SettingsError(
            "Parquet files need the package pyarrow",
            "Install it: pip install 'lvlora[parquet]'; or use HDF5 or CSV.",
        ) from None
    return pyarrow, pyarrow.parquet


def read_parquet(path: Path, settings: InputSettings, where: str) -> Dataset:
    """The trajectories of a Parquet file; `tables.assign_roles` says what the columns are.

    Nulls are missing values. Rows are counted from 1, without a header.

    Raises:
        DataError: columns that are not numbers, infinities, missing times or ids, damaged files.
        SettingsError: pyarrow is not installed.
    """
    pyarrow, parquet = _pyarrow()
    try:
        with parquet.ParquetFile(path) as file:
            return _read(file, path, settings, where)
    except (DataError, SettingsError):
        raise
    except (pyarrow.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{where}: not a readable Parquet file ({reason(error)})",
            "The file is damaged or incomplete; write or download it again.",
        ) from None


def _read(file: Any, path: Path, settings: InputSettings, where: str) -> Dataset:
    schema = file.schema_arrow
    header = [name.strip() for name in schema.names]
    roles = assign_roles(header, settings, where)
    n_rows = file.metadata.num_rows
    if n_rows * len(roles.variables) > MAX_VALUES:
        raise DataError(
            f"{where}: {n_rows * len(roles.variables):,} values; the limit is {MAX_VALUES:,}",
            "Split the file or use --columns.",
        )
    if n_rows == 0:
        raise DataError(f"{where}: names of columns, but no row of values", SHORT_OF_ROWS)
    values = np.column_stack(
        [
            _numbers(file, i, header[i], where, time_hint(header[i], header, roles))
            for i in roles.variables
        ]
    )
    time = None if roles.time is None else _times(file, roles.time, header[roles.time], where)
    ids, codes = [LONE_ID], np.zeros(n_rows, dtype=np.int64)
    if roles.id is not None:
        ids, codes = _ids(file, path, roles.id, header[roles.id], where)
    rows = Rows(ids, codes, time, values, np.arange(1, n_rows + 1))
    time_name = "time" if roles.time is None else header[roles.time]
    variables = [header[i] for i in roles.variables]
    return assemble(
        rows,
        variables,
        where=where,
        time_name=time_name,
        id_name="id" if roles.id is None else header[roles.id],
        ask_about=unclear_column(header, roles, settings),
    )


def _column(file: Any, position: int) -> Any:
    """One column as a chunked array, checked: a damaged page may give indices out of range."""
    name = file.schema_arrow.names[position]
    column = file.read(columns=[name]).column(name)
    column.validate(full=True)
    if len(column) != file.metadata.num_rows:
        raise ValueError(f"column {name} has {len(column)} of {file.metadata.num_rows} rows")
    return column


def _times(file: Any, position: int, name: str, where: str) -> FloatArray | Moments:
    """(N,) times, none missing: numbers, or dates from a date, a timestamp or ISO texts."""
    pyarrow, _ = _pyarrow()
    types, kind = pyarrow.types, file.schema_arrow.field(position).type
    if types.is_date(kind) or types.is_timestamp(kind) or _is_text(kind):
        column = _column(file, position)
        if column.null_count:
            row = column.to_pylist().index(None) + 1
            raise DataError(
                f"{where}, row {row}, column '{name}': the time is missing",
                "Every row needs its time.",
            )
        zoned = types.is_timestamp(kind) and kind.tz is not None
        # objects know their zone; without one numpy's dates are the same and many times as fast
        items = column.to_pylist() if zoned or _is_text(kind) else column.to_numpy()
        dates = moments_of(np.asarray(items, dtype=object if zoned else None), where, name)
        if dates is not None:
            return dates
    numbers = _numbers(file, position, name, where)
    if np.isnan(numbers).any():
        row = int(np.flatnonzero(np.isnan(numbers))[0]) + 1
        raise DataError(
            f"{where}, row {row}, column '{name}': the time is missing", "Every row needs its time."
        )
    return numbers


def _is_text(kind: Any) -> bool:
    pyarrow, _ = _pyarrow()
    return bool(pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind))


def _numbers(file: Any, position: int, name: str, where: str, if_date: str = "") -> FloatArray:
    """(N,) float64 of a numeric column, NaN for nulls.

    Args:
        if_date: what to do where it holds dates.
    """
    pyarrow, _ = _pyarrow()
    kind = file.schema_arrow.field(position).type
    types = pyarrow.types
    if not (types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)):
        is_date = types.is_date(kind) or types.is_timestamp(kind)
        raise DataError(
            f"{where}, column '{name}': it has the type {str(kind)[:60]}, not numbers",
            (is_date and if_date)
            or "Choose numeric columns with --columns; name an id column with --id-column.",
        )
    column = _column(file, position).cast(pyarrow.float64(), safe=False)
    numbers: FloatArray = np.asarray(column.to_numpy(), dtype=np.float64)
    bad = np.flatnonzero(np.abs(numbers) > MAX_MAGNITUDE)
    if len(bad):
        check_magnitude(float(numbers[bad[0]]), f"{where}, row {bad[0] + 1}, column '{name}'")
    return numbers


def _ids(file: Any, path: Path, position: int, name: str, where: str) -> tuple[list[str], Any]:
    """The distinct ids in order of first appearance, and each row's code."""
    pyarrow, parquet = _pyarrow()
    kind = file.schema_arrow.field(position).type
    types = pyarrow.types
    if types.is_dictionary(kind):
        kind = kind.value_type
    if not (types.is_integer(kind) or types.is_string(kind) or types.is_large_string(kind)):
        raise DataError(
            f"{where}, column '{name}': it has the type {str(kind)[:60]}, not ids",
            "Ids are strings or whole numbers; choose the column with --id-column.",
        )
    # many rows may share one long id: it is never written out for each of them
    stored_name = file.schema_arrow.names[position]
    with parquet.ParquetFile(path, read_dictionary=[stored_name]) as again:
        column = _column(again, position)
    if column.null_count:
        raise DataError(f"{where}, column '{name}': an id is missing", "Every row needs its id.")
    if not types.is_dictionary(column.type):
        column = column.dictionary_encode()
    encoded = column.unify_dictionaries().combine_chunks()
    texts = [
        check_name(str(item).strip(), f"an id ('{name}')", where)
        for item in encoded.dictionary.to_pylist()
    ]
    # a stored dictionary may hold unused or repeated entries, in any order
    code_of: dict[str, int] = {}
    indices = np.asarray(encoded.indices.to_numpy(zero_copy_only=False), dtype=np.int64)
    _, first = np.unique(indices, return_index=True)
    translation = np.zeros(len(texts), dtype=np.int64)
    for index in indices[np.sort(first)].tolist():
        translation[index] = code_of.setdefault(texts[index], len(code_of))
    return list(code_of), translation[indices]


def write_parquet(dataset: Dataset, path: Path) -> None:
    """The data set as a long table: id, time, one column a variable.

    Raises:
        DataError: the names of the variables would be read back as something else.
        SettingsError: pyarrow is not installed.
    """
    pyarrow, parquet = _pyarrow()
    header = table_header(dataset, with_ids=True)
    columns: list[Any] = [
        pyarrow.array([s.id for s in dataset for _ in range(len(s))], type=pyarrow.string()),
        _stored_times(dataset),
    ]
    values = np.concatenate([s.values for s in dataset])
    columns += [pyarrow.array(column, from_pandas=True) for column in values.T]
    parquet.write_table(pyarrow.table(columns, names=header), path)


def _stored_times(dataset: Dataset) -> Any:
    """Times as doubles, dates as dates or timestamps."""
    pyarrow, _ = _pyarrow()
    times, calendar = np.concatenate([s.time for s in dataset]), dataset.calendar
    if calendar is None:
        return pyarrow.array(times)
    dates = calendar.dates(times)
    if calendar.precision in ("Q", "M", "D"):
        return pyarrow.array(dates.astype("datetime64[D]"))
    if calendar.offset is None:
        return pyarrow.array(dates)
    # a timestamp with a zone is stored as the moment it is in UTC
    zone = calendar.texts(times[:1])[0][-6:] if calendar.offset else "UTC"
    moments = dates - np.timedelta64(calendar.offset, "m")
    return pyarrow.array(moments).cast(pyarrow.timestamp("us")).cast(pyarrow.timestamp("us", zone))
