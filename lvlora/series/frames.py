"""Trajectories from arrays and data frames in memory, checked as strictly as those from files.

A frame is anything with named columns (pandas, polars, pyarrow, a dictionary); no data frame
library is imported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from lvlora.errors import DataError
from lvlora.series.dataset import Dataset, FloatArray, Series
from lvlora.series.dates import Moments, looks_like_date, moments_of
from lvlora.series.files.limits import MAX_MAGNITUDE
from lvlora.series.files.tables import (
    ID_NAMES,
    LONE_ID,
    SHORT_OF_ROWS,
    TIME_NAMES,
    Rows,
    assemble,
    assign_roles,
    check_magnitude,
    check_name,
    numbered,
    unclear_column,
)
from lvlora.series.time_steps import with_steps
from lvlora.settings.data import InputSettings
from lvlora.settings.spoken import for_programs


@for_programs()
def from_arrays(
    values: ArrayLike,
    time: ArrayLike | None = None,
    *,
    variables: Sequence[str] | None = None,
    ids: Sequence[str] | None = None,
    source: str = "arrays",
) -> Dataset:
    """Trajectories of equal length from one array.

    >>> from_arrays([[1.0, 5.0], [2.0, 4.0], [3.0, 3.0]], variables=("hare", "lynx")).variables
    ('hare', 'lynx')

    Args:
        values: (T,), (T, V) or (n, T, V) numbers; NaN is a missing value.
        time: (T,) strictly increasing numbers or dates; default: steps 0, 1, 2, …
        variables: V names; default: x1, x2, …
        ids: n names; default: 0, 1, 2, …
        source: where the data came from, for people.

    Raises:
        DataError: shapes that don't go together, infinite values, times that don't increase.
    """
    cube = _numbers(values, source, "values")
    if cube.ndim not in (1, 2, 3):
        raise DataError(
            f"{source}: the values have the shape {cube.shape}",
            "Give (steps,), (steps, variables) or (series, steps, variables).",
        )
    cube = {1: cube[None, ..., None], 2: cube[None], 3: cube}[cube.ndim]
    n, steps, width = cube.shape
    if n < 1 or steps < 2 or width < 1:
        raise DataError(f"{source}: {n} series of {steps} steps, {width} variables", SHORT_OF_ROWS)
    moments, calendar = np.arange(steps, dtype=np.float64), None
    if time is not None:
        read = _times(time, source, "time")
        moments, calendar = numbered(read, np.zeros(_n_times(read), dtype=np.int64))
    if moments.shape != (steps,) or np.isnan(moments).any() or (np.diff(moments) <= 0).any():
        raise DataError(
            f"{source}: the times should be {steps} increasing numbers",
            "Sort them, and give each series of other times a row for each time (from_frame).",
        )
    names = [f"x{i + 1}" for i in range(width)] if variables is None else list(variables)
    labels = [str(i) for i in range(n)] if ids is None else list(ids)
    for given, count, what in ((names, width, "variables"), (labels, n, "ids")):
        if len(given) != count or len(set(given)) != count:
            raise DataError(
                f"{source}: {what} should be {count} different names, got {given}",
                "Give each its own name.",
            )
        for name in given:
            check_name(name, f"one of the {what}", source)
    series = tuple(
        Series(label, moments, part, calendar) for label, part in zip(labels, cube, strict=True)
    )
    return with_steps(Dataset(series, tuple(names), source), insert=False)


@for_programs()
def from_frame(
    frame: Any,
    *,
    id_column: str | None = None,
    time_column: str | None = None,
    columns: Sequence[str] | None = None,
    source: str = "data frame",
) -> Dataset:
    """Trajectories from a table in memory: a row a time, or a row a series and time.

    >>> from_frame({"year": [1900, 1901], "hare": [30.0, 47.2], "lynx": [4.0, 6.1]}).time_name
    'year'

    Args:
        frame: a data frame of pandas or polars, one column of it, a pyarrow table, or a dictionary
            of columns. Levels of an index are columns, too, if they hold dates or have the name of
            ids or times.
        id_column: tells series apart; default: a column with one of the usual names, if any.
        time_column: default: a column with one of the usual names, else steps 0, 1, 2, …
            Dates (datetime64, date, datetime, period or ISO text) stay dates: `Dataset.calendar`.
        columns: the variables, in this order; default: all others.
        source: where the data came from, for people.

    Raises:
        DataError: what is no number, a missing time or id, a time that is there twice.
    """
    if hasattr(frame, "to_frame") and not hasattr(frame, "columns"):  # one column
        frame = frame.to_frame("y" if frame.name in (None, "") else frame.name)
    names = getattr(frame, "column_names", None)  # pyarrow; its columns are something else
    if names is None:
        names = frame.columns if hasattr(frame, "columns") else frame
    indexed, dates = _index(frame, {id_column, time_column})
    header = [*indexed, *(str(name).strip() for name in names)]
    data = indexed | {str(name).strip(): frame[name] for name in names}
    settings = InputSettings(
        id_column=id_column,
        time_column=time_column or dates,
        columns=None if columns is None else tuple(columns),
    )
    roles = assign_roles(header, settings, source)
    variables = [header[i] for i in roles.variables]
    parts = [_numbers(data[name], source, name) for name in variables]
    n_rows = len(parts[0])
    time = None
    if roles.time is not None:
        time = _times(data[header[roles.time]], source, header[roles.time])
    labels, codes = [LONE_ID], np.zeros(n_rows, dtype=np.int64)
    if roles.id is not None:
        labels, codes = _labels(data[header[roles.id]], source, header[roles.id])
    lengths = {len(codes), *map(len, parts), n_rows if time is None else _n_times(time)}
    if len(lengths) > 1:
        raise DataError(
            f"{source}: the columns have different lengths: {sorted(lengths)}",
            "Fill what is missing with NaN.",
        )
    rows = Rows(labels, codes, time, np.column_stack(parts), np.arange(1, n_rows + 1))
    time_name = "time" if roles.time is None else header[roles.time]
    return assemble(
        rows,
        variables,
        where=source,
        time_name=time_name,
        id_name="id" if roles.id is None else header[roles.id],
        ask_about=unclear_column(header, roles, settings),
    )


def to_dataset(data: Any, settings: InputSettings | None = None, argument: str = "data") -> Dataset:
    """Return the data set of whatever a program holds its trajectories in.

    Args:
        data: a `Dataset`, a `Series` or a sequence of them, an array, or what `from_frame` takes.
        settings: which columns of a frame are ids, times and variables.
        argument: the name of ``data`` in messages.

    Raises:
        DataError: it is something else, or cannot be used.
    """
    if isinstance(data, Dataset):
        return data
    if isinstance(data, Series):
        data = [data]
    if isinstance(data, list | tuple) and all(isinstance(one, Series) for one in data):
        widths = sorted({one.values.shape[1] for one in data})
        if len(widths) > 1:
            raise DataError(
                f"{argument}: its series have {widths} variables",
                "Give those with as many variables together.",
            )
        names = (f"x{i + 1}" for width in widths for i in range(width))
        return Dataset(tuple(data), tuple(names), argument)
    if isinstance(data, np.ndarray | list | tuple):
        return from_arrays(data, source=argument)
    if not isinstance(data, Mapping) and not any(
        hasattr(data, name) for name in ("columns", "column_names", "to_frame")
    ):
        raise DataError(
            f"{argument}: a {type(data).__name__} holds no trajectories",
            "Give a data frame, a column of one, an array, a Series or a Dataset.",
        )
    chosen = settings or InputSettings()
    return from_frame(
        data,
        id_column=chosen.id_column,
        time_column=chosen.time_column,
        columns=chosen.columns,
        source=argument,
    )


def _index(frame: Any, asked: set[str | None]) -> tuple[dict[str, Any], str | None]:
    """Levels of a pandas index that say when or whose a row is, by name; which of them is dates."""
    index: Any = getattr(frame, "index", None)
    if not hasattr(index, "get_level_values"):
        return {}, None
    columns = {str(name).strip() for name in frame.columns}
    found: dict[str, Any] = {}
    dates = None
    for position, name in enumerate(index.names):
        level = index.get_level_values(position)
        is_date = _has_dates(level)
        title = "time" if name is None else str(name).strip()
        known = title in asked or title.lower() in (*TIME_NAMES, *ID_NAMES)
        if title not in columns and (is_date or (name is not None and known)):
            found[title] = level
            dates = title if is_date and dates is None else dates
    return found, dates


def _has_dates(column: Any) -> bool:
    array = _array(column)
    if array.dtype.kind == "M":
        return True
    first = array[0] if array.dtype.kind in "OUT" and len(array) else None
    if isinstance(first, str):
        return looks_like_date(first)
    return hasattr(first, "isoformat") or hasattr(first, "to_timestamp")


def _array(column: Any) -> np.ndarray[Any, Any]:
    if hasattr(column, "to_numpy") and not hasattr(column, "chunks"):
        return np.asarray(column.to_numpy())
    return np.asarray(column)  # pyarrow's own to_numpy refuses some types that this takes


def _numbers(column: Any, source: str, name: str) -> FloatArray:
    """float64 of a column; None and NaN are missing values."""
    try:
        array = _array(column)
        if array.dtype.kind in "Mc":  # which numpy would take for numbers, or for halves of them
            raise TypeError("dates or complex numbers")
        numbers: FloatArray = np.array(array, dtype=np.float64)
    except (TypeError, ValueError):
        hint = "Choose numeric columns, and name the columns of ids and times."
        if _has_dates(column):
            hint = f"Is it the time? time_column={name!r}"
        raise DataError(
            f"{source}, column '{name}': it has something else than numbers", hint
        ) from None
    bad = np.argwhere(np.abs(numbers) > MAX_MAGNITUDE)
    if len(bad):
        check_magnitude(float(numbers[tuple(bad[0])]), f"{source}, column '{name}'")
    return numbers


def _times(column: Any, source: str, name: str) -> FloatArray | Moments:
    """Times as numbers or dates, none missing."""
    array = _array(column)
    dates = moments_of(array, source, name)
    if dates is not None:
        return dates
    moments = _numbers(array, source, name)
    if np.isnan(moments).any():
        row = int(np.flatnonzero(np.isnan(moments))[0]) + 1
        raise DataError(
            f"{source}, row {row}, column '{name}': the time is missing",
            "Every row needs its time.",
        )
    return moments


def _n_times(time: FloatArray | Moments) -> int:
    return len(time.microseconds if isinstance(time, Moments) else time)


def _labels(column: Any, source: str, name: str) -> tuple[list[str], Any]:
    """The distinct ids in order of first appearance, and each row's code."""
    code_of: dict[str, int] = {}
    codes = []
    for row, item in enumerate(_array(column).tolist(), 1):
        if item is None or item != item:
            raise DataError(
                f"{source}, row {row}, column '{name}': an id is missing", "Every row needs its id."
            )
        label = check_name(str(item).strip(), f"an id ('{name}')", source)
        codes.append(code_of.setdefault(label, len(code_of)))
    return list(code_of), np.array(codes, dtype=np.int64)
