"""Files that are whole or not there: write to a neighbour, fsync, rename, fsync the folder."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any

from lvlora.errors import DataError, LvloraError

ALREADY_THERE = "Use another name, or --overwrite."
_MOST_DIGITS = 308
"""Digits of the largest whole number that a float64 can hold."""
_AT_A_TIME = 2**20


@contextlib.contextmanager
def replacing(path: Path, *, over: bool = True, name: str | None = None) -> Iterator[Path]:
    """An empty file in a folder beside ``path`` to write; on success it takes the path's place.

    Args:
        over: a file that is there is replaced; otherwise not even one that appears meanwhile.
        name: of the file to write; default: that of ``path``.

    Raises:
        LvloraError: the disk is full or the folder can't be written; ``path`` is as it was.
        DataError: ``path`` is there and was not to be replaced.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            dir=path.parent, prefix=f".{path.name[:50]}.", suffix=".part"
        ) as folder:
            part = Path(folder) / (name or path.name)
            part.touch()  # some libraries open what is there
            yield part
            with part.open("rb") as stream:
                os.fsync(stream.fileno())  # its content is to outlast a power cut
            _be_as_open_as(path, part)
            if over:
                part.replace(path)
            else:
                _rename_to_new(part, path)
        sync_folder(path.parent)
    except Exception as error:
        raise not_written(path, error) from error


def _be_as_open_as(old: Path, new: Path) -> None:
    """Give a new file the mode and owner of the one whose place it takes, or of any new file."""
    try:
        before = old.lstat()
    except FileNotFoundError:
        before = None
    if before is None or not stat.S_ISREG(before.st_mode):
        new.chmod(0o666 & ~umask())  # some libraries' 0600 would hide results from a shared folder
        return
    with contextlib.suppress(OSError, AttributeError):  # who is not root gives nothing away
        os.chown(new, before.st_uid, before.st_gid)
    new.chmod(stat.S_IMODE(before.st_mode) & 0o777)


def umask() -> int:
    """The permissions that new files of this process lack."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _rename_to_new(temporary: Path, path: Path) -> None:
    """Rename, but never over an existing file."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise DataError(f"{path}: already there", ALREADY_THERE) from None
    except OSError:  # a file system without hard links
        if path.exists():
            raise DataError(f"{path}: already there", ALREADY_THERE) from None
        temporary.replace(path)


def not_written(path: Path, error: Exception) -> Exception:
    """An error of the system in words; any other as it is."""
    # the way in which libraries written in Rust (safetensors) tell of one
    number = re.search(r"\(os error (\d+)\)", str(error))
    if number is not None and not isinstance(error, LvloraError):
        error = OSError(int(number[1]), os.strerror(int(number[1])))
    if not isinstance(error, OSError):
        return error
    hint = (
        "Free some space and run again; what was saved before is intact."
        if error.errno in (errno.ENOSPC, errno.EDQUOT)
        else "Is the folder there, and may you write to it?"
    )
    return LvloraError(f"{path}: cannot be written: {error.strerror or error}", hint)


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


def open_regular(path: Path, *, pipes: bool = False) -> BufferedReader:
    """A file to read, after links; never a device, and nothing that could keep whoever opens it.

    Args:
        pipes: one such as ``<(...)`` is read, too.

    Raises:
        OSError: it cannot be opened, or is a folder, a device, a socket or a pipe.
    """
    waits = pipes and stat.S_ISFIFO(os.stat(path).st_mode)
    # what is no file is opened without waiting for its other end, and closed again
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    handle = os.open(path, flags if waits else flags | getattr(os, "O_NONBLOCK", 0))
    try:
        mode = os.fstat(handle).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not (stat.S_ISREG(mode) or (pipes and stat.S_ISFIFO(mode))):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def read_bounded(path: Path, largest: int, *, pipes: bool = False) -> bytes:
    """The content of a file of at most so many bytes, whatever its size is said to be.

    Raises:
        OSError: as `open_regular`, or it is larger.
    """
    parts, n_left = [], largest + 1
    with open_regular(path, pipes=pipes) as stream:
        # not at once, for which as much memory would be asked as may be read
        while n_left and (part := stream.read(min(n_left, _AT_A_TIME))):
            parts.append(part)
            n_left -= len(part)
    if not n_left:
        raise OSError(errno.EFBIG, f"it is larger than {largest:,} B", str(path))
    return b"".join(parts)


def parse_json(text: str) -> Any:
    """Parse a JSON text, as `json.loads`.

    Raises:
        ValueError: it is no JSON, or has a whole number that is beyond float64: whoever computes
            with it would fall over it.
    """
    return json.loads(text, parse_int=_whole_number)


def _whole_number(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"a number of {len(digits):,} digits")
    return int(digits)


def read_json_object(
    path: Path, largest: int = 10_000_000, *, wrong: type[DataError] = DataError, hint: str = ""
) -> dict[str, Any]:
    """A file's JSON object.

    Args:
        largest: bytes that the file may have: it is read whole.
        wrong, hint: what is raised where it cannot be read.

    Raises:
        DataError: there is no such file, it is too large, no JSON, or no object.
    """
    try:
        content = parse_json(read_bounded(path, largest).decode())
    except OSError as error:
        raise wrong(f"{path}: cannot be read ({error.strerror or error})", hint) from None
    except (ValueError, RecursionError) as error:
        raise wrong(f"{path}: cannot be read as JSON ({error})", hint) from None
    if not isinstance(content, dict):
        raise wrong(f"{path}: is not a JSON object", hint)
    return content


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, as hex; OSError where it is none."""
    with open_regular(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_of_json(content: object) -> str:
    """SHA-256 of what can be written as JSON, as hex; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
