"""Trajectories from arrays and data frames in memory, checked as strictly as those from files.

A frame is anything with named columns (pandas, polars, pyarrow, a dictionary).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from lvlora.data.dataset import Dataset, FloatArray, Series
from lvlora.data.dates import has_dates
from lvlora.data.files.columns import check_name, read_numbers, read_times
from lvlora.data.files.tables import ID_NAMES, SHORT_OF_ROWS, TIME_NAMES, read_table
from lvlora.data.time_steps import with_steps
from lvlora.errors import DataError, reason
from lvlora.settings.shared import InputSettings

if TYPE_CHECKING:
    import pandas

_NUMBERS = "Give an array of numbers, with NaN for what is missing."


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
    import pandas

    try:
        array = np.asarray(values)
    except ValueError:
        raise DataError(f"{source}: the values have rows of different lengths", _NUMBERS) from None
    flat = pandas.Series(array.reshape(-1), range(1, array.size + 1), name="values")
    cube: FloatArray = np.array(read_numbers(flat, source, _NUMBERS)).reshape(array.shape)
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
        column = pandas.Series(_array(time), name="time")
        column = column.set_axis(range(1, len(column) + 1))
        moments, calendar = read_times(column, np.zeros(len(column), dtype=np.int64), source)
    if moments.shape != (steps,) or np.isnan(moments).any() or (np.diff(moments) <= 0).any():
        raise DataError(
            f"{source}: the times should be {steps} increasing numbers",
            "Sort them, and give each series of other times a row for each time (from_frame).",
        )
    names = [f"x{i + 1}" for i in range(width)] if variables is None else list(variables)
    labels = [str(i) for i in range(n)] if ids is None else list(ids)
    for different, count, what in ((names, width, "variables"), (labels, n, "ids")):
        if len(different) != count or len(set(different)) != count:
            raise DataError(
                f"{source}: {what} should be {count} different names, got {different}",
                "Give each its own name.",
            )
        for name in different:
            check_name(name, f"one of the {what}", source)
    series = tuple(
        Series(label, moments, part, calendar) for label, part in zip(labels, cube, strict=True)
    )
    return with_steps(Dataset(series, tuple(names), source), insert=False)


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
        indexed, dates = _index(frame, {settings.id_column, settings.time_column})
        settings = settings.model_copy(update={"time_column": settings.time_column or dates})
        table = pandas.concat([indexed, frame], axis=1) if len(indexed.columns) else frame
    else:
        names = getattr(frame, "column_names", None)  # pyarrow; its columns are something else
        if names is None:
            names = frame.columns if hasattr(frame, "columns") else frame
        try:
            table = pandas.DataFrame({str(name).strip(): _array(frame[name]) for name in names})
        except ValueError as error:
            raise DataError(
                f"{source}: the columns have different lengths ({reason(error)})",
                "Fill what is missing with NaN.",
            ) from None
    return read_table(_FrameTable(table, source), settings)


@dataclass(frozen=True)
class _FrameTable:
    """A data frame; its rows are counted from 1."""

    frame: pandas.DataFrame
    where: str

    @property
    def header(self) -> list[str]:
        return [str(name).strip() for name in self.frame.columns]

    def columns(
        self, numbers: Collection[int], texts: Collection[int], times: Collection[int] = ()
    ) -> dict[int, pandas.Series]:
        rows, header = range(1, len(self.frame) + 1), self.header
        return {
            i: self.frame.iloc[:, i].set_axis(rows).rename(header[i])
            for i in (*numbers, *texts, *times)
        }


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


def _index(frame: pandas.DataFrame, chosen: set[str | None]) -> tuple[pandas.DataFrame, str | None]:
    """Levels of an index that say when or whose a row is; the name of the first that is dates."""
    import pandas

    columns = {str(name).strip() for name in frame.columns}
    levels: dict[str, pandas.Series] = {}
    dates = None
    for position, name in enumerate(frame.index.names):
        level = pandas.Series(frame.index.get_level_values(position), index=frame.index)
        title = "time" if name is None else str(name).strip()
        known = title in chosen or title.lower() in (*TIME_NAMES, *ID_NAMES)
        is_date = has_dates(level)
        if title not in columns and (is_date or (name is not None and known)):
            levels[title] = level
            dates = title if is_date and dates is None else dates
    return pandas.DataFrame(levels, index=frame.index), dates


def _array(column: Any) -> np.ndarray[Any, Any]:
    if hasattr(column, "to_numpy") and not hasattr(column, "chunks"):
        return np.asarray(column.to_numpy())
    return np.asarray(column)  # pyarrow's own to_numpy refuses some types that this takes
