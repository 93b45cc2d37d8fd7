"""The one way in: a path or standard input becomes a data set, or a `DataError` says why not."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import BinaryIO

from lvlora import durable
from lvlora.data.dataset import Dataset
from lvlora.data.files.csv import open_csv
from lvlora.data.files.hdf5 import read_hdf5
from lvlora.data.files.parquet import open_parquet
from lvlora.data.files.tables import read_table
from lvlora.errors import DataError, closest
from lvlora.settings.shared import InputSettings

STANDARD_INPUT = Path("-")
_FORMATS_HINT = "lvlora reads CSV (UTF-8), HDF5 (.h5) and Parquet files."
_HDF5_MAGIC, _PARQUET_MAGIC = b"\x89HDF\r\n\x1a\n", b"PAR1"


def read_dataset(
    path: Path | None, settings: InputSettings, stdin: BinaryIO | None = None
) -> Dataset:
    """The trajectories of a file, or of standard input (CSV).

    Args:
        path: the file, whose first bytes tell its format; None or ``-`` is standard input.
        settings: ``id_column``, ``time_column``, ``columns``; ``data`` isn't looked at.
        stdin: what to read instead of this process's standard input.

    Returns:
        at least one series of at least two samples; what was guessed or sorted is in ``notes``.

    Raises:
        DataError: it cannot be read, or is not what it should be.
        SettingsError: the format needs a package that is not installed.
    """
    if path is None or path == STANDARD_INPUT:
        stream = sys.stdin.buffer if stdin is None else stdin
        return read_table(open_csv(stream, "standard input"), settings)
    where = str(path)
    try:
        with open_file(path, pipes=True) as stream:
            # the first bytes of a pipe such as <(…) can be read only once
            is_pipe = stat.S_ISFIFO(os.fstat(stream.fileno()).st_mode)
            start = b"" if is_pipe else stream.read(len(_HDF5_MAGIC))
            if start == _HDF5_MAGIC:
                return read_hdf5(path, settings, where)
            if not is_pipe:
                stream.seek(0)
            opened = open_parquet if start.startswith(_PARQUET_MAGIC) else open_csv
            return read_table(opened(stream, where), settings)
    except OSError as error:
        raise DataError(
            f"{where}: cannot be read ({error.strerror or error})", "Check the file and the disk."
        ) from None


def open_file(path: Path, *, pipes: bool = False) -> BinaryIO:
    """Open a regular file to read, or a pipe where these are allowed; DataError for others."""
    try:
        return durable.open_regular(path, pipes=pipes)
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{path}: no such file", _near(path)) from None
    except IsADirectoryError:
        raise DataError(f"{path}: a folder, not a file", _FORMATS_HINT) from None
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
        names = [p.name for _, p in zip(range(1000), path.parent.iterdir(), strict=False)]
    except OSError:
        return f"There is no folder {path.parent} either."
    near = closest(path.name, names)
    if near is not None:
        return f"Did you mean {path.parent / near}?"
    return "Check the path; lvlora simulate FILE.h5 writes a data set."
