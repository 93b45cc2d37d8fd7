"""Trajectories from arrays and data frames in memory, checked as strictly as those from files.

Knows: numpy, and anything with named columns (pandas, polars, pyarrow, a dictionary). Does not
know: files. No data frame library is imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from lvlora.errors import DataError
from lvlora.series.dataset import Dataset, FloatArray, Series
from lvlora.series.limits import MAX_MAGNITUDE
from lvlora.series.tables import (
    LONE_ID,
    SHORT_OF_ROWS,
    Rows,
    assemble,
    assign_roles,
    check_magnitude,
    check_name,
)
from lvlora.settings import InputSettings

_DAY = np.timedelta64(1, "D")


def from_arrays(
    values: ArrayLike, time: ArrayLike | None = None, *, variables: Sequence[str] | None = None,
    ids: Sequence[str] | None = None, source: str = "arrays",
) -> Dataset:  # fmt: skip
    """Trajectories of equal length from one array.

    >>> from_arrays([[1.0, 5.0], [2.0, 4.0], [3.0, 3.0]], variables=("hare", "lynx")).variables
    ('hare', 'lynx')

    Args:
        values: (T,), (T, V) or (n, T, V) numbers; NaN is a missing value.
        time: (T,) strictly increasing; default: steps 0, 1, 2, …
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
    cube = cube.reshape((1, -1, 1) if cube.ndim == 1 else (-1, *cube.shape[-2:]))
    n, steps, width = cube.shape
    if n < 1 or steps < 2 or width < 1:
        raise DataError(f"{source}: {n} series of {steps} steps, {width} variables", SHORT_OF_ROWS)
    moments = np.arange(steps, dtype=np.float64)
    if time is not None:
        moments = _numbers(time, source, "time")
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
    series = tuple(Series(label, moments, part) for label, part in zip(labels, cube, strict=True))
    return Dataset(series, tuple(names), source)


def from_frame(
    frame: Any, *, id_column: str | None = None, time_column: str | None = None,
    columns: Sequence[str] | None = None, source: str = "data frame",
) -> Dataset:  # fmt: skip
    """Trajectories from a table in memory: a row a time, or a row a series and time.

    >>> from_frame({"year": [1900, 1901], "hare": [30.0, 47.2], "lynx": [4.0, 6.1]}).time_name
    'year'

    Args:
        frame: a data frame of pandas or polars, a pyarrow table, or a dictionary of columns.
        id_column: tells series apart; default: a column with one of the usual names, if any.
        time_column: default: a column with one of the usual names, else steps 0, 1, 2, …
            Dates become days since the earliest of them.
        columns: the variables, in this order; default: all others.
        source: where the data came from, for people.

    Raises:
        DataError: what is no number, a missing time or id, a time that is there twice.
    """
    names = getattr(frame, "column_names", None)  # pyarrow; its columns are something else
    if names is None:
        names = frame.columns if hasattr(frame, "columns") else frame
    header = [str(name).strip() for name in names]
    data = {title: frame[name] for title, name in zip(header, names, strict=True)}
    settings = InputSettings(
        id_column=id_column, time_column=time_column,
        columns=None if columns is None else tuple(columns),
    )  # fmt: skip
    roles = assign_roles(header, settings, source)
    variables = [header[i] for i in roles.variables]
    parts = [_numbers(data[name], source, name) for name in variables]
    n_rows = len(parts[0])
    notes: list[str] = []
    time = None
    if roles.time is not None:
        time = _times(data[header[roles.time]], source, header[roles.time], notes)
    labels, codes = [LONE_ID], np.zeros(n_rows, dtype=np.int64)
    if roles.id is not None:
        labels, codes = _labels(data[header[roles.id]], source, header[roles.id])
    lengths = {len(codes), *map(len, parts), n_rows if time is None else len(time)}
    if len(lengths) > 1:
        raise DataError(
            f"{source}: the columns have different lengths: {sorted(lengths)}",
            "Fill what is missing with NaN.",
        )
    rows = Rows(labels, codes, time, np.column_stack(parts), np.arange(1, n_rows + 1))
    time_name = "time" if roles.time is None else header[roles.time]
    return assemble(rows, variables, where=source, time_name=time_name, notes=notes)


def _array(column: Any) -> np.ndarray[Any, Any]:
    if hasattr(column, "to_numpy") and not hasattr(column, "chunks"):
        return np.asarray(column.to_numpy())
    return np.asarray(column)  # pyarrow's own to_numpy refuses some types that this takes


def _numbers(column: Any, source: str, name: str) -> FloatArray:
    """float64 of a column; None and NaN are missing values."""
    try:
        numbers: FloatArray = np.array(_array(column), dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(
            f"{source}, column '{name}': it has something else than numbers",
            "Choose numeric columns, and name the columns of ids and times.",
        ) from None
    bad = np.argwhere(np.abs(numbers) > MAX_MAGNITUDE)
    if len(bad):
        check_magnitude(float(numbers[tuple(bad[0])]), f"{source}, column '{name}'")
    return numbers


def _times(column: Any, source: str, name: str, notes: list[str]) -> FloatArray:
    array = _array(column)
    if array.dtype.kind == "M":
        missing = np.isnat(array)
        moments = np.full(len(array), np.nan)
        if not missing.all():
            first = array[~missing].min()
            moments[~missing] = (array[~missing] - first) / _DAY
            notes.append(f"{source}: '{name}' became days since {first}")
    else:
        moments = _numbers(array, source, name)
    if np.isnan(moments).any():
        row = int(np.flatnonzero(np.isnan(moments))[0]) + 1
        raise DataError(
            f"{source}, row {row}, column '{name}': the time is missing",
            "Every row needs its time.",
        )
    return moments


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
