"""Files that are whole or not there: write to a neighbour, fsync, rename, fsync the folder.

Knows: paths and bytes. Does not know: what is in them.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from lvlora.errors import LvloraError


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` to write to; on success it takes the path's place.

    Raises:
        LvloraError: the disk is full or the folder can't be written; ``path`` is as it was.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp's 0600 would hide results from a shared folder
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        hint = (
            "Free some space and run again; what was saved before is intact."
            if error.errno == errno.ENOSPC
            else "Is the folder there, and may you write to it?"
        )
        raise LvloraError(f"{path}: cannot be written: {error.strerror or error}", hint) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make a rename in this folder outlast a power cut (where the system can)."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_bytes(path: Path, content: bytes) -> None:
    """Replace a file's content."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Replace a file's content, UTF-8, newlines as they are."""
    write_bytes(path, content.encode())


def write_with(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill the temporary file, for libraries that take a path."""
    with replacing(path) as temporary:
        write(temporary)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, as hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
