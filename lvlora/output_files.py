"""Files that a user named for results: looked at before the work, written whole after it.

What stands under such a name is replaced only if it is the same kind of result, or if that was
asked for; and never where it is something that the command, or another one, still needs.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lvlora import durable, folders
from lvlora.errors import SettingsError

STANDARD_OUTPUT = Path("-")
_HEAD = 4096
"""Bytes of a file that tell what it is."""


@dataclass(frozen=True)
class Kind:
    """A kind of result, by what its files begin with.

    Attributes:
        name: with its article.
        head: of the first bytes.
    """

    name: str
    head: re.Pattern[bytes]

    def is_at(self, path: Path) -> bool:
        """Whether this is what a regular file holds; an empty one is nothing yet."""
        head = _head_of(path)
        return not head or self.head.match(head) is not None


def table(name: str, columns: str) -> Kind:
    """A CSV file of ours.

    Args:
        columns: a pattern of how its first line begins.
    """
    return Kind(name, re.compile(columns.encode()))


ANYTHING = Kind("a file", re.compile(b""))
"""For a command that replaces a file only where that was asked for."""
_FIGURES = {
    "png": Kind("a PNG picture", re.compile(rb"\x89PNG\r\n\x1a\n")),
    "svg": Kind("an SVG picture", re.compile(rb"\s*(<\?xml.*)?<svg", re.DOTALL)),
    "pdf": Kind("a PDF file", re.compile(rb"%PDF-")),
}
_KEPT = {
    "a database": re.compile(rb"SQLite format 3\0|\x37\x7f\x06[\x82\x83]"),  # and its log
    "a model": re.compile(rb'GGUF|.{8}\{"', re.DOTALL),  # safetensors: a length, then JSON
}
"""Kinds of files that no result replaces."""


def figure(path: Path) -> Kind:
    """The kind of picture that a file's suffix (.png, .svg, .pdf) asks for."""
    return _FIGURES[path.suffix.lower()[1:]]


def check(
    option: str,
    path: Path | None,
    kind: Kind,
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
        kind: what will be written.
        overwrite: a file of another kind may be replaced.
        spared: files and folders that the command needs, by a name for each.
        dash: ``-`` is standard output here; json: which gets the JSON object.

    Raises:
        SettingsError: no folder for it, a folder itself, a loop of links, a block device; what is
            needed, a database, a model, a part of a run; or a file of another kind.
    """
    if path is None:
        return
    if path == STANDARD_OUTPUT and dash:
        if json:
            raise SettingsError(
                f"{option} - and --json both write to standard output.", "Leave one of them out."
            )
        return
    elsewhere = "Choose another name."
    try:
        if path == STANDARD_OUTPUT or path.is_dir():
            raise SettingsError(f"{option} {path}: is no file to write to", elsewhere)
        place, there = _place_of(path)
        for what, needed in (spared or {}).items():
            if needed is not None and _is_or_is_in(place, needed):
                raise SettingsError(f"{option} {path}: is {what}", elsewhere)
        if there is None:
            if not place.parent.is_dir():
                folder = place.parent if path.is_symlink() else path.parent
                raise SettingsError(
                    f"{option} {path}: the folder {folder} is not there", "Make it first."
                )
            return
        if not stat.S_ISREG(there.st_mode):
            if stat.S_ISCHR(there.st_mode) or stat.S_ISFIFO(there.st_mode):
                return
            raise SettingsError(f"{option} {path}: is no file to write to", elsewhere)
        head = _head_of(place)
        for what, pattern in _KEPT.items():
            if pattern.match(head):
                raise SettingsError(f"{option} {path}: is {what}, and is not replaced", elsewhere)
        for folder in place.parents:
            whose = folders.kind_of(folder)
            if whose is not None and folders.is_entry(folder, place):
                raise SettingsError(
                    f"{option} {path}: is a part of the {whose} {folder}", elsewhere
                )
        if not overwrite and not kind.is_at(place):
            raise SettingsError(
                f"{option} {path}: is there and is not {kind.name}",
                "Choose another name, or add --overwrite.",
            )
    except (OSError, RuntimeError) as error:
        words = getattr(error, "strerror", None) or error
        raise SettingsError(f"{option} {path}: cannot be written to ({words})", elsewhere) from None


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
    with durable.replacing(place, over=over) as temporary, _beside(place) as folder:
        part = folder / path.name
        yield part
        part.replace(temporary)


def write_text(path: Path, content: str) -> None:
    """`writing` of a text, UTF-8, newlines as they are."""
    with writing(path) as part:
        part.write_bytes(content.encode())


@contextlib.contextmanager
def _beside(place: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(
        dir=place.parent, prefix=f".{place.name[:50]}.", suffix=".part"
    ) as folder:
        yield Path(folder)


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


def _head_of(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(_HEAD)
