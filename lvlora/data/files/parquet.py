"""Parquet: a long table with an id column (or a table of one trajectory), by way of pyarrow."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from lvlora.data.dataset import Dataset
from lvlora.data.dates import WHOLE_DAYS
from lvlora.data.files.columns import MAX_TEXT_BYTES, MAX_VALUES
from lvlora.data.files.tables import read_table, table_header
from lvlora.errors import DataError, SettingsError, reason
from lvlora.settings.shared import InputSettings

if TYPE_CHECKING:
    import pandas


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


@dataclass(frozen=True)
class ParquetTable:
    """An open Parquet file.

    Attributes:
        header: the names of its columns.
        where: how messages call it.
    """

    header: list[str]
    where: str
    _stream: BinaryIO

    def columns(
        self, numbers: Collection[int], texts: Collection[int], times: Collection[int] = ()
    ) -> dict[int, pandas.Series]:
        """The columns at some positions; rows are counted from 1.

        Texts are categories, so that one long text of many rows is in memory once.

        Raises:
            DataError: too many values, or lists and bytes.
        """
        import pandas

        pyarrow, parquet = _pyarrow()
        chosen = [*numbers, *texts, *times]
        with parquet.ParquetFile(self._stream) as file:
            schema, n_rows = file.schema_arrow, file.metadata.num_rows
            # of whole groups of rows: pyarrow 26 aborts where a column's own entry is damaged
            groups = range(file.metadata.num_row_groups)
            n_bytes = sum(file.metadata.row_group(g).total_byte_size for g in groups)
        n_values = n_rows * len(chosen)
        if n_values > MAX_VALUES or n_bytes > MAX_TEXT_BYTES:
            raise DataError(
                f"{self.where}: {n_values:,} values in {n_bytes:,} bytes; the limits are "
                f"{MAX_VALUES:,} and {MAX_TEXT_BYTES:,}",
                "Split the file.",
            )
        for field in (schema.field(i) for i in chosen):
            if pyarrow.types.is_nested(field.type) or pyarrow.types.is_binary(field.type):
                raise DataError(
                    f"{self.where}, column '{field.name}': it has the type "
                    f"{str(field.type)[:60]}, not numbers, texts or dates",
                    "Values are numbers, ids strings or whole numbers, times numbers or dates.",
                )
        categories = [schema.names[i] for i in chosen if _is_text(schema.field(i).type)]
        with parquet.ParquetFile(self._stream, read_dictionary=categories) as file:
            table = file.read(columns=[schema.names[i] for i in chosen])
        table.validate(full=True)  # a damaged page may give indices out of range
        if table.num_rows != n_rows:
            raise ValueError(f"{table.num_rows} of {n_rows} rows")
        frame = table.to_pandas(date_as_object=False).set_axis(pandas.RangeIndex(1, n_rows + 1))
        return {i: frame[schema.names[i]].rename(self.header[i]) for i in chosen}


def _is_text(kind: Any) -> bool:
    types = _pyarrow()[0].types
    return bool(types.is_string(kind) or types.is_large_string(kind))


@contextmanager
def open_table(stream: BinaryIO, where: str) -> Iterator[ParquetTable]:
    """The table in a Parquet file; what goes wrong inside is a `DataError`.

    Raises:
        DataError: the file is damaged.
        SettingsError: pyarrow is not installed.
    """
    pyarrow, parquet = _pyarrow()
    try:
        with parquet.ParquetFile(stream) as file:
            header = [name.strip() for name in file.schema_arrow.names]
        yield ParquetTable(header, where, stream)
    except (pyarrow.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{where}: not a readable Parquet file ({reason(error)})",
            "The file is damaged or incomplete; write or download it again.",
        ) from None


def read_parquet(stream: BinaryIO, settings: InputSettings, where: str) -> Dataset:
    """The trajectories of a Parquet file; `tables.read_table` says what the columns are.

    Nulls are missing values.

    Raises:
        DataError: columns that are not numbers, infinities, missing times or ids, damaged files.
        SettingsError: pyarrow is not installed.
    """
    with open_table(stream, where) as table:
        return read_table(table, settings)


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
    if calendar.precision in WHOLE_DAYS:
        return pyarrow.array(calendar.dates(times).astype("datetime64[D]"))
    return pyarrow.array(calendar.datetimes(times))  # with their zone, if they have one
