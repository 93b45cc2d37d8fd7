"""One way out: a data set becomes a file, whole or not at all.

Knows: suffixes, temporary files, renaming. Does not know: how a format is written.
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from lvlora.errors import DataError, LvloraError
from lvlora.series.csv_files import write_csv
from lvlora.series.dataset import Dataset
from lvlora.series.hdf5_files import write_hdf5
from lvlora.series.parquet_files import write_parquet
from lvlora.series.readers import FORMATS
from lvlora.series.tables import check_name


@contextmanager
def replacing(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """A temporary file beside ``path`` that takes its place if the block ends well.

    The file is synced before and its folder after the renaming, so a crash leaves the old file or
    the new one, never a part. Without ``overwrite`` an existing file is never replaced, not even
    one that appeared meanwhile.

    Raises:
        DataError: ``path`` exists (without ``overwrite``), is a folder, or its folder is missing.
        LvloraError: writing failed, for example because the disk is full.
    """
    if path.is_dir():
        raise DataError(f"{path}: a folder, not a file", "Give the name of a file.")
    if path.exists() and not overwrite:
        raise DataError(f"{path}: already there", "Use another name, or --overwrite.")
    if not path.parent.is_dir():
        raise DataError(f"{path}: there is no folder {path.parent}", "Make the folder first.")
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name[:50]}.", dir=path.parent)
    except OSError as error:
        raise DataError(
            f"{path}: cannot be written ({error.strerror})", "Check the folder's permissions."
        ) from None
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        if overwrite:
            temporary.replace(path)
        else:
            _rename_to_new(temporary, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        if error.errno == errno.EEXIST:
            raise DataError(f"{path}: already there", "Use another name, or --overwrite.") from None
        raise LvloraError(
            f"{path}: writing failed ({error.strerror or error})",
            "Check the free space of the disk; nothing was replaced.",
        ) from None
    finally:
        temporary.unlink(missing_ok=True)


def _rename_to_new(temporary: Path, path: Path) -> None:
    """Rename, but never over an existing file."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if path.exists():
            raise FileExistsError(errno.EEXIST, "already there", str(path)) from None
        temporary.replace(path)


def write_dataset(
    dataset: Dataset,
    path: Path,
    overwrite: bool = False,
    *,
    precision: Literal["float32", "float64"] = "float64",
) -> None:
    """Write a data set in the format of the path's suffix (`readers.FORMATS`), atomically.

    `readers.read_dataset` reads it back equal (`Dataset.sha256`): ids, variables, times, values.
    HDF5 is the layout of `hdf5_files`; CSV is wide for one series with the id "0", long for
    others; Parquet is long.

    Args:
        precision: of HDF5 values. float32 halves the file and rounds to 7 digits.

    Raises:
        DataError: an unknown suffix, an existing file without ``overwrite``, no such folder,
            names that cannot be stored, or an empty data set.
        SettingsError: Parquet without pyarrow.
        LvloraError: the disk is full.
    """
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise DataError(
            f"{path}: no format has the suffix '{path.suffix}'", f"Use one of {', '.join(FORMATS)}."
        )
    _check_names([s.id for s in dataset], "id", path)
    _check_names(list(dataset.variables), "variable", path)
    if kind == "csv" and path.suffix.lower() == ".tsv":
        raise DataError(f"{path}: tables are written with commas", "Use the suffix .csv.")
    with replacing(path, overwrite=overwrite) as temporary:
        if kind == "hdf5":
            write_hdf5(dataset, temporary, precision)
        elif kind == "parquet":
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
