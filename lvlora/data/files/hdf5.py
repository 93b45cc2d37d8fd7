"""Trajectories in HDF5, read with distrust: links, other storage, shapes that are only declared.

The layout: `/trajectories` (n, T, V), float or integer, its attribute `variables` (V names)
optional; `/time` (T,), or (n, T) where the series differ, with NaN after the end of a shorter one,
its attribute `units` ("days since 1970-01-01", CF Conventions 1.11, section 4.4) where times are
dates; `/id` (n,) strings or integers, optional (`/system_id` and the other `tables.ID_NAMES` too).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lvlora.data.dataset import Dataset, FloatArray, Series
from lvlora.data.dates import MICROSECONDS, Calendar, Unit, as_needed, counted
from lvlora.data.files.columns import (
    MAX_MAGNITUDE,
    MAX_VALUES,
    MAX_VARIABLES,
    check_magnitude,
    check_name,
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
_LONGEST_TEXT = 200
_UNITS = re.compile(
    r"(day|hour|minute|second|millisecond|microsecond)s? since (\d{1,4})-(\d{1,2})-(\d{1,2})"
    r"([T ]0{1,2}:0{1,2}(:0{1,2}(\.0*)?)?)?\s?(Z|UTC|\+00:?00)?"
)
_OUR_DAYS = ("", "standard", "gregorian", "proleptic_gregorian")
_ROUNDED_TO = 1_000  # microseconds: fractions of a day are not exact
_FARTHEST = 2.5e17  # microseconds, about the year 9890


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
        series, n_sorted, has_own = [], 0, len(times) > 1
        for i, name in enumerate(ids):
            if i == 0 or has_own:
                at = f"{self.where}: /{time_name}" + (f" of series '{name}'" if has_own else "")
                time, rows = _in_order(times[i], has_own, at)
                n_sorted += not isinstance(rows, slice)
            series.append(Series(name, time, values[i][rows], calendar))
        if n_sorted:
            notes.append(f"{self.where}: samples were out of time order and have been sorted")
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
        if data.dtype.kind == "S" and n_series * data.dtype.itemsize > _BLOCK_BYTES:
            raise DataError(f"{self.where}: /{name} has very long names", "Use short ids.")
        self._check_strings(data)
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
        self._check_storage(data, name, (1, 2))
        if data.shape not in ((n_steps,), (n_series, n_steps)):
            raise DataError(
                f"{self.where}: /{name} has the shape {data.shape}, but /{TRAJECTORIES} has "
                f"{n_steps:,} steps",
                _LAYOUT_HINT,
            )
        with np.errstate(invalid="ignore"):
            times = np.asarray(data[...], dtype=np.float64).reshape(-1, n_steps)
        return self._as_dates(data, times)

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

    def _as_dates(self, data: Any, times: FloatArray) -> tuple[FloatArray, Calendar | None]:
        """Times in their calendar, where their units say that they are dates.

        Args:
            data: the dataset of times; times: (n, T) its content, NaN after a shorter series.
        """
        units = _UNITS.fullmatch(self._text(data, "units"))
        if units is None or self._text(data, "calendar").lower() not in _OUR_DAYS:
            return times, None
        try:
            first = datetime(int(units[2]), int(units[3]), int(units[4]))
        except ValueError:
            return times, None
        unit: Unit = units[1]  # type: ignore[assignment]  # the pattern has no others
        there = np.isfinite(times)
        start = (first - datetime(1970, 1, 1)).days * MICROSECONDS["day"]
        clock = times[there] * float(MICROSECONDS[unit]) + start
        if not clock.size or np.any(np.abs(clock) > _FARTHEST):
            return times, None
        size = 1 if unit in ("millisecond", "microsecond") else _ROUNDED_TO
        whole = (np.round(clock / size) * size).astype(np.int64)
        style = _as_written(self._text(data, "date_precision")) or as_needed(
            whole, 0 if units[8] else None
        )
        positions = np.full(times.shape, np.nan)
        positions[there], calendar = counted(whole, style, np.nonzero(there)[0])
        return positions, calendar

    def _text(self, data: Any, name: str) -> str:
        """An attribute that is one short text, else nothing."""
        if name not in data.attrs:
            return ""
        attribute = data.attrs.get_id(name)
        kind = attribute.dtype
        if attribute.shape != () or kind.kind not in "SO" or kind.itemsize > _LONGEST_TEXT:
            return ""
        self._check_strings(attribute)
        return _strings(data.attrs[name])[0][:_LONGEST_TEXT]


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


def _in_order(
    times: FloatArray, has_own: bool, at: str
) -> tuple[FloatArray, slice | np.ndarray[Any, Any]]:
    """Increasing times of a series, and its rows in their order.

    What is in order is a slice: a file of many series lies in memory once, not twice.

    Args:
        has_own: its times are its own, so that it may end before others do.
    """
    length = len(times) - int(np.argmin(np.isnan(times[::-1]))) if has_own else len(times)
    row = times[:length]
    if length < 2 or not np.all(np.abs(row) <= MAX_MAGNITUDE):
        raise DataError(f"{at} has missing, infinite or too few times", SHORT_OF_ROWS)
    order = np.argsort(row, kind="stable")
    if np.any(np.diff(row[order]) == 0):
        raise DataError(f"{at} has a time twice", "Keep one sample for each time.")
    return (row[order], order) if np.any(np.diff(row) < 0) else (row, slice(length))


def _as_written(written: str) -> Calendar | None:
    """How dates were written, as the file says; None where it says nothing that is so."""
    try:
        precision, mark, minutes = written.split(",")[:3]
        offset = int(minutes) if minutes else None
        separator = " " if mark == "space" else "T"
        return Calendar("microsecond", 1, precision, separator, offset)  # type: ignore[arg-type]
    except ValueError:
        return None


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
    times = np.full((n_series, n_steps), np.nan)
    attributes, stored = date_attributes(dataset.calendar)
    for i, series in enumerate(dataset):
        values[i, : len(series)] = series.values
        times[i, : len(series)] = stored(series.time)
    same = all(np.array_equal(row, times[0]) for row in times[1:]) and not np.isnan(times).any()
    with h5py.File(path, "w") as file:
        data = file.create_dataset(TRAJECTORIES, data=values)
        data.attrs["variables"] = np.array([v.encode() for v in dataset.variables], dtype="S")
        time = file.create_dataset(TIME, data=times[0] if same else times)
        for name, text in attributes.items():
            time.attrs[name] = np.bytes_(text)
        file.create_dataset("id", data=np.array([s.id.encode() for s in dataset], dtype="S"))


def date_attributes(
    calendar: Calendar | None,
) -> tuple[Mapping[str, str], Callable[[FloatArray], FloatArray]]:
    """The attributes that say what times are, and (T,) times -> the numbers that are stored."""
    if calendar is None:
        return {}, lambda times: times
    unit = calendar.unit if calendar.unit in MICROSECONDS else "day"
    mark = "space" if calendar.separator == " " else "T"
    offset = "" if calendar.offset is None else str(calendar.offset)

    def stored(times: FloatArray) -> FloatArray:
        clock = calendar.dates(times).astype(np.int64)
        return np.asarray(clock / MICROSECONDS[unit], dtype=np.float64)

    return {
        "units": f"{unit}s since 1970-01-01",
        "calendar": "proleptic_gregorian",
        "date_precision": f"{calendar.precision},{mark},{offset}",
    }, stored
