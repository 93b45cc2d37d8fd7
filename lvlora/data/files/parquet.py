"""Parquet: a long table with an id column (or a table of one trajectory), by way of pyarrow."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from lvlora.data.dataset import Dataset
from lvlora.data.dates import WHOLE_DAYS
from lvlora.data.files.tables import (
    MAX_TEXT_BYTES,
    assign_roles,
    check_size,
    read_table,
    table_header,
)
from lvlora.errors import DataError, SettingsError, reason
from lvlora.settings.shared import InputSettings


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


def read_parquet(stream: BinaryIO, where: str, settings: InputSettings) -> Dataset:
    """Read the trajectories of a Parquet file; nulls are missing values.

    Raises:
        DataError: the file is damaged; too many values, lists or bytes; as `read_table`.
        SettingsError: pyarrow is not installed.
    """
    pyarrow, parquet = _pyarrow()
    try:
        with parquet.ParquetFile(stream) as file:
            schema, n_rows = file.schema_arrow, file.metadata.num_rows
            # of whole groups of rows: pyarrow 26 aborts where a column's own entry is damaged
            groups = range(file.metadata.num_row_groups)
            n_bytes = sum(file.metadata.row_group(g).total_byte_size for g in groups)
        header = [name.strip() for name in schema.names]
        roles = assign_roles(header, settings, where)
        fields = [schema.field(header.index(name)) for name in roles.columns]
        check_size(n_rows * len(fields), where)
        if n_bytes > MAX_TEXT_BYTES:
            raise DataError(
                f"{where}: {n_bytes:,} bytes; the limit is {MAX_TEXT_BYTES:,}", "Split the file."
            )
        for field in fields:
            if pyarrow.types.is_nested(field.type) or pyarrow.types.is_binary(field.type):
                raise DataError(
                    f"{where}, column '{field.name}': it has the type {str(field.type)[:60]}, not "
                    "numbers, texts or dates",
                    "Values are numbers, ids strings or whole numbers, times numbers or dates.",
                )
        # one long text of many rows is in memory once
        texts = (pyarrow.string(), pyarrow.large_string())
        with parquet.ParquetFile(
            stream, read_dictionary=[field.name for field in fields if field.type in texts]
        ) as file:
            table = file.read(columns=[field.name for field in fields])
        table.validate(full=True)  # a damaged page may give indices out of range
        frame = table.select([field.name for field in fields]).to_pandas(date_as_object=False)
        frame = frame.set_axis(range(1, n_rows + 1)).set_axis(roles.columns, axis=1)
    except (pyarrow.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{where}: not a readable Parquet file ({reason(error)})",
            "The file is damaged or incomplete; write or download it again.",
        ) from None
    return read_table(frame, roles, where, settings)


def write_parquet(dataset: Dataset, path: Path) -> None:
    """Write the data set as a long table: id, time (or dates, or timestamps), each variable.

    Raises:
        DataError: the names of the variables would be read back as something else.
        SettingsError: pyarrow is not installed.
    """
    pyarrow, parquet = _pyarrow()
    header = table_header(dataset, with_ids=True)
    ids = pyarrow.array([s.id for s in dataset for _ in range(len(s))], type=pyarrow.string())
    times: Any = np.concatenate([s.time for s in dataset])
    if dataset.calendar is not None:
        if dataset.calendar.precision in WHOLE_DAYS:
            times = dataset.calendar.dates(times).astype("datetime64[D]")
        else:
            times = dataset.calendar.datetimes(times)  # with their zone, if they have one
    values = np.concatenate([s.values for s in dataset])
    columns = [pyarrow.array(column, from_pandas=True) for column in values.T]
    parquet.write_table(pyarrow.table([ids, pyarrow.array(times), *columns], names=header), path)
