"""Files that a user named for results: looked at before the work, written whole after it.

A file that is there is replaced only by ``--overwrite``, and never where it is something that the
command, or another one, still needs.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from lvlora import durable, folders
from lvlora.errors import SettingsError

STANDARD_OUTPUT = Path("-")
_NEVER_REPLACED = {
    "a database": re.compile(rb"SQLite format 3\0|\x37\x7f\x06[\x82\x83]"),  # and its log
    "a model": re.compile(rb'GGUF|.{8}\{"', re.DOTALL),  # safetensors: a length, then JSON
}


def check(
    option: str,
    path: Path | None,
    *,
    overwrite: bool = False,
    spared: Mapping[str, Path | None] | None = None,
    dash: bool = False,
    json: bool = False,
) -> None:
    """Refuse, before the work, a name under which the result must not be written.

    Args:
        option: how the file was named, for messages.
        path: None asks for nothing.
        overwrite: a file that is there may be replaced.
        spared: files and folders that the command needs, by a name for each.
        dash: ``-`` is standard output here; json: which gets the JSON object.

    Raises:
        SettingsError: no folder for it, a folder itself, a loop of links, a block device; what is
            needed, a database, a model, a part of a run; or a file that may not be replaced.
    """
    if path is None:
        return
    if path == STANDARD_OUTPUT and dash:
        if json:
            raise SettingsError(
                f"{option} - and --json both write to standard output.", "Leave one of them out."
            )
        return
    try:
        problem, hint = _problem(path, overwrite, spared or {})
    except (OSError, RuntimeError) as error:
        problem, hint = f"cannot be written to ({getattr(error, 'strerror', None) or error})", ""
    if problem:
        raise SettingsError(f"{option} {path}: {problem}", hint or "Choose another name.")


def _problem(path: Path, overwrite: bool, spared: Mapping[str, Path | None]) -> tuple[str, str]:
    """Why a result cannot have this name, and what helps; empty if it can."""
    if path == STANDARD_OUTPUT or path.is_dir():
        return "is no file to write to", ""
    place, there = _place_of(path)
    for what, needed in spared.items():
        if needed is not None and _is_or_is_in(place, needed):
            return f"is {what}", ""
    if there is None:
        folder = place.parent if path.is_symlink() else path.parent
        return (
            ("", "") if folder.is_dir() else (f"the folder {folder} is not there", "Make it first.")
        )
    if stat.S_ISCHR(there.st_mode) or stat.S_ISFIFO(there.st_mode):
        return "", ""
    if not stat.S_ISREG(there.st_mode):
        return "is no file to write to", ""
    with place.open("rb") as stream:
        head = stream.read(100)
    for what, pattern in _NEVER_REPLACED.items():
        if pattern.match(head):
            return f"is {what}, and is not replaced", ""
    for folder in place.parents:
        kind = folders.kind_of(folder)
        if kind is not None and folders.is_entry(folder, place):
            return f"is a part of the {kind} {folder}", ""
    return ("", "") if overwrite else ("already there", durable.ALREADY_THERE)


@contextlib.contextmanager
def writing(path: Path, *, over: bool = True) -> Iterator[Path]:
    """A path with the same name to write to; on success what was written is what ``path`` names.

    A link is followed. A file is replaced in one step and keeps its mode and owner; a device or a
    FIFO is written through.

    Args:
        over: a file that is there is replaced; otherwise not even one that appears meanwhile.

    Raises:
        LvloraError: it cannot be written; a file is as it was.
        DataError: a file is there and was not to be replaced.
    """
    try:
        place, there = _place_of(path)
    except (OSError, RuntimeError) as error:
        raise durable.not_written(path, error) from None
    if there is not None and not stat.S_ISREG(there.st_mode):
        with tempfile.TemporaryDirectory() as folder:
            part = Path(folder) / path.name
            yield part
            try:
                with part.open("rb") as source, place.open("wb") as target:
                    shutil.copyfileobj(source, target)
            except OSError as error:
                raise durable.not_written(path, error) from None
        return
    with durable.replacing(place, over=over, name=path.name) as part:
        yield part


def write_text(path: Path, content: str) -> None:
    """`writing` of a text, UTF-8, newlines as they are."""
    with writing(path) as part:
        part.write_bytes(content.encode())


def _place_of(path: Path) -> tuple[Path, os.stat_result | None]:
    """Where a path leads through links, and what is there."""
    try:
        there = path.stat()
    except FileNotFoundError:
        return path.resolve(), None
    # what /dev/fd/63 leads to has no name of its own
    return (path.resolve() if stat.S_ISREG(there.st_mode) else path), there


def _is_or_is_in(place: Path, needed: Path) -> bool:
    target = needed.resolve()
    with contextlib.suppress(OSError):
        if place.samefile(target):
            return True
    return target == place or (target.is_dir() and target in place.parents and place.exists())
