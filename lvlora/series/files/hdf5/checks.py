"""Distrust of HDF5: links, storage elsewhere, shapes that are declared but not stored."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import islice
from mmap import ACCESS_READ, mmap
from typing import Any

from lvlora.errors import DataError
from lvlora.series.files.limits import MAX_VALUES

LAYOUT_HINT = (
    "lvlora reads /trajectories (series, time, variables) and /time (time,); "
    "convert other layouts, or give a CSV."
)
_HEAP_MAGIC = b"GCOL"
_MAX_DEFLATE_RATIO = 1_100  # deflate cannot shrink by more than 1,032


def stored_dataset(file: Any, name: str, where: str) -> Any | None:
    """The dataset at the top of the file, None if there is none of that name."""
    import h5py

    if not is_there(file, name):
        return None
    if file.id.links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
        raise DataError(
            f"{where}: /{name} is a soft or external link", "Store the numbers in the file itself."
        )
    found = file[name]
    if not isinstance(found, h5py.Dataset):
        raise DataError(f"{where}: /{name} is not a dataset", LAYOUT_HINT)
    return found


def is_there(file: Any, name: str) -> bool:
    """Whether the top of the file has a link of this name; follows none."""
    return bool(name) and "/" not in name and bool(file.id.links.exists(name.encode()))


def check_storage(
    data: Any, name: str, ranks: Sequence[int], file_bytes: int, where: str, kinds: str = "fiu"
) -> None:
    """Refuse what is not plain numbers, all of them stored in this very file."""
    at = f"{where}: /{name}"
    if data.shape is None or len(data.shape) not in ranks:
        rank = "no" if data.shape is None else f"{len(data.shape)}"
        raise DataError(
            f"{at} has {rank} dimensions instead of {' or '.join(map(str, ranks))}", LAYOUT_HINT
        )
    if data.dtype.kind not in kinds or (data.dtype.itemsize > 8 and data.dtype.kind == "f"):
        raise DataError(f"{at} has the type {data.dtype}, not real numbers", LAYOUT_HINT)
    if data.is_virtual or data.external:
        raise DataError(
            f"{at} keeps its numbers in other files", "Store the numbers in the file itself."
        )
    n_values = math.prod(data.shape)
    n_chunk = math.prod(data.chunks) if data.chunks else 0
    if max(n_values, n_chunk) > MAX_VALUES:
        raise DataError(
            f"{at} declares {max(n_values, n_chunk):,} values; the limit is {MAX_VALUES:,}",
            "Split the file.",
        )
    declared = n_values * data.dtype.itemsize
    stored = min(int(data.id.get_storage_size()), file_bytes)
    filtered = data.id.get_create_plist().get_nfilters() > 0
    if declared > stored * (_MAX_DEFLATE_RATIO if filtered else 1):
        raise DataError(
            f"{at} declares {declared:,} bytes, but stores {stored:,}",
            "The file is incomplete; write or download it again.",
        )


def check_strings(item: Any, file: Any, where: str) -> None:
    """Refuse what is read as Python objects and is no text, or stored where HDF5 goes astray.

    Lists and references of variable length are of no use here, and a damaged one ends the process.

    Args:
        item: a dataset or an attribute's id, opened but not read.
    """
    import h5py

    if item.dtype.kind != "O":
        return
    if h5py.check_string_dtype(item.dtype) is None:
        raise DataError(f"{where}: its names are lists or references, not text", LAYOUT_HINT)
    _check_heaps(file, where)


def _check_heaps(file: Any, where: str) -> None:
    """Refuse a damaged store of strings of variable length, which HDF5 would search forever.

    The library walks over the objects of a global heap by their sizes and, as of 1.14, does not
    see that a free object of size 0 leads nowhere. Layout: HDF5 File Format Specification, III.E.
    """
    with open(file.filename, "rb") as stream, mmap(stream.fileno(), 0, access=ACCESS_READ) as raw:
        n_size = file.id.get_create_plist().get_sizes()[1]
        at = raw.find(_HEAP_MAGIC)
        while at >= 0:
            _check_heap(raw, at, n_size, where)
            at = raw.find(_HEAP_MAGIC, at + 1)


def _check_heap(raw: mmap, at: int, n_size: int, where: str) -> None:
    def number(place: int) -> int:
        return int.from_bytes(raw[place : place + n_size], "little")

    header = 8 + n_size  # of the heap as of each of its objects
    end = min(at + number(at + 8), len(raw))
    place = at + header
    while end - place >= header:
        index, size = int.from_bytes(raw[place : place + 2], "little"), number(place + 8)
        # a free object's size includes its header
        taken = size if index == 0 else header + (size + 7) // 8 * 8
        if taken == 0 or place + taken > end:
            raise DataError(
                f"{where}: its strings are damaged", "Write or download the file again."
            )
        place += taken


def contents(file: Any) -> str:
    """What is at the top of the file, for people."""
    import h5py

    found = []
    for name in islice(file, 20):
        hard = is_there(file, name) and (
            file.id.links.get_info(name.encode()).type == h5py.h5l.TYPE_HARD
        )
        item = file[name] if hard else None
        kind = f" {item.shape}" if isinstance(item, h5py.Dataset) else "/" if item else " (link)"
        found.append(f"/{name[:60]}{kind}" if name.isprintable() else ascii(name[:60]))
    return ", ".join(found) + (", …" if len(file) > 20 else "") if found else "nothing"
