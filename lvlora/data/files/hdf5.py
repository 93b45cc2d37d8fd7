"""Trajectories in HDF5, read with distrust: links, other storage, shapes that are only declared.

The layout: `/trajectories` (n, T, V), float or integer, its attribute `variables` (V names)
optional; `/time` (T,), or (n, T) where the series differ, with NaN after the end of a shorter one
(an empty text where times are texts of dates); `/id` (n,) strings or integers, optional
(`/system_id` and the other `tables.ID_NAMES` too).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lvlora.data.dataset import Dataset, FloatArray, Series
from lvlora.data.dates import Calendar, written
from lvlora.data.files.columns import (
    MAX_MAGNITUDE,
    MAX_VALUES,
    MAX_VARIABLES,
    check_magnitude,
    check_name,
    read_times,
)
from lvlora.data.files.tables import ID_NAMES, SHORT_OF_ROWS, find_column, find_columns
from lvlora.data.time_steps import with_steps
from lvlora.errors import DataError, reason
from lvlora.settings.shared import InputSettings

TRAJECTORIES = "trajectories"
TIME = "time"

_LAYOUT_HINT = (
    "lvlora reads /trajectories (series, time, variables) and /time (time,); "
    "convert other layouts, or give a CSV."
)
_BLOCK_VALUES = 1_000_000
_BLOCK_BYTES = 200_000_000
_MAX_SHARED_BYTES = 4_000_000_000  # strings of variable length may all share one long one
_MAX_DEFLATE_RATIO = 1_100  # deflate cannot shrink by more than 1,032
_HEAP_MAGIC = b"GCOL"
_LONGEST_DATE = 40


def read_hdf5(path: Path, settings: InputSettings, where: str) -> Dataset:
    """The trajectories of an HDF5 file.

    Without `/time`, time counts steps from 0; without names, two variables are prey and predator,
    others v1, v2, …; without ids, they are "0", "1", ….

    Raises:
        DataError: links, external or virtual storage, a shape that is over the cap or not stored,
            a wrong rank or type, an infinity, a file that is damaged or laid out differently.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return _File(file, path.stat().st_size, where).dataset(settings)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise DataError(
            f"{where}: not a readable HDF5 file ({reason(error)})",
            "The file is damaged or incomplete; write or download it again.",
        ) from None


@dataclass(frozen=True)
class _File:
    """An open file of so many bytes, and how messages call it."""

    file: Any
    n_bytes: int
    where: str

    def dataset(self, settings: InputSettings) -> Dataset:
        data = self._stored(TRAJECTORIES)
        if data is None:
            names = [f"/{name[:60]}" for name in islice(self.file, 20)]
            shown = ", ".join(name if name.isprintable() else ascii(name) for name in names)
            raise DataError(
                f"{self.where}: no /{TRAJECTORIES}; it has {shown or 'nothing'}", _LAYOUT_HINT
            )
        self._check_storage(data, TRAJECTORIES, (3,))
        n_series, n_steps, n_variables = data.shape
        if min(data.shape) == 0 or n_steps < 2 or n_variables > MAX_VARIABLES:
            raise DataError(
                f"{self.where}: /{TRAJECTORIES} has the shape {data.shape} (series, time, "
                "variables)",
                f"{SHORT_OF_ROWS} A file has at most {MAX_VARIABLES:,} variables.",
            )
        names = self._variables(data)
        chosen = find_columns(settings.columns or names, names, self.where)
        ids = self._ids(settings.id_column, n_series)
        times, calendar = self._times(settings.time_column, n_series, n_steps)
        time_name, notes = settings.time_column or TIME, []
        if times is None:
            times = np.arange(n_steps, dtype=np.float64)[None]
            notes.append(f"{self.where}: no /{TIME}; time counts steps from 0")
        values = self._values(data)[:, :, chosen]
        series, has_own = [], len(times) > 1
        for i, name in enumerate(ids):
            if i == 0 or has_own:
                at = f"{self.where}: /{time_name}" + (f" of series '{name}'" if has_own else "")
                time = _increasing(times[i], has_own, at)
            series.append(Series(name, time, values[i, : len(time)], calendar))
        variables = tuple(names[i] for i in chosen)
        dataset = Dataset(tuple(series), variables, self.where, time_name, notes=tuple(notes))
        return with_steps(dataset, insert=False)

    def _stored(self, name: str, option: str = "") -> Any | None:
        """The array of this name at the top of the file; None if there is none.

        Args:
            option: what named it; then there must be one.

        Raises:
            DataError: it is a link or no array.
        """
        import h5py

        links = self.file.id.links
        if not name or "/" in name or not links.exists(name.encode()):
            if option:
                find_column(name, list(islice(self.file, 1000)), option, self.where)
            return None
        if links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
            raise DataError(
                f"{self.where}: /{name} is a soft or external link",
                "Store the numbers in the file itself.",
            )
        item = self.file[name]
        if not isinstance(item, h5py.Dataset):
            raise DataError(f"{self.where}: /{name} is not a dataset", _LAYOUT_HINT)
        return item

    def _check_storage(
        self, data: Any, name: str, ranks: Sequence[int], kinds: str = "fiu"
    ) -> None:
        """Refuse what is not plain numbers, all of them stored in this very file."""
        at = f"{self.where}: /{name}"
        if data.shape is None or len(data.shape) not in ranks:
            rank = "no" if data.shape is None else f"{len(data.shape)}"
            raise DataError(
                f"{at} has {rank} dimensions instead of {' or '.join(map(str, ranks))}",
                _LAYOUT_HINT,
            )
        if data.dtype.kind not in kinds or (data.dtype.itemsize > 8 and data.dtype.kind == "f"):
            raise DataError(f"{at} has the type {data.dtype}, not real numbers", _LAYOUT_HINT)
        if data.is_virtual or data.external:
            raise DataError(
                f"{at} keeps its numbers in other files", "Store the numbers in the file itself."
            )
        n_values = max(math.prod(data.shape), math.prod(data.chunks) if data.chunks else 0)
        if n_values > MAX_VALUES:
            raise DataError(
                f"{at} declares {n_values:,} values; the limit is {MAX_VALUES:,}",
                "Split the file.",
            )
        declared = math.prod(data.shape) * data.dtype.itemsize
        stored = min(int(data.id.get_storage_size()), self.n_bytes)
        filtered = data.id.get_create_plist().get_nfilters() > 0
        if declared > stored * (_MAX_DEFLATE_RATIO if filtered else 1):
            raise DataError(
                f"{at} declares {declared:,} bytes, but stores {stored:,}",
                "The file is incomplete; write or download it again.",
            )

    def _check_strings(self, item: Any) -> None:
        """Refuse what is read as Python objects and is no text, or stored where HDF5 goes astray.

        Lists and references of variable length are of no use here; a damaged one ends the process.

        Args:
            item: a dataset or an attribute's id, opened but not read.
        """
        import h5py

        if item.dtype.kind != "O":
            return
        if h5py.check_string_dtype(item.dtype) is None:
            raise DataError(
                f"{self.where}: its names are lists or references, not text", _LAYOUT_HINT
            )
        n_size = self.file.id.get_create_plist().get_sizes()[1]
        with (
            open(self.file.filename, "rb") as stream,
            mmap(stream.fileno(), 0, access=ACCESS_READ) as raw,
        ):
            at = raw.find(_HEAP_MAGIC)
            while at >= 0:
                if not _is_whole_heap(raw, at, n_size):
                    raise DataError(
                        f"{self.where}: its strings are damaged",
                        "Write or download the file again.",
                    )
                at = raw.find(_HEAP_MAGIC, at + 1)

    def _variables(self, data: Any) -> list[str]:
        n_variables = int(data.shape[2])
        for holder in (data, self.file):
            if "variables" not in holder.attrs:
                continue
            attribute = holder.attrs.get_id("variables")
            if attribute.dtype.kind == "O" and n_variables * self.n_bytes > _MAX_SHARED_BYTES:
                raise DataError(
                    f"{self.where}: the attribute variables has strings of variable length",
                    "Store names of fixed length.",
                )
            if attribute.shape is None or math.prod(attribute.shape) != n_variables:
                raise DataError(
                    f"{self.where}: the attribute variables does not name {n_variables} variables",
                    "Give one name for each.",
                )
            self._check_strings(attribute)
            names = _strings(holder.attrs["variables"])
            return self._different(names, "the name of a variable")
        if n_variables == 2:
            return ["prey", "predator"]
        return [f"v{i + 1}" for i in range(n_variables)]

    def _ids(self, chosen: str | None, n_series: int) -> list[str]:
        for name in ID_NAMES if chosen is None else [chosen]:
            data = self._stored(name, "" if chosen is None else "--id-column")
            if data is not None:
                break
        else:
            return [str(i) for i in range(n_series)]
        self._check_storage(data, name, (1,), kinds="iuSO")
        if data.shape != (n_series,):
            raise DataError(
                f"{self.where}: /{name} has {data.shape[0]:,} ids for {n_series:,} series",
                _LAYOUT_HINT,
            )
        self._check_strings(data)
        if data.dtype.kind == "S" and n_series * data.dtype.itemsize > _BLOCK_BYTES:
            raise DataError(f"{self.where}: /{name} has very long names", "Use short ids.")
        # many entries may share one stored string, so a small file could become a large list
        block = max(1, _BLOCK_BYTES // max(self.n_bytes, 1))
        ids: list[str] = []
        for start in range(0, n_series, block):
            for text in _strings(data[start : start + block]):
                ids.append(check_name(text, f"the id of series {len(ids)}", self.where))
        return self._different(ids, "the id of a series")

    def _different(self, names: list[str], what: str) -> list[str]:
        """Names that are in order, each there once."""
        for name, count in Counter(names).items():
            check_name(name, what, self.where)
            if count > 1:
                raise DataError(f"{self.where}: {what} '{name}' is there twice", "Rename one.")
        return names

    def _times(
        self, chosen: str | None, n_series: int, n_steps: int
    ) -> tuple[FloatArray | None, Calendar | None]:
        """(1, T) or (n, T) times, None if there are none; their calendar where they are dates."""
        name = chosen or TIME
        data = self._stored(name, "--time-column" if chosen else "")
        if data is None:
            return None, None
        self._check_storage(data, name, (1, 2), kinds="fiuS")
        if data.shape not in ((n_steps,), (n_series, n_steps)):
            raise DataError(
                f"{self.where}: /{name} has the shape {data.shape}, but /{TRAJECTORIES} has "
                f"{n_steps:,} steps",
                _LAYOUT_HINT,
            )
        if data.dtype.kind == "S":
            return self._dates(data, name)
        with np.errstate(invalid="ignore"):
            return np.asarray(data[...], dtype=np.float64).reshape(-1, n_steps), None

    def _dates(self, data: Any, name: str) -> tuple[FloatArray, Calendar | None]:
        """Times that are texts of fixed length, empty after the end of a shorter series."""
        import pandas

        if data.dtype.itemsize > _LONGEST_DATE:
            raise DataError(f"{self.where}: /{name} has texts longer than a date", _LAYOUT_HINT)
        texts = np.atleast_2d(data[...])
        there = texts != b""
        column = pandas.Series(_strings(texts[there]), range(1, there.sum() + 1), name=name)
        times = np.full(texts.shape, np.nan)
        times[there], calendar = read_times(column, np.nonzero(there)[0], self.where)
        return times, calendar

    def _values(self, data: Any) -> FloatArray:
        """(n, T, V) float64, read block by block, no infinities."""
        values = np.empty(data.shape, dtype=np.float64)
        block = max(1, _BLOCK_VALUES // max(1, data.shape[1] * data.shape[2]))
        for start in range(0, data.shape[0], block):
            part = values[start : start + block]
            with np.errstate(invalid="ignore"):  # a NaN that "signals" is one like any other
                part[...] = data[start : start + block]
            bad = np.argwhere(np.abs(part) > MAX_MAGNITUDE)
            if len(bad):
                i, step, variable = (int(n) for n in bad[0])
                check_magnitude(
                    float(part[i, step, variable]),
                    f"{self.where}: /{TRAJECTORIES} series {start + i}, step {step}, "
                    f"variable {variable}",
                )
        return values


def _is_whole_heap(raw: mmap, at: int, n_size: int) -> bool:
    """Whether a store of strings of variable length is undamaged.

    The library walks over the objects of a global heap by their sizes and, as of 1.14, does not
    see that a free object of size 0 leads nowhere. Layout: HDF5 File Format Specification, III.E.
    """

    def number(place: int) -> int:
        return int.from_bytes(raw[place : place + n_size], "little")

    header = 8 + n_size  # of the heap as of each of its objects
    end = min(at + number(at + 8), len(raw))
    place = at + header
    while end - place >= header:
        index, size = int.from_bytes(raw[place : place + 2], "little"), number(place + 8)
        # a free object's size includes its header
        length = size if index == 0 else header + (size + 7) // 8 * 8
        if length == 0 or place + length > end:
            return False
        place += length
    return True


def _strings(raw: Any) -> list[str]:
    """Names from bytes, strings or integers."""
    return [
        (item.decode("utf-8", errors="replace") if isinstance(item, bytes) else str(item)).strip()
        for item in np.asarray(raw).ravel().tolist()
    ]


def _increasing(times: FloatArray, has_own: bool, at: str) -> FloatArray:
    """The times of a series, which may end before others do where its times are its own."""
    length = len(times) - int(np.argmin(np.isnan(times[::-1]))) if has_own else len(times)
    row = times[:length]
    if length < 2 or not np.all(np.abs(row) <= MAX_MAGNITUDE):
        raise DataError(f"{at} has missing, infinite or too few times", SHORT_OF_ROWS)
    if np.any(np.diff(row) <= 0):
        raise DataError(f"{at} does not increase", "Sort the samples, and keep one for each time.")
    return row


def write_hdf5(
    dataset: Dataset, path: Path, precision: Literal["float32", "float64"] = "float64"
) -> None:
    """The data set in the layout above, the same bytes for the same data.

    Args:
        precision: float64 keeps every value exactly; float32 halves the file and keeps 7 digits.
            Times are always float64.
    """
    import h5py

    n_series, n_variables = len(dataset), len(dataset.variables)
    n_steps = max(len(s) for s in dataset)
    values = np.full((n_series, n_steps, n_variables), np.nan, dtype=precision)
    empty = np.nan if dataset.calendar is None else b""
    times = np.full((n_series, n_steps), empty, dtype=None if dataset.calendar is None else "S40")
    for i, series in enumerate(dataset):
        values[i, : len(series)] = series.values
        times[i, : len(series)] = written(dataset.calendar, series.time)
    lengths = {len(series) for series in dataset}
    same = len(lengths) == 1 and all(np.array_equal(row, times[0]) for row in times[1:])
    with h5py.File(path, "w") as file:
        data = file.create_dataset(TRAJECTORIES, data=values)
        data.attrs["variables"] = np.array([v.encode() for v in dataset.variables], dtype="S")
        file.create_dataset(TIME, data=times[0] if same else times)
        file.create_dataset("id", data=np.array([s.id.encode() for s in dataset], dtype="S"))
