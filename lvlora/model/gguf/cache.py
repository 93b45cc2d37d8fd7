"""Model folders made of .gguf files, kept beside the hub's cache for the next time.

Each is under the SHA-256 of its file and the dtype of its weights, appears whole, and is made again
where one of its files has changed.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from lvlora import folders
from lvlora.errors import LvloraError
from lvlora.model.catalogue import hub_cache
from lvlora.model.gguf.conversion import convert

_ABANDONED_SECONDS = 3600.0


def root() -> Path:
    """Return the folder of all of them."""
    return hub_cache().parent / "lvlora-gguf"


@contextlib.contextmanager
def converted(path: Path, sha256: str, dtype: torch.dtype) -> Iterator[Path]:
    """The file's model folder, to be read inside the block.

    Where there is no room for a cache the folder is gone after the block, but weights that are
    mapped from it stay readable.

    Args:
        sha256: of the file.

    Raises:
        ModelError: as `convert` does.
        OSError: not even the temporary folder has room.
    """
    place = root() / f"{sha256[:32]}-{str(dtype).removeprefix('torch.')}"
    if folders.is_complete(place) or _make(path, place, dtype):
        yield place
        return
    with tempfile.TemporaryDirectory(prefix="lvlora-gguf-") as folder:
        convert(path, Path(folder), dtype)
        yield Path(folder)


def _make(path: Path, place: Path, dtype: torch.dtype) -> bool:
    """Put the folder in the cache; False where there is no room."""
    for leftover in root().glob(".*.part"):  # of a killed process
        with contextlib.suppress(OSError):
            if time.time() - leftover.stat().st_mtime > _ABANDONED_SECONDS:
                shutil.rmtree(leftover, ignore_errors=True)
    try:
        with folders.replacing(place) as folder:
            convert(path, folder, dtype)
            folders.mark_complete(folder, "converted model")
    except LvloraError as error:
        if not isinstance(error.__cause__, OSError):
            raise
        return folders.is_complete(place)  # another process may have been first
    return True
