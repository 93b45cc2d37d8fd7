"""Model folders made of .gguf files, kept beside the hub's cache for the next time.

Each is under the SHA-256 of its file and the dtype of its weights, written under another name and
put in place whole, with the hashes of its files; one that differs from them is made again.
Together they take `LIMIT_BYTES` at most: those that were not used for longest go first.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from lvlora import durable
from lvlora.errors import DataError
from lvlora.model.catalogue import hub_cache
from lvlora.model.gguf.conversion import convert

LIMIT_BYTES = 20_000_000_000
"""Qwen2.5-0.5B takes 1.3 GB in bfloat16, 2.5 GB in float32."""
_USED = "config.json"
"""The file whose time says when a folder was used."""
_HASHES = "sha256.json"
"""File -> SHA-256 of all others in a folder; written last."""
_ABANDONED_SECONDS = 3600.0


@dataclass(frozen=True)
class Kept:
    """A folder in the cache."""

    folder: Path
    n_bytes: int
    used: float


def root() -> Path:
    """The folder of all of them."""
    return hub_cache().parent / "lvlora-gguf"


def kept() -> list[Kept]:
    """Return the folders in the cache, the latest used first."""
    folders = []
    with contextlib.suppress(OSError):
        for folder in root().iterdir():
            with contextlib.suppress(OSError):
                used = (folder / _USED).stat().st_mtime
                size = sum(file.stat().st_size for file in folder.iterdir())
                folders.append(Kept(folder, size, used))
    return sorted(folders, key=lambda one: -one.used)


@contextlib.contextmanager
def converted(path: Path, sha256: str, dtype: torch.dtype, *, keep: bool = True) -> Iterator[Path]:
    """The file's model folder, to be read inside the block.

    Weights that are mapped from it stay readable after the block, although without ``keep``, and
    where there is no room for a cache, it is gone then.

    Args:
        sha256: of the file.
        keep: look for it in the cache, and leave it there.

    Raises:
        ModelError: as `convert` does.
        OSError: not even the temporary folder has room.
    """
    place = root() / f"{sha256[:32]}-{str(dtype).removeprefix('torch.')}"
    if keep and _is_whole(place):
        with contextlib.suppress(OSError):  # somebody else's cache may be read, too
            os.utime(place / _USED)
        yield place
        return
    if keep:
        shutil.rmtree(place, ignore_errors=True)  # damaged, or it is not there
    if keep and _make(path, place, dtype):
        _forget(place)
        yield place
        return
    with tempfile.TemporaryDirectory(prefix="lvlora-gguf-") as folder:
        convert(path, Path(folder), dtype)
        yield Path(folder)


def _make(path: Path, place: Path, dtype: torch.dtype) -> bool:
    """Put the folder in the cache; False where there is no room."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(prefix=".new-", dir=place.parent))
    except OSError:
        return False
    try:
        convert(path, new, dtype)
        hashes = {file.name: durable.sha256_of(file) for file in new.iterdir()}
        for file in new.iterdir():
            durable.sync_file(file)
        durable.write_text(new / _HASHES, json.dumps(hashes, indent=1) + "\n")
        new.rename(place)
        durable.sync_folder(place.parent)
    except OSError:  # no room, or another process was first
        return _is_whole(place)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return True


def _is_whole(place: Path) -> bool:
    """Compare the files of a folder with their hashes."""
    try:
        hashes = durable.read_json_object(place / _HASHES)
        names = {file.name for file in place.iterdir()} - {_HASHES}
        return names == hashes.keys() and all(
            durable.sha256_of(place / name) == digest for name, digest in hashes.items()
        )
    except (DataError, OSError):
        return False


def _forget(but: Path) -> None:
    """Make room: the least recently used go, and what a killed process has left."""
    for left in root().glob(".new-*"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > _ABANDONED_SECONDS:
                shutil.rmtree(left, ignore_errors=True)
    together = 0
    for one in kept():
        together += one.n_bytes
        if together > LIMIT_BYTES and one.folder != but:
            shutil.rmtree(one.folder, ignore_errors=True)
