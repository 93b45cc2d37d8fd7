"""Files of trajectories: `read_dataset` is the one way in, `write_dataset` the one way out.

Each format has a module (`csv`, `parquet`, `hdf5`); `tables` turns the columns of any table into
trajectories and limits their size.
"""

from __future__ import annotations

import dataclasses
import os
import stat
import sys
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from lvlora import durable, output_files
from lvlora.data.dataset import Dataset
from lvlora.data.files.csv import read_csv, write_csv
from lvlora.data.files.hdf5 import read_hdf5, write_hdf5
from lvlora.data.files.parquet import read_parquet, write_parquet
from lvlora.data.files.tables import check_name
from lvlora.errors import DataError, closest
from lvlora.settings.shared import InputSettings

_HDF5_MAGIC, _PARQUET_MAGIC = b"\x89HDF\r\n\x1a\n", b"PAR1"


def read_dataset(path: Path, settings: InputSettings, stdin: BinaryIO | None = None) -> Dataset:
    """Read the trajectories of a file, or of standard input (CSV).

    Args:
        path: the file, whose first bytes tell its format; ``-`` is standard input.
        settings: which columns are ids, times and variables.
        stdin: read instead of this process's standard input.

    Returns:
        at least one series of at least two samples; ``notes`` say what was guessed or sorted.

    Raises:
        DataError: it cannot be read, or is not what it should be.
        SettingsError: the format needs a package that is not installed.
    """
    if path == Path("-"):
        return read_csv(sys.stdin.buffer if stdin is None else stdin, "standard input", settings)
    where = str(path)
    try:
        with _open_file(path) as stream:
            # the first bytes of a pipe such as <(…) can be read only once
            if stat.S_ISFIFO(os.fstat(stream.fileno()).st_mode):
                return read_csv(stream, where, settings)
            start = stream.read(len(_HDF5_MAGIC))
            stream.seek(0)
            if start == _HDF5_MAGIC:
                return read_hdf5(path, settings)
            read = read_parquet if start.startswith(_PARQUET_MAGIC) else read_csv
            return read(stream, where, settings)
    except OSError as error:
        raise DataError(
            f"{where}: cannot be read ({error.strerror or error})", "Check the file and the disk."
        ) from None


def _open_file(path: Path) -> BinaryIO:
    """Open a regular file or a pipe to read; DataError for others."""
    try:
        return durable.open_regular(path, pipes=True)
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{path}: no such file", _near(path)) from None
    except IsADirectoryError:
        raise DataError(
            f"{path}: a folder, not a file",
            "lvlora reads CSV (UTF-8), HDF5 (.h5) and Parquet files.",
        ) from None
    except PermissionError:
        raise DataError(f"{path}: no permission to read it", "Check its owner and mode.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(
            f"{str(path)!r}: cannot be read ({reason})",
            "Give a regular file or a pipe, or - for standard input.",
        ) from None


def _near(path: Path) -> str:
    """A hint with files of a similar name in the same folder."""
    try:
        names = [p.name for p in islice(path.parent.iterdir(), 1000)]
    except OSError:
        return f"There is no folder {path.parent} either."
    near = closest(path.name, names)
    if near is not None:
        return f"Did you mean {path.parent / near}?"
    return "Check the path; lvlora simulate FILE.h5 writes a data set."


WRITERS = {
    ".csv": write_csv,
    ".h5": write_hdf5,
    ".hdf5": write_hdf5,
    ".parquet": write_parquet,
    ".pq": write_parquet,
}
"""The format of a suffix, as the function that writes it."""


def check_suffix(path: Path) -> None:
    """Refuse a file to be written whose suffix names no format."""
    if path.suffix.lower() not in WRITERS:
        raise DataError(
            f"{path}: no format has the suffix {path.suffix!r}", f"Use one of {', '.join(WRITERS)}."
        )


def write_dataset(dataset: Dataset, path: Path, overwrite: bool = False) -> None:
    """Write a data set in the format of the path's suffix (`WRITERS`), atomically.

    `read_dataset` reads it back equal (`Dataset.sha256`): ids, variables, times, values.
    Rows that a reader put in are left out again.

    Raises:
        DataError: an unknown suffix, names that cannot be stored, or an empty data set.
        SettingsError: the path cannot be written, or not without ``overwrite``; Parquet without
            pyarrow.
        LvloraError: the disk is full.
    """
    check_suffix(path)
    output_files.check("file", path, overwrite=overwrite)
    dataset = dataclasses.replace(dataset, series=tuple(s.as_recorded() for s in dataset))
    _check_names([s.id for s in dataset], "id", path)
    _check_names(list(dataset.variables), "variable", path)
    with output_files.writing(path, over=overwrite) as temporary:
        WRITERS[path.suffix.lower()](dataset, temporary)


def _check_names(names: list[str], what: str, path: Path) -> None:
    """Refuse names that could not be read back."""
    if not names:
        raise DataError(f"{path}: the data set has no {what}", "There is nothing to write.")
    for name, count in Counter(names).items():
        check_name(name, f"a name ({what})", str(path))
        if count > 1 or name != name.strip():
            raise DataError(f"{path}: the {what} '{name}' is not unique", "Rename it.")
