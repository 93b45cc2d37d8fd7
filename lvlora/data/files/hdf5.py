"""Trajectories in HDF5, read with distrust: links, other storage, shapes that are only declared.

The layout: `/trajectories` (n, T, V), float or integer, its attribute `variables` (V names)
optional; `/time` (T,), or (n, T) where the series differ, with NaN after the end of a shorter one
(an empty text where times are texts of dates); `/id` (n,) strings or integers, optional
(`/system_id` and the other `tables.ID_NAMES` too).
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lvlora.data.dataset import Dataset, FloatArray, Series
from lvlora.data.dates import Calendar, written
from lvlora.data.files.tables import (
    ID_NAMES,
    MAX_MAGNITUDE,
    MAX_VALUES,
    MAX_VARIABLES,
    SHORT_OF_ROWS,
    check_columns,
    check_magnitude,
    check_name,
    read_times,
)
from lvlora.data.gaps import with_steps
from lvlora.errors import DataError, reason
from lvlora.settings.shared import InputSettings

_LAYOUT_HINT = (
    "lvlora reads /trajectories (series, time, variables) and /time (time,), stored in the file "
    "itself; convert other layouts, or give a CSV."
)
_MAX_NAMES_BYTES = 200_000_000
_MAX_DEFLATE_RATIO = 1_100  # deflate cannot shrink by more than 1,032
_LONGEST_DATE = 40


def read_hdf5(path: Path, settings: InputSettings) -> Dataset:
    """Read the trajectories of an HDF5 file.

    Without `/time`, time counts steps from 0; without names, two variables are prey and predator,
    others v1, v2, …; without ids, they are "0", "1", ….

    Raises:
        DataError: links, external or virtual storage, a shape that is over the cap or not stored,
            a wrong rank or type, an infinity, a file that is damaged or laid out differently.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return _dataset(file, settings)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise DataError(
            f"{path}: not a readable HDF5 file ({reason(error)})",
            "The file is damaged or incomplete; write or download it again.",
        ) from None


def _refusal(file: Any, problem: str) -> DataError:
    return DataError(f"{file.filename}: {problem}", _LAYOUT_HINT)


def _dataset(file: Any, settings: InputSettings) -> Dataset:
    where = file.filename
    data = _stored(file, "trajectories", (3,))
    if data is None:
        names = [f"/{name[:60]}" for name in islice(file, 20)]
        shown = ", ".join(name if name.isprintable() else ascii(name) for name in names)
        raise _refusal(file, f"no /trajectories; it has {shown or 'nothing'}")
    n_series, n_steps, n_variables = data.shape
    if min(data.shape) == 0 or n_steps < 2 or n_variables > MAX_VARIABLES:
        raise DataError(
            f"{where}: /trajectories has the shape {data.shape} (series, time, variables)",
            f"{SHORT_OF_ROWS} A file has at most {MAX_VARIABLES:,} variables.",
        )
    names = _variables(file, data)
    variables = check_columns(settings.columns or names, names, where)
    with np.errstate(invalid="ignore"):  # a NaN that "signals" is one like any other
        values = np.asarray(data[...], dtype=np.float64)
    for i, step, variable in np.argwhere(np.abs(values) > MAX_MAGNITUDE)[:1].tolist():
        at = f"series {i}, step {step}, variable {variable}"
        check_magnitude(float(values[i, step, variable]), f"{where}: /trajectories {at}")
    values = values[:, :, [names.index(name) for name in variables]]
    ids = _ids(file, settings.id_column, n_series)
    times, calendar, notes = _times(file, settings.time_column, n_series, n_steps)
    series = tuple(
        Series(name, time, part[: len(time)], calendar)
        for name, time, part in zip(ids, times, values, strict=True)
    )
    dataset = Dataset(series, variables, where, settings.time_column or "time", notes=notes)
    return with_steps(dataset, insert=False)


def _stored(
    file: Any, name: str, ranks: Sequence[int], kinds: str = "fiu", option: str = ""
) -> Any | None:
    """Return the array of this name at the top of the file, unread; None where there is none."""
    import h5py

    links = file.id.links
    if not name or "/" in name or not links.exists(name.encode()):
        if option:
            check_columns([name], list(islice(file, 1000)), file.filename, option)
        return None
    if links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
        raise _refusal(file, f"/{name} is a soft or external link")
    data = file[name]
    if not isinstance(data, h5py.Dataset):
        raise _refusal(file, f"/{name} is not a dataset")
    if data.shape is None or len(data.shape) not in ranks:
        rank = "no" if data.shape is None else len(data.shape)
        wanted = " or ".join(map(str, ranks))
        raise _refusal(file, f"/{name} has {rank} dimensions instead of {wanted}")
    if data.dtype.kind not in kinds or (data.dtype.itemsize > 8 and data.dtype.kind == "f"):
        raise _refusal(file, f"/{name} has the type {data.dtype}, not real numbers")
    if data.is_virtual or data.external:
        raise _refusal(file, f"/{name} keeps its numbers in other files")
    n_values = max(math.prod(data.shape), math.prod(data.chunks) if data.chunks else 0)
    if n_values > MAX_VALUES:
        raise _refusal(file, f"/{name} declares {n_values:,} values; the limit is {MAX_VALUES:,}")
    declared = math.prod(data.shape) * data.dtype.itemsize
    stored = min(int(data.id.get_storage_size()), os.path.getsize(file.filename))
    filtered = data.id.get_create_plist().get_nfilters() > 0
    if declared > stored * (_MAX_DEFLATE_RATIO if filtered else 1):
        raise _refusal(file, f"/{name} declares {declared:,} bytes, but stores {stored:,}")
    return data


def _names(file: Any, stored: Any, what: str, n_names: int, read: Callable[[], Any]) -> list[str]:
    """Return distinct names in order, of a dataset or an attribute's id that isn't read yet.

    Text of variable length is refused: many names may share one long text, and HDF5 goes astray in
    a damaged store of them.
    """
    n_stored = 0 if stored.shape is None else math.prod(stored.shape)
    if n_stored != n_names:
        raise _refusal(file, f"{what} has {n_stored:,} names instead of {n_names:,}")
    if stored.dtype.kind == "O":
        raise DataError(
            f"{file.filename}: {what} has texts of variable length",
            'Write them in a fixed length: numpy.array(names, dtype="S").',
        )
    if n_names * stored.dtype.itemsize > _MAX_NAMES_BYTES:
        raise _refusal(file, f"{what} has very long names")
    names: dict[str, None] = {}
    for item in np.ravel(read()):  # one by one: as many as may be there take much memory in a list
        text = check_name(_text(item), f"name {len(names)} of {what}", file.filename)
        if text in names:
            raise _refusal(file, f"{what} has '{text}' twice")
        names[text] = None
    return list(names)


def _variables(file: Any, data: Any) -> list[str]:
    n_variables = int(data.shape[2])
    holder = next((h.attrs for h in (data, file) if "variables" in h.attrs), None)
    if holder is None:
        numbered = [f"v{i + 1}" for i in range(n_variables)]
        return ["prey", "predator"] if n_variables == 2 else numbered
    item, what = holder.get_id("variables"), "the attribute variables"
    return _names(file, item, what, n_variables, lambda: holder["variables"])


def _ids(file: Any, chosen: str | None, n_series: int) -> list[str]:
    for name in ID_NAMES if chosen is None else [chosen]:
        data = _stored(file, name, (1,), "iuSO", "--id-column" if chosen else "")
        if data is not None:
            return _names(file, data, f"/{name}", n_series, data.__array__)
    return [str(i) for i in range(n_series)]


def _times(
    file: Any, chosen: str | None, n_series: int, n_steps: int
) -> tuple[list[FloatArray], Calendar | None, tuple[str, ...]]:
    """The times of each series, their calendar where they are dates, and notes."""
    name, calendar = chosen or "time", None
    data = _stored(file, name, (1, 2), "fiuS", "--time-column" if chosen else "")
    if data is None:
        note = f"{file.filename}: no /time; time counts steps from 0"
        return [np.arange(n_steps, dtype=np.float64)] * n_series, None, (note,)
    if data.shape not in ((n_steps,), (n_series, n_steps)):
        raise _refusal(
            file, f"/{name} has the shape {data.shape}, but /trajectories has {n_steps:,} steps"
        )
    if data.dtype.kind == "S":
        import pandas

        if data.dtype.itemsize > _LONGEST_DATE:
            raise _refusal(file, f"/{name} has texts longer than a date")
        texts = np.atleast_2d(data[...])
        there = texts != b""  # empty after the end of a shorter series
        column = pandas.Series(map(_text, texts[there]), range(1, there.sum() + 1), name=name)
        times: FloatArray = np.full(texts.shape, np.nan)
        times[there], calendar = read_times(column, np.nonzero(there)[0], file.filename)
    else:
        with np.errstate(invalid="ignore"):
            times = np.asarray(data[...], dtype=np.float64).reshape(-1, n_steps)
    rows = []
    for row in times:
        if len(times) > 1:  # a series with times of its own may end before others do
            row = row[: n_steps - int(np.argmin(np.isnan(row[::-1])))]
        if len(row) < 2 or not np.all(np.abs(row) <= MAX_MAGNITUDE):
            raise _refusal(file, f"/{name} has missing, infinite or too few times")
        if np.any(np.diff(row) <= 0):
            raise DataError(
                f"{file.filename}: /{name} does not increase",
                "Sort the samples, and keep one for each time.",
            )
        rows.append(row)
    return rows if len(rows) == n_series else rows * n_series, calendar, ()


def _text(item: Any) -> str:
    """The text of bytes or of an integer."""
    text = item.decode("utf-8", errors="replace") if isinstance(item, bytes) else str(item)
    return text.strip()


def write_hdf5(
    dataset: Dataset, path: Path, precision: Literal["float32", "float64"] = "float64"
) -> None:
    """Write the data set in the layout above, the same bytes for the same data.

    Of the values float64 keeps every digit; float32 halves the file and keeps 7.
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
        data = file.create_dataset("trajectories", data=values)
        data.attrs["variables"] = np.array([v.encode() for v in dataset.variables], dtype="S")
        file.create_dataset("time", data=times[0] if same else times)
        file.create_dataset("id", data=np.array([s.id.encode() for s in dataset], dtype="S"))
