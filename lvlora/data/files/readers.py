"""The one way in: a path or standard input becomes a data set, or a `DataError` says why not."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import BinaryIO, Literal

from lvlora import durable
from lvlora.data.dataset import Dataset
from lvlora.data.files.csv import read_csv
from lvlora.data.files.hdf5 import read_hdf5
from lvlora.data.files.parquet import read_parquet
from lvlora.errors import DataError, SettingsError, closest
from lvlora.settings.shared import InputSettings

Format = Literal["csv", "hdf5", "parquet"]
FORMATS: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".h5": "hdf5",
    ".hdf5": "hdf5",
    ".hdf": "hdf5",
    ".parquet": "parquet",
    ".pq": "parquet",
}
"""The format that a suffix stands for."""

STANDARD_INPUT = Path("-")
_FORMATS_HINT = "lvlora reads CSV (UTF-8), HDF5 (.h5) and Parquet files."
_HDF5_MAGIC, _PARQUET_MAGIC = b"\x89HDF\r\n\x1a\n", b"PAR1"


def read_dataset(
    path: Path | None, settings: InputSettings, stdin: BinaryIO | None = None
) -> Dataset:
    """The trajectories of a file, or of standard input (CSV).

    Args:
        path: the file; None or ``-`` is standard input.
        settings: ``format``, ``id_column``, ``time_column``, ``columns``; ``data`` isn't looked at.
        stdin: what to read instead of this process's standard input.

    Returns:
        at least one series of at least two samples; what was guessed or sorted is in ``notes``.

    Raises:
        DataError: it cannot be read, or is not what it should be.
        SettingsError: the format needs a package that is not installed, or standard input is to
            be anything but CSV.
    """
    if path is None or path == STANDARD_INPUT:
        if settings.format not in ("auto", "csv"):
            raise SettingsError(
                f"standard input is CSV, not {settings.format}", "Give a file instead of -."
            )
        stream = sys.stdin.buffer if stdin is None else stdin
        return read_csv(stream, settings, "standard input")
    where = str(path)
    try:
        with open_file(path, pipes=True) as stream:
            # the first bytes of a pipe such as <(…) can be read only once
            is_pipe = stat.S_ISFIFO(os.fstat(stream.fileno()).st_mode)
            kind = settings.format
            if is_pipe or kind == "auto":
                kind = "csv" if is_pipe else _format(path, stream)
            if kind == "hdf5":
                return read_hdf5(path, settings, where)
            if kind == "parquet":
                return read_parquet(stream, settings, where)
            return read_csv(stream, settings, where)
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


def _format(path: Path, stream: BinaryIO) -> Format:
    """The format by the first bytes of a file, then by its suffix."""
    start = stream.read(4096)
    stream.seek(0)
    if start.startswith(_HDF5_MAGIC):
        return "hdf5"
    if start.startswith(_PARQUET_MAGIC):
        return "parquet"
    by_suffix = FORMATS.get(path.suffix.lower())
    if by_suffix in ("hdf5", "parquet"):
        if by_suffix == "hdf5" and _has_user_block(path):
            return "hdf5"
        size = "empty" if not start else f"not {by_suffix.upper().replace('PARQUET', 'Parquet')}"
        raise DataError(
            f"{path}: named {path.suffix}, but its content is {size}",
            "Write it again, or say what it is with --format.",
        )
    if b"\0" in start and by_suffix is None:
        raise DataError(f"{path}: unknown format", _FORMATS_HINT)
    return "csv"


def _has_user_block(path: Path) -> bool:
    """Whether it is HDF5 that begins after a block of other bytes (512, 1024, …)."""
    import h5py

    return bool(h5py.is_hdf5(path))
