"""Trajectories from arrays and data frames in memory, checked as strictly as those from files.

A frame is anything with named columns (pandas, polars, pyarrow, a dictionary).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from lvlora.data.dataset import Dataset, Series
from lvlora.data.dates import has_dates
from lvlora.data.files.tables import ID_NAMES, TIME_NAMES, assign_roles, read_table
from lvlora.errors import DataError, reason
from lvlora.settings.shared import InputSettings

if TYPE_CHECKING:
    import pandas


def from_arrays(
    values: ArrayLike,
    time: ArrayLike | None = None,
    *,
    variables: Sequence[str] | None = None,
    ids: Sequence[str] | None = None,
    source: str = "arrays",
) -> Dataset:
    """Trajectories of equal length from one array.

    >>> from_arrays([[1.0, 5.0], [2.0, 4.0]], variables=("hare", "lynx")).variables
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
    import pandas

    try:
        array = np.asarray(values)
    except ValueError:
        raise DataError(
            f"{source}: the values have rows of different lengths",
            "Give an array of numbers, with NaN for what is missing.",
        ) from None
    if array.ndim not in (1, 2, 3) or 0 in array.shape:
        raise DataError(
            f"{source}: the values have the shape {array.shape}",
            "Give (steps,), (steps, variables) or (series, steps, variables).",
        )
    if array.ndim == 1:
        array = array[:, None]
    n, steps, width = array.reshape(-1, *array.shape[-2:]).shape
    names = [f"x{i + 1}" for i in range(width)] if variables is None else list(variables)
    labels = [str(i) for i in range(n)] if ids is None else list(ids)
    moments = np.arange(steps) if time is None else _array(time)
    numbers = {"variables": (names, width), "ids": (labels, n), "times": (moments, steps)}
    for what, (wanted, size) in numbers.items():
        if len(wanted) != size or len(set(wanted)) != size:
            raise DataError(
                f"{source}: {what} should be {size} different ones, got {list(wanted)[:20]}",
                "Give each series of other times a row for each time (from_frame).",
            )
    frame = pandas.DataFrame(array.reshape(n * steps, width), columns=names)
    frame.insert(0, "time", np.tile(moments, n), allow_duplicates=True)
    frame.insert(0, "id", np.repeat(np.array(labels, dtype=object), steps), allow_duplicates=True)
    settings = InputSettings(id_column="id", time_column="time", columns=tuple(names))
    return _read_pandas(frame, settings, source, insert=False)


def from_frame(
    frame: Any,
    *,
    id_column: str | None = None,
    time_column: str | None = None,
    date_format: str | None = None,
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
        date_format: how texts of dates are written, such as ``%d.%m.%Y``; default: ISO.
        columns: the variables, in this order; default: all others.
        source: where the data came from, for people.

    Raises:
        DataError: what is no number, a missing time or id, a time that is there twice.
    """
    settings = InputSettings(
        id_column=id_column,
        time_column=time_column,
        date_format=date_format,
        columns=None if columns is None else tuple(columns),
    )
    return _read_frame(frame, settings, source)


def _read_frame(frame: Any, settings: InputSettings, source: str) -> Dataset:
    import pandas

    if hasattr(frame, "to_frame") and not hasattr(frame, "columns"):  # one column
        frame = frame.to_frame("y" if frame.name in (None, "") else frame.name)
    if isinstance(frame, pandas.DataFrame):
        return _read_pandas(*_with_index(frame, settings), source)
    # the columns of pyarrow are something else than names
    names = getattr(frame, "column_names", None) or getattr(frame, "columns", frame)
    try:
        table = pandas.DataFrame({str(name): _array(frame[name]) for name in names})
    except ValueError as error:
        raise DataError(
            f"{source}: the columns have different lengths ({reason(error)})",
            "Fill what is missing with NaN.",
        ) from None
    return _read_pandas(table, settings, source)


def _with_index(
    frame: pandas.DataFrame, settings: InputSettings
) -> tuple[pandas.DataFrame, InputSettings]:
    """Make columns of the index levels that say when or whose a row is; dates are the time."""
    names, time = {*TIME_NAMES, *ID_NAMES}, settings.time_column
    frame = frame.copy(deep=False)
    for position, name in enumerate(frame.index.names):
        level = frame.index.get_level_values(position).to_series(index=frame.index)
        title = "time" if name is None else str(name).strip()
        is_date = has_dates(level)
        is_named = name is not None and (
            title in (settings.id_column, settings.time_column) or title.lower() in names
        )
        if title not in frame and (is_date or is_named):
            frame.insert(0, title, level)
            time = time or (title if is_date else None)
    return frame, settings.model_copy(update={"time_column": time})


def _read_pandas(
    frame: pandas.DataFrame, settings: InputSettings, source: str, *, insert: bool = True
) -> Dataset:
    header = [str(name).strip() for name in frame.columns]
    roles = assign_roles(header, settings, source)
    # messages count rows from 1
    frame = frame.set_axis(range(1, len(frame) + 1)).set_axis(header, axis=1)
    return read_table(frame[roles.columns], roles, source, settings, insert=insert)


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
    return _read_frame(data, settings or InputSettings(), argument)


def _array(column: Any) -> np.ndarray[Any, Any]:
    if hasattr(column, "to_numpy") and not hasattr(column, "chunks"):
        return np.asarray(column.to_numpy())
    return np.asarray(column)  # pyarrow's own to_numpy refuses some types that this takes
