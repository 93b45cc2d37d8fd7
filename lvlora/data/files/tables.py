"""A table becomes trajectories: which column is what, order of time, one id for each series.

CSV, Parquet and data frames all take this one way: `assign_roles`, then `read_table`.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lvlora.data.dataset import Dataset, FloatArray, Series
from lvlora.data.dates import Calendar, has_dates, looks_like_date, read_dates, text_of
from lvlora.data.gaps import with_steps
from lvlora.errors import DataError, meant
from lvlora.settings.shared import InputSettings

if TYPE_CHECKING:
    import pandas

# Limits on the size of what is read or made, so that no file and no option fills the memory.
MAX_VALUES = 100_000_000
"""Values (series x steps x variables) of a data set: 0.8 GB as float64."""

MAX_VARIABLES = 1_000
MAX_COLUMNS = 10_000
MAX_MAGNITUDE = 1e100
"""Largest absolute value and time: squares and sums of such numbers are still finite."""

MAX_TEXT_BYTES = 2_000_000_000
"""Bytes of a CSV file or of standard input."""

MAX_NAME_CHARACTERS = 200

# the first name that is there wins, in any case
TIME_NAMES = (
    *("time", "t", "year", "years", "quarter", "month", "week", "day", "days", "hour"),
    *("date", "datetime", "timestamp", "ds", "step", "steps"),
)
ID_NAMES = (
    *("id", "ids", "series", "series_id", "item_id", "unique_id", "system_id"),
    *("trajectory", "trajectory_id"),
)

LONE_ID = "0"
"""Id of the only trajectory of a table without ids."""

SHORT_OF_ROWS = "A trajectory needs at least 2 rows."

_MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "<na>"})
"""Texts that stand for a missing value, in any case."""

_COMMA_HINT = (
    "Write numbers without separators of thousands; a decimal comma needs semicolons or tabs "
    "between the columns."
)
_FEWEST_STEPS, _SHARE_OF_STEPS = 10, 0.8
"""A column looks like time if it rises in so many steps, and so often by the same step."""
_YEARS = (1000, 2999)
"""Whole numbers between these look like years, of which two steps are enough."""


@dataclass(frozen=True)
class Roles:
    """Names of the columns in use: of ids (None: one trajectory), times (None: steps), values."""

    id: str | None
    time: str | None
    variables: tuple[str, ...]
    skips_first: bool = False
    """The first column has no name (row numbers, as pandas writes them)."""

    @property
    def columns(self) -> list[str]:
        return [*self.variables, *(name for name in (self.id, self.time) if name is not None)]


def check_columns(
    wanted: Sequence[str], names: Sequence[str], where: str, option: str = "--columns"
) -> tuple[str, ...]:
    """Return the names that an option gives, if there is a column of each and none is named twice.

    Raises:
        DataError: there is no such column, with the nearest names as a hint; or a name is twice.
    """
    for name, count in Counter(wanted).items():
        if count > 1:
            raise DataError(f"{option} names '{name}' twice", "Name each column once.")
        if name not in names:
            shown = ", ".join(n for n in names[:20] if n) + (", …" if len(names) > 20 else "")
            raise DataError(
                f"{where}: no column '{name}' ({option})", f"{meant(name, names)}It has: {shown}."
            )
    return tuple(wanted)


def check_size(n_values: int, where: str) -> None:
    """Refuse more than `MAX_VALUES` values."""
    if n_values > MAX_VALUES:
        raise DataError(
            f"{where}: more than {MAX_VALUES:,} values", "Split the file or use --columns."
        )


def assign_roles(header: Sequence[str], settings: InputSettings, where: str) -> Roles:
    """Return the columns of ids, times, variables: by options, else by `ID_NAMES`, `TIME_NAMES`.

    Raises:
        DataError: unknown or duplicate names, an unnamed column, no variable left, too many.
    """
    if len(header) > MAX_COLUMNS:
        raise DataError(
            f"{where}: {len(header):,} columns; the limit is {MAX_COLUMNS:,}", "Split the table."
        )
    for position, name in enumerate(header, 1):
        if name or position > 1 or len(header) == 1:
            check_name(name, f"the name of column {position}", where)
    for name, count in Counter(header).items():
        if count > 1:
            raise DataError(f"{where}: {count} columns are named '{name}'", "Rename one of them.")
    chosen = check_columns(settings.columns or (), header, where)
    time, identity = settings.time_column, settings.id_column
    for option, column in (("--time-column", time), ("--id-column", identity)):
        check_columns([] if column is None else [column], header, where, option)
    taken = {*chosen, time, identity}
    free = {name.lower(): name for name in reversed(header) if name not in taken}
    if time is None:
        time = next((free[name] for name in TIME_NAMES if name in free), None)
    if identity is None:
        identity = next((free[name] for name in ID_NAMES if name in free), None)
    for column, count in Counter([*chosen, time, identity]).items():
        if column is not None and count > 1:
            raise DataError(
                f"{where}: column '{column}' is two of a variable, the id and the time at once",
                "Check --columns, --time-column and --id-column.",
            )
    variables = chosen or tuple(name for name in header if name and name not in (time, identity))
    if not 1 <= len(variables) <= MAX_VARIABLES:
        n_variables = f"{len(variables):,} variables" if variables else "no column is left for one"
        raise DataError(
            f"{where}: {n_variables}; a table has 1 to {MAX_VARIABLES:,} variables",
            "Give columns such as time,prey,predator, or choose some with --columns.",
        )
    return Roles(identity, time, variables, skips_first=not header[0])


def table_header(dataset: Dataset, *, with_ids: bool) -> list[str]:
    """Return names for a written table's columns, such that `assign_roles` knows them again.

    A time column of another name than `TIME_NAMES` becomes ``time``.

    Raises:
        DataError: a variable would be taken for the ids or times.
    """
    ids = ["id"] if with_ids else []
    for time_name in (dataset.time_name, "time"):
        header = [*ids, time_name, *dataset.variables]
        roles = Roles("id" if with_ids else None, time_name, dataset.variables)
        if len(set(header)) == len(header) and assign_roles(header, InputSettings(), "") == roles:
            return header
    raise DataError(
        f"variables named {', '.join(dataset.variables)} cannot be told from ids and times in a "
        "table",
        "Write an .h5 file instead.",
    )


def read_table(
    frame: pandas.DataFrame,
    roles: Roles,
    where: str,
    settings: InputSettings,
    *,
    insert: bool = True,
) -> Dataset:
    """Return the trajectories of a table: grouped by id, sorted by time.

    Args:
        frame: the columns of the roles; its index numbers the rows as messages do.
        insert: put in absent steps.

    Raises:
        DataError: a cell that is no number, a missing time or id, a time that occurs twice in a
            series, a series with fewer than 2 rows, too many values, or a first column that
            nobody called time or a variable and that looks like time.
    """
    check_size(len(frame) * len(roles.variables), where)
    rows = frame.index.to_numpy()
    values = np.column_stack([read_numbers(frame[name], where) for name in roles.variables])
    ids, codes = [LONE_ID], np.zeros(len(rows), dtype=np.int64)
    if roles.id is not None and len(rows):
        ids, codes = read_ids(frame[roles.id], where)
    sizes = np.bincount(codes, minlength=len(ids))
    if sizes.min() < 2:
        whose = f"series '{ids[int(np.argmin(sizes))]}' has" if len(ids) > 1 else "there is"
        n_rows = "no row of values" if not sizes.min() else "only 1 row"
        raise DataError(f"{where}: {whose} {n_rows}", SHORT_OF_ROWS)
    notes = [f"{where}: column 1 has no name and is left out"] if roles.skips_first else []
    order = np.argsort(codes, kind="stable")
    starts = np.cumsum(sizes) - sizes
    calendar = None
    if roles.time is None:
        time = np.arange(len(rows), dtype=np.float64) - np.repeat(starts, sizes)
        if not settings.columns and len(roles.variables) > 1:
            _ask_about_time(roles.variables, values[order, 0], codes[order], where)
        notes.append(f"{where}: no time column; time counts steps from 0")
    else:
        time, calendar = read_times(frame[roles.time], codes, where, settings.date_format)
        by_series, order = order, np.lexsort((time, codes))
        if np.any(order != by_series):
            notes.append(f"{where}: rows were out of time order and have been sorted")
        time, codes = time[order], codes[order]
        twice = np.flatnonzero((codes[1:] == codes[:-1]) & (time[1:] == time[:-1]))
        if len(twice):
            first, second = sorted(rows[order][twice[0] : twice[0] + 2].tolist())
            of = f" of series '{ids[codes[twice[0]]]}'" if len(ids) > 1 else ""
            raise DataError(
                f"{where}, row {second}, column '{roles.time}': time "
                f"{text_of(calendar, time[twice[0]])}{of} is already in row {first}",
                "Keep one row for each time; several trajectories need an id column "
                "(--id-column). Where year and month are two columns, join them into one date.",
            )
    parts = zip(ids, np.split(time, starts[1:]), np.split(values[order], starts[1:]), strict=True)
    series = tuple(Series(name, times, numbers, calendar) for name, times, numbers in parts)
    dataset = Dataset(
        series,
        roles.variables,
        where,
        roles.time or "time",
        id_name=roles.id or "id",
        notes=tuple(notes),
    )
    return with_steps(dataset, insert=insert)


def _ask_about_time(
    variables: Sequence[str], first: FloatArray, codes: NDArray[np.int64], where: str
) -> None:
    """Refuse to forecast a first column (N,) that looks like time; codes (N,) tell the series."""
    steps = np.diff(first)[np.diff(codes) == 0]
    years = np.all((first == np.round(first)) & (first >= _YEARS[0]) & (first <= _YEARS[1]))
    if len(steps) < (2 if years else _FEWEST_STEPS) or not np.all(steps > 0):
        return
    usual = np.median(steps)
    if np.mean(np.abs(steps - usual) <= 1e-6 * usual) < _SHARE_OF_STEPS:
        return
    raise DataError(
        f"{where}: the first column '{variables[0]}' looks like time, but is not called so",
        f"Take it as the time: --time-column {shlex.quote(variables[0])}; or as a variable: "
        f"--columns {shlex.quote(','.join(variables))}.",
    )


def place(column: pandas.Series, at: int, where: str) -> str:
    """How messages call the cell at a position of a column."""
    return f"{where}, row {column.index[at]}, column '{column.name}'"


def shortened(cell: str) -> str:
    """The text of a cell for a message: short and printable."""
    text = cell if len(cell) <= 30 else cell[:29] + "…"
    return text if text.isprintable() else ascii(text)[1:-1]


def check_name(name: str, what: str, where: str) -> str:
    """Return a name that is short, printable and not empty; else DataError."""
    problem = ""
    if not name:
        problem = "is empty"
    elif len(name) > MAX_NAME_CHARACTERS:
        problem = f"has {len(name):,} characters; the limit is {MAX_NAME_CHARACTERS}"
    elif not name.isprintable():
        problem = f"{name!r} has unprintable characters"
    if problem:
        raise DataError(f"{where}: {what} {problem}", "Give it a short, printable name.")
    return name


def check_magnitude(value: float, where: str) -> None:
    """Refuse an infinite value, or one beyond `MAX_MAGNITUDE`, with a DataError; not NaN."""
    if abs(value) > MAX_MAGNITUDE:
        size = "infinite" if np.isinf(value) else f"beyond the limit of {MAX_MAGNITUDE:g}"
        raise DataError(
            f"{where}: the value is {size}", "Correct it, or leave it empty if it's missing."
        )


def _is_text(column: pandas.Series) -> bool:
    """Whether the first value that is not missing is a text."""
    return column.dtype.kind == "O" and isinstance(next(iter(column.dropna()), None), str)


def read_numbers(column: pandas.Series, where: str) -> FloatArray:
    """Return (N,) float64 exactly as Python reads them, NaN for missing; DataError for others."""
    is_text = _is_text(column)
    try:
        if column.dtype.kind in "Mmc":  # numpy would take these for numbers, or halves of them
            raise TypeError("dates or complex numbers")
        numbers = (
            _numbers_of_text(column, where)
            if is_text
            else column.to_numpy(dtype=np.float64, na_value=np.nan)
        )
    except (TypeError, ValueError):
        raise DataError(
            f"{where}, column '{column.name}': it has something else than numbers",
            _number_hint(column, has_dates(column)),
        ) from None
    beyond = np.flatnonzero(np.abs(numbers) > MAX_MAGNITUDE)
    if len(beyond):
        at = int(beyond[0])
        shown = f" ('{shortened(column.iloc[at])}')" if is_text else ""
        check_magnitude(float(numbers[at]), f"{place(column, at, where)}{shown}")
    return numbers


def _number_hint(column: pandas.Series, is_date: bool) -> str:
    if is_date:
        name = shlex.quote(str(column.name))
        return f"Is it the time? --time-column {name}; or leave it out: --columns names the others."
    return (
        "Leave a missing value empty; choose numeric columns with --columns; name an id column "
        "with --id-column."
    )


def _numbers_of_text(column: pandas.Series, where: str) -> FloatArray:
    """Read (N,) numbers; pandas' own conversion rounds some of them in the last digit."""
    numbers = np.full(len(column), np.nan)
    for at, cell in enumerate(column):
        text = str(cell).strip()
        if text.lower() in _MISSING:
            continue
        try:
            if "_" in text or not text.isascii():  # float() takes 1_000 and other scripts' digits
                raise ValueError
            numbers[at] = float(text)
        except ValueError:
            raise DataError(
                f"{place(column, at, where)}: '{shortened(text)}' is not a number",
                _COMMA_HINT if "," in text else _number_hint(column, looks_like_date(text)),
            ) from None
    return numbers


def read_times(
    column: pandas.Series, codes: NDArray[np.int64], where: str, date_format: str | None = None
) -> tuple[FloatArray, Calendar | None]:
    """Return (N,) times, and their calendar where the first of them is a date.

    Args:
        codes: (N,) which series each is of.

    Raises:
        DataError: a time is missing, or is neither a number nor a date as those before it.
    """
    missing = column.isna().to_numpy(dtype=bool)
    if _is_text(column):
        missing = missing | column.str.strip().str.lower().isin(_MISSING).to_numpy(dtype=bool)
    if missing.any():
        at = int(np.argmax(missing))
        raise DataError(
            f"{place(column, at, where)}: the time is missing", "Every row needs its time."
        )
    dates = read_dates(column, codes, lambda at: place(column, at, where), date_format)
    return (read_numbers(column, where), None) if dates is None else dates


def read_ids(column: pandas.Series, where: str) -> tuple[list[str], NDArray[np.int64]]:
    """Return the distinct ids in order of first appearance, and (N,) the code of each row."""
    import pandas

    codes, distinct = pandas.factorize(column)
    if (codes < 0).any():
        at = int(np.argmax(codes < 0))
        raise DataError(f"{place(column, at, where)}: an id is missing", "Every row needs its id.")
    if column.dtype.kind == "f":
        raise DataError(
            f"{where}, column '{column.name}': it has fractions, not ids",
            "Ids are strings or whole numbers; choose the column with --id-column.",
        )
    _, first = np.unique(codes, return_index=True)
    names = [
        check_name(str(name).strip(), "the id", place(column, int(at), where))
        for name, at in zip(distinct, first, strict=True)
    ]
    merged, ids = pandas.factorize(np.array(names, dtype=object))  # 7 and "7 " are one
    return list(ids), np.asarray(merged, dtype=np.int64)[codes]
