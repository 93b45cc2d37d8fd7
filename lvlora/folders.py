"""Folders that this program made whole, and when a new one may take the place of an old one.

A folder of ours carries a mark that lists what was written into it. Only a folder in which nothing
else lies is ever replaced, and only when what takes its place is complete.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from lvlora import durable
from lvlora.errors import DataError, LvloraError, SettingsError

MARK = ".lvlora.json"
LEFTOVER = re.compile(r"\..*\.[a-z0-9_]{8}\.(part|old)", re.DOTALL)
"""Names of leftovers of a killed process: by `tempfile`, or by `take_place`."""
LOCK = ".lock"

_EXCHANGE = 2  # RENAME_EXCHANGE of renameat2(2)
_HERE = -100  # AT_FDCWD


def mark(folder: Path, kind: str, entries: Iterable[str]) -> None:
    """Say in a folder that this program made it.

    Args:
        kind: what it is, in a word: run, export.
        entries: the files it may hold, relative, with ``*`` for parts of a name; ``NAME/**`` is a
            folder and all that is in it.
    """
    content = {"schema_version": 1, "kind": kind, "entries": sorted({MARK, *entries})}
    durable.write_text(folder / MARK, json.dumps(content, indent=1) + "\n")


def mark_complete(folder: Path, kind: str) -> None:
    """Say in a folder that this program made it, and all that is in it."""
    files = (path for path in folder.rglob("*") if not path.is_dir())
    mark(folder, kind, [path.relative_to(folder).as_posix() for path in files])


@contextlib.contextmanager
def held(folder: Path, busy: LvloraError) -> Iterator[None]:
    """Keep every other process from working in a folder; a killed process lets go of it.

    Args:
        busy: is raised where another process does.

    Raises:
        DataError: the lock is no file, or cannot be opened.
    """
    lock = folder / LOCK
    # no link, which could lead to anything, and no waiting for a pipe's other end
    wanted = ("O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK")
    flags = os.O_RDWR | os.O_CREAT | sum(getattr(os, name, 0) for name in wanted)
    try:
        stream = os.fdopen(os.open(lock, flags, 0o666), "r+b", buffering=0)
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            stream.close()
            raise OSError(errno.EINVAL, "it is not a regular file")
    except FileNotFoundError:  # taken back by a process whose work was refused
        raise busy from None
    except OSError as error:
        raise DataError(
            f"{lock}: cannot be used ({error.strerror or error})",
            "It is an empty file of one process at a time: check permissions, or delete it.",
        ) from None
    with stream:
        try:
            import fcntl
        except ImportError:  # Windows has no such lock
            yield
            return
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # the file that is there, not one that was deleted between opening and locking
            if not os.path.samestat(os.fstat(stream.fileno()), lock.stat()):
                raise busy
        except (BlockingIOError, FileNotFoundError):
            raise busy from None
        yield


def claim(option: str, folder: Path, kind: str, entries: Sequence[str]) -> None:
    """Mark a folder, new or not, whose files may be written again, file by file.

    Raises:
        SettingsError: it is no folder, something else of ours, or one of those files is there and
            the mark is not.
        LvloraError: it cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise SettingsError(f"{option} {folder}: is there and is no folder", "Choose another name.")
    there = kind_of(folder)
    if there is not None and there != kind:
        raise SettingsError(
            f"{option} {folder}: is the folder of an earlier {there}",
            "Choose another folder.",
        )
    if there is None:
        taken = next((name for name in entries if (folder / name).exists()), None)
        if taken is not None:
            raise SettingsError(
                f"{option} {folder}: lvlora did not write its {taken}, so it is not replaced",
                "Choose another folder.",
            )
        mark(folder, kind, entries)


def check_replaceable(
    option: str, folder: Path, kind: str, needed: Mapping[str, Path | None]
) -> None:
    """Refuse to replace what is not wholly ours, or is needed; an empty folder is nobody's.

    Args:
        option: how the folder was named, for the message.
        needed: what must stay, by a name for it: data, ledger, runs …; None asks for nothing.

    Raises:
        SettingsError: the folder is no ``kind`` of ours, holds a file that we did not write, is a
            link, or is or holds one of ``needed`` or the working folder.
    """
    check_spares(option, folder, needed)
    if not os.path.lexists(folder) or (folder.is_dir() and not any(folder.iterdir())):
        return
    place = folder.resolve()
    itself = "Choose another folder, or delete it yourself."
    if kind_of(place) != kind:
        raise SettingsError(
            f"{option} {folder}: is no {kind} that lvlora made, so it is not replaced", itself
        )
    stranger = stranger_in(place)
    if stranger is not None:
        raise SettingsError(
            f"{option} {folder}: lvlora did not write its {stranger}, so it is not replaced", itself
        )


def check_spares(option: str, folder: Path, needed: Mapping[str, Path | None]) -> None:
    """SettingsError where a folder is or holds what must stay; arguments as `check_replaceable`."""
    place = folder.resolve()
    for what, path in {"the working folder": Path.cwd(), **needed}.items():
        if path is not None and (place == path.resolve() or place in path.resolve().parents):
            raise SettingsError(
                f"{option} {folder}: is or holds {what}, so it is not replaced",
                "Choose another folder.",
            )


def kind_of(folder: Path) -> str | None:
    """Return the kind of a folder of ours, by its mark; None for any other."""
    return _read_mark(folder)[0]


def is_entry(folder: Path, file: Path) -> bool:
    """Whether a file is of those that a folder of ours may hold, its lock included."""
    name = file.relative_to(folder).as_posix()
    return name == LOCK or any(_is_named(name, entry) for entry in _read_mark(folder)[1])


def stranger_in(folder: Path) -> str | None:
    """A file in a folder of ours that is not ours, or a link; None: there is none.

    Where there is no mark, everything but leftovers of a killed process is a stranger.
    """
    entries = _read_mark(folder)[1]
    for path in folder.rglob("*"):
        name, is_link = path.relative_to(folder).as_posix(), path.is_symlink()
        if path.is_dir() and not is_link:
            continue
        is_leftover = any(part == LOCK or LEFTOVER.fullmatch(part) for part in name.split("/"))
        # links may lie in a folder that is ours with all that is in it
        possible = [entry for entry in entries if not is_link or entry.endswith("/**")]
        if not is_leftover and not any(_is_named(name, entry) for entry in possible):
            return name
    return None


def is_complete(folder: Path) -> bool:
    """Whether a folder that was marked as complete has all of its files, and no more."""
    kind, entries = _read_mark(folder)
    return (
        kind is not None
        and all((folder / name).is_file() for name in entries)
        and stranger_in(folder) is None
    )


def _read_mark(folder: Path) -> tuple[str | None, list[str]]:
    try:
        content = durable.read_json_object(folder / MARK)
    except DataError:
        return None, []
    kind, entries = content.get("kind"), content.get("entries")
    if not isinstance(kind, str) or not isinstance(entries, list):
        return None, []
    return kind, [e for e in entries if isinstance(e, str)]


def _is_named(name: str, entry: str) -> bool:
    """Whether an entry of a mark stands for a file; only ``/**`` leads into deeper folders."""
    parts, patterns = name.split("/"), entry.split("/")
    if patterns[-1] == "**":
        parts, patterns = parts[: len(patterns) - 1], patterns[:-1]
    return len(parts) == len(patterns) and all(map(fnmatchcase, parts, patterns))


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary folder beside ``path`` to fill; on success it takes the path's place, whole.

    What was there before goes only when the new one is in its place.

    Raises:
        LvloraError: the disk is full or the folder can't be written; ``path`` is as it was.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part"))
        yield temporary
        umask = durable.umask()
        temporary.chmod(0o777 & ~umask)  # mkdtemp's 0700 would hide it from a shared folder
        for file in temporary.rglob("*"):
            if file.is_file():
                file.chmod(0o666 & ~umask)  # so would safetensors' 0600
                with file.open("rb") as stream:
                    os.fsync(stream.fileno())
        durable.sync_folder(temporary)
        take_place(temporary, path)
    except Exception as error:
        raise durable.not_written(path, error) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def take_place(new: Path, path: Path) -> None:
    """Let a whole folder take a path's place in one step; what stood there is deleted then.

    At every moment, and after a kill at any, a whole folder has that name (where the system cannot
    exchange two names at once: or the old one stands beside it, hidden, as ``.NAME.….old``).

    Raises:
        OSError: it cannot be renamed; both are where they were.
    """
    if not path.exists():
        new.rename(path)
        durable.sync_folder(path.parent)
        return
    old = path.parent / f".{path.name[:50]}.{secrets.token_hex(4)}.old"
    try:
        if _exchange(new, path):
            new.rename(old)
        else:
            path.rename(old)
            try:
                new.rename(path)
            except OSError:
                old.rename(path)
                raise
        durable.sync_folder(path.parent)
    finally:
        shutil.rmtree(old, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two names at once; whether the system could."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):  # no Linux, or one before 2014
        return False
    done: int = rename(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE)
    if done == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.ENOSYS, errno.EINVAL, errno.EXDEV, errno.ENOTSUP):
        return False  # this file system has no such exchange
    raise OSError(number, os.strerror(number), str(other))
