"""Trajectories in HDF5, read with distrust (`checks`).

The layout: `/trajectories` (n, T, V), float or integer, its attribute `variables` (V names)
optional; `/time` (T,), or (n, T) where the series differ, with NaN after the end of a shorter one,
its attribute `units` ("days since 1970-01-01") where times are dates (`dates`); `/id` (n,) strings
or integers, optional (`/system_id` and the other `tables.ID_NAMES` too).
"""

from __future__ import annotations

import math
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lvlora.errors import DataError, reason
from lvlora.series.dataset import Dataset, FloatArray, Series
from lvlora.series.dates import Calendar
from lvlora.series.files.columns import check_magnitude, check_name
from lvlora.series.files.hdf5.checks import (
    LAYOUT_HINT,
    check_storage,
    check_strings,
    contents,
    is_there,
    stored_dataset,
)
from lvlora.series.files.hdf5.dates import as_dates, attributes
from lvlora.series.files.limits import MAX_MAGNITUDE, MAX_VARIABLES
from lvlora.series.files.tables import (
    ID_NAMES,
    SHORT_OF_ROWS,
    find_column,
)
from lvlora.series.time_steps import with_steps
from lvlora.settings.data import InputSettings

TRAJECTORIES = "trajectories"
TIME = "time"
_BLOCK_VALUES = 1_000_000
_BLOCK_BYTES = 200_000_000
_MAX_SHARED_BYTES = 4_000_000_000  # strings of variable length may all share one long one


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
            return _read(file, path.stat().st_size, settings, where)
    except DataError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise DataError(
            f"{where}: not a readable HDF5 file ({reason(error)})",
            "The file is damaged or incomplete; write or download it again.",
        ) from None


def _read(file: Any, file_bytes: int, settings: InputSettings, where: str) -> Dataset:
    data = stored_dataset(file, TRAJECTORIES, where)
    if data is None:
        raise DataError(f"{where}: no /{TRAJECTORIES}; it has {contents(file)}", LAYOUT_HINT)
    check_storage(data, TRAJECTORIES, (3,), file_bytes, where)
    n_series, n_steps, n_variables = data.shape
    if min(data.shape) == 0 or n_steps < 2:
        raise DataError(
            f"{where}: /{TRAJECTORIES} has the shape {data.shape} (series, time, variables)",
            SHORT_OF_ROWS,
        )
    if n_variables > MAX_VARIABLES:
        raise DataError(
            f"{where}: /{TRAJECTORIES} has {n_variables:,} variables; "
            f"the limit is {MAX_VARIABLES:,}",
            LAYOUT_HINT,
        )
    notes: list[str] = []
    variables = _variables(file, data, file_bytes, where)
    chosen = list(range(n_variables))
    if settings.columns:
        chosen = [find_column(name, variables, "--columns", where) for name in settings.columns]
        if len(set(chosen)) < len(chosen):
            raise DataError("--columns names a variable twice", "Name each column once.")
    ids = _ids(file, settings.id_column, n_series, file_bytes, where)
    time_name = settings.time_column or TIME
    times = _times(file, settings.time_column, n_series, n_steps, file_bytes, where)
    calendar = None
    if times is None:
        times = np.arange(n_steps, dtype=np.float64)[None]
        notes.append(f"{where}: no /{TIME}; time counts steps from 0")
    else:
        times, calendar = as_dates(file[time_name], file, times, where)
    values = _values(data, where)[:, :, chosen]
    series = _series(ids, times, values, calendar, time_name, where, notes)
    names = tuple(variables[i] for i in chosen)
    dataset = Dataset(series, names, where, time_name, notes=tuple(notes))
    return with_steps(dataset, insert=False)


def _strings(raw: Any) -> list[str]:
    """Names from bytes, strings or integers."""
    return [
        (item.decode("utf-8", errors="replace") if isinstance(item, bytes) else str(item)).strip()
        for item in np.asarray(raw).ravel().tolist()
    ]


def _variables(file: Any, data: Any, file_bytes: int, where: str) -> list[str]:
    n_variables = int(data.shape[2])
    for holder in (data, file):
        if "variables" not in holder.attrs:
            continue
        attribute = holder.attrs.get_id("variables")
        shape = attribute.shape
        if attribute.dtype.kind == "O" and n_variables * file_bytes > _MAX_SHARED_BYTES:
            raise DataError(
                f"{where}: the attribute variables has strings of variable length",
                "Store names of fixed length.",
            )
        if shape is None or math.prod(shape) != n_variables:
            raise DataError(
                f"{where}: the attribute variables does not name {n_variables} variables",
                "Give one name for each.",
            )
        check_strings(attribute, file, where)
        names = [
            check_name(name, "the name of a variable", where)
            for name in _strings(holder.attrs["variables"])
        ]
        if len(set(names)) < n_variables:
            raise DataError(f"{where}: two variables have the same name", "Rename one of them.")
        return names
    if n_variables == 2:
        return ["prey", "predator"]
    return [f"v{i + 1}" for i in range(n_variables)]


def _ids(file: Any, chosen: str | None, n_series: int, file_bytes: int, where: str) -> list[str]:
    name = chosen if chosen is not None else next((n for n in ID_NAMES if is_there(file, n)), None)
    if name is None:
        return [str(i) for i in range(n_series)]
    data = stored_dataset(file, name, where)
    if data is None:
        find_column(name, list(islice(file, 1000)), "--id-column", where)
        raise DataError(f"{where}: /{name} is not at the top of the file", LAYOUT_HINT)
    if data.dtype.kind == "S" and n_series * data.dtype.itemsize > _BLOCK_BYTES:
        raise DataError(f"{where}: /{name} has very long names", "Use short ids.")
    check_storage(data, name, (1,), file_bytes, where, kinds="iuSO")
    if data.shape != (n_series,):
        raise DataError(
            f"{where}: /{name} has {data.shape[0]:,} ids for {n_series:,} series", LAYOUT_HINT
        )
    check_strings(data, file, where)
    # many entries may share one stored string, so a small file could become a large list
    block = max(1, _BLOCK_BYTES // max(file_bytes, 1))
    ids: list[str] = []
    for start in range(0, n_series, block):
        for text in _strings(data[start : start + block]):
            ids.append(check_name(text, f"the id of series {len(ids)}", where))
    if len(set(ids)) < n_series:
        twice = Counter(ids).most_common(1)[0][0]
        raise DataError(f"{where}: two series have the id '{twice}'", "Ids must differ.")
    return ids


def _times(
    file: Any, chosen: str | None, n_series: int, n_steps: int, file_bytes: int, where: str
) -> FloatArray | None:
    """(1, T) or (n, T) times, None if there are none."""
    name = chosen or TIME
    data = stored_dataset(file, name, where)
    if data is None:
        if chosen is not None:
            find_column(chosen, list(islice(file, 1000)), "--time-column", where)
        return None
    check_storage(data, name, (1, 2), file_bytes, where)
    if data.shape not in ((n_steps,), (n_series, n_steps)):
        raise DataError(
            f"{where}: /{name} has the shape {data.shape}, but /{TRAJECTORIES} has "
            f"{n_steps:,} steps",
            LAYOUT_HINT,
        )
    with np.errstate(invalid="ignore"):
        return np.asarray(data[...], dtype=np.float64).reshape(-1, n_steps)


def _values(data: Any, where: str) -> FloatArray:
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
                f"{where}: /{TRAJECTORIES} series {start + i}, step {step}, variable {variable}",
            )
    return values


def _series(
    ids: list[str],
    times: FloatArray,
    values: FloatArray,
    calendar: Calendar | None,
    time_name: str,
    where: str,
    notes: list[str],
) -> tuple[Series, ...]:
    """Each series with its own times, sorted; a shorter one ends where its times do."""
    series = []
    shared = len(times) == 1
    n_sorted = 0
    prepared: tuple[FloatArray, Any] | None = None
    for i, name in enumerate(ids):
        if prepared is None or not shared:
            row = times[0 if shared else i]
            at = f"{where}: /{time_name}" + ("" if shared else f" of series '{name}'")
            length = len(row) - int(np.argmin(np.isnan(row[::-1]))) if not shared else len(row)
            row = row[:length]
            if length < 2 or not np.all(np.abs(row) <= MAX_MAGNITUDE):
                raise DataError(f"{at} has missing, infinite or too few times", SHORT_OF_ROWS)
            order = np.argsort(row, kind="stable")
            if np.any(np.diff(row[order]) == 0):
                raise DataError(f"{at} has a time twice", "Keep one sample for each time.")
            in_order = not np.any(np.diff(row) < 0)
            n_sorted += not in_order
            # what is in order is not copied: a file of many series lies in memory once, not twice
            prepared = (row, slice(length)) if in_order else (row[order], order)
        series.append(Series(name, prepared[0], values[i][prepared[1]], calendar))
    if n_sorted:
        notes.append(f"{where}: samples were out of time order and have been sorted")
    return tuple(series)


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
    said, stored = attributes(dataset.calendar)
    for i, series in enumerate(dataset):
        values[i, : len(series)] = series.values
        times[i, : len(series)] = stored(series.time)
    same = all(np.array_equal(row, times[0]) for row in times[1:]) and not np.isnan(times).any()
    with h5py.File(path, "w") as file:
        data = file.create_dataset(TRAJECTORIES, data=values)
        data.attrs["variables"] = np.array([v.encode() for v in dataset.variables], dtype="S")
        time = file.create_dataset(TIME, data=times[0] if same else times)
        for name, text in said.items():
            time.attrs[name] = np.bytes_(text)
        file.create_dataset("id", data=np.array([s.id.encode() for s in dataset], dtype="S"))
