"""The one way out: a data set becomes a file, whole or not at all."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Literal

from lvlora import output_files
from lvlora.data.dataset import Dataset
from lvlora.data.files.csv import write_csv
from lvlora.data.files.hdf5 import write_hdf5
from lvlora.data.files.parquet import write_parquet
from lvlora.data.files.tables import check_name
from lvlora.errors import DataError

Format = Literal["csv", "hdf5", "parquet"]
FORMATS: dict[str, Format] = {
    ".csv": "csv",
    ".h5": "hdf5",
    ".hdf5": "hdf5",
    ".parquet": "parquet",
    ".pq": "parquet",
}
"""The format that a suffix stands for."""


def format_of(path: Path) -> Format:
    """The format of a file that is to be written; DataError for an unknown suffix."""
    form = FORMATS.get(path.suffix.lower())
    if form is None:
        raise DataError(
            f"{path}: no format has the suffix {path.suffix!r}", f"Use one of {', '.join(FORMATS)}."
        )
    return form


def write_dataset(
    dataset: Dataset,
    path: Path,
    overwrite: bool = False,
    *,
    precision: Literal["float32", "float64"] = "float64",
) -> None:
    """Write a data set in the format of the path's suffix (`FORMATS`), atomically.

    `readers.read_dataset` reads it back equal (`Dataset.sha256`): ids, variables, times, values.
    Rows that a reader put in are left out again. HDF5 is the layout of `hdf5`; CSV is wide
    for one series with the id "0", long for others; Parquet is long.

    Args:
        precision: of HDF5 values. float32 halves the file and rounds to 7 digits.

    Raises:
        DataError: an unknown suffix, names that cannot be stored, or an empty data set.
        SettingsError: the path cannot be written, or not without ``overwrite``; Parquet without
            pyarrow.
        LvloraError: the disk is full.
    """
    form = format_of(path)
    output_files.check("file", path, overwrite=overwrite)
    dataset = dataclasses.replace(dataset, series=tuple(s.as_recorded() for s in dataset))
    _check_names([s.id for s in dataset], "id", path)
    _check_names(list(dataset.variables), "variable", path)
    with output_files.writing(path, over=overwrite) as temporary:
        if form == "hdf5":
            write_hdf5(dataset, temporary, precision)
        elif form == "parquet":
            write_parquet(dataset, temporary)
        else:
            with temporary.open("wb") as stream:
                write_csv(dataset, stream)


def _check_names(names: list[str], what: str, path: Path) -> None:
    """Refuse what could not be read back."""
    if not names:
        raise DataError(f"{path}: the data set has no {what}", "There is nothing to write.")
    for name, count in Counter(names).items():
        check_name(name, f"a name ({what})", str(path))
        if count > 1 or name != name.strip():
            raise DataError(f"{path}: the {what} '{name}' is not unique", "Rename it.")
