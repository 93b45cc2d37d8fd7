"""Rows of a table as trajectories: which column is what, order of time, one id for each series."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lvlora.data.dataset import Dataset, FloatArray, Series
from lvlora.data.dates import Calendar, Moments, text_of
from lvlora.data.files.columns import (
    MAX_COLUMNS,
    MAX_VALUES,
    MAX_VARIABLES,
    check_name,
    read_ids,
    read_numbers,
    read_times,
)
from lvlora.data.time_steps import with_steps
from lvlora.errors import DataError, meant
from lvlora.settings.shared import InputSettings

if TYPE_CHECKING:
    import pandas

TIME_NAMES = (
    "time",
    "t",
    "year",
    "years",
    "quarter",
    "month",
    "week",
    "day",
    "days",
    "hour",
    "date",
    "datetime",
    "timestamp",
    "ds",
    "step",
    "steps",
)
"""Names of a time column, the first that is there wins (any case)."""

ID_NAMES = (
    "id",
    "ids",
    "series",
    "series_id",
    "item_id",
    "unique_id",
    "system_id",
    "trajectory",
    "trajectory_id",
)
"""Names of a column that tells trajectories apart, the first that is there wins (any case)."""

LONE_ID = "0"
"""Id of the only trajectory of a table without ids."""

SHORT_OF_ROWS = "A trajectory needs at least 2 rows."

_YEARS = (1000, 2999)
_LONGEST_STEP, _FEWEST_STEPS, _SHARE_OF_STEPS = 10, (2, 10), 0.8
"""A column looks like time where it rises, this often by the same step; like years where it holds
whole numbers between these and no step is longer. Years need the first number of steps, others the
second."""


@dataclass(frozen=True)
class Roles:
    """Positions of the columns in use.

    Attributes:
        id: column with the ids, or None for a table of one trajectory.
        time: column with the times, or None for steps 0, 1, 2, …
        variables: columns with the values, in the order of the data set's variables.
    """

    id: int | None
    time: int | None
    variables: tuple[int, ...]


@dataclass(frozen=True)
class Rows:
    """A table in memory, N rows in file order.

    Attributes:
        ids: the distinct ids, in order of first appearance.
        codes: (N,) which id each row has.
        time: (N,) finite, or dates, or None for steps.
        values: (N, V), finite or NaN.
        numbers: (N,) the row numbers that messages name.
    """

    ids: Sequence[str]
    codes: NDArray[np.int64]
    time: FloatArray | Moments | None
    values: FloatArray
    numbers: NDArray[np.int64]


def find_column(name: str, names: Sequence[str], option: str, where: str) -> int:
    """Position of a column that the user named.

    Raises:
        DataError: there is none, with the nearest names as a hint.
    """
    if name in names:
        return names.index(name)
    shown = ", ".join(n for n in names[:20] if n) + (", …" if len(names) > 20 else "")
    raise DataError(
        f"{where}: no column '{name}' ({option})", f"{meant(name, names)}It has: {shown}."
    )


def find_columns(wanted: Sequence[str], names: Sequence[str], where: str) -> list[int]:
    """Positions of the columns that --columns names.

    Raises:
        DataError: there is no such column, or it is named twice.
    """
    for name, count in Counter(wanted).items():
        if count > 1:
            raise DataError(f"--columns names '{name}' twice", "Name each column once.")
    return [find_column(name, names, "--columns", where) for name in wanted]


def _by_convention(
    conventional: Sequence[str], header: Sequence[str], taken: Collection[str]
) -> int | None:
    lowered = [name.lower() for name in header]
    for name in conventional:
        if name in lowered and header[lowered.index(name)] not in taken:
            return lowered.index(name)
    return None


def assign_roles(header: Sequence[str], settings: InputSettings, where: str) -> Roles:
    """Return the columns of ids, times, variables: by options, else by `ID_NAMES`, `TIME_NAMES`.

    A first column without a name (row numbers, as pandas writes them) has no role.

    Raises:
        DataError: unknown or duplicate names, an unnamed column, no variable left, too many.
    """
    if len(header) > MAX_COLUMNS:
        raise DataError(
            f"{where}: {len(header):,} columns; the limit is {MAX_COLUMNS:,}", "Split the table."
        )
    for position, name in enumerate(header):
        if name:
            check_name(name, f"the name of column {position + 1}", where)
        elif position > 0 or len(header) == 1:
            raise DataError(
                f"{where}: column {position + 1} has no name", "Name every column in the first row."
            )
    for name, count in Counter(header).items():
        if count > 1:
            raise DataError(f"{where}: {count} columns are named '{name}'", "Rename one of them.")
    wanted = settings.columns or ()
    chosen = find_columns(wanted, header, where)
    if settings.time_column is None:
        time = _by_convention(TIME_NAMES, header, {*wanted, settings.id_column or ""})
    else:
        time = find_column(settings.time_column, header, "--time-column", where)
    if settings.id_column is None:
        identity = _by_convention(ID_NAMES, header, {*wanted, settings.time_column or ""})
    else:
        identity = find_column(settings.id_column, header, "--id-column", where)
    reserved = {time, identity}
    for position in chosen:
        if position in reserved:
            raise DataError(
                f"{where}: column '{header[position]}' is a variable and the id or time at once",
                "Check --columns, --time-column and --id-column.",
            )
    if time is not None and time == identity:
        raise DataError(
            f"{where}: column '{header[time]}' is the id and the time at once",
            "Check --time-column and --id-column.",
        )
    variables = chosen or [i for i, name in enumerate(header) if name and i not in reserved]
    if not variables:
        raise DataError(
            f"{where}: no column is left for a variable",
            "A table needs columns such as time,prey,predator.",
        )
    if len(variables) > MAX_VARIABLES:
        raise DataError(
            f"{where}: {len(variables):,} variables; the limit is {MAX_VARIABLES:,}",
            "Choose some with --columns.",
        )
    return Roles(identity, time, tuple(variables))


def table_header(dataset: Dataset, *, with_ids: bool) -> list[str]:
    """Names for the columns of a written table, such that `assign_roles` knows them again.

    A time column of another name than `TIME_NAMES` becomes ``time``.

    Raises:
        DataError: a variable would be taken for the ids or times.
    """
    ids = ["id"] if with_ids else []
    n_before = len(ids) + 1
    roles = Roles(
        0 if with_ids else None,
        len(ids),
        tuple(range(n_before, n_before + len(dataset.variables))),
    )
    for time_name in (dataset.time_name, "time"):
        header = [*ids, time_name, *dataset.variables]
        if len(set(header)) == len(header) and assign_roles(header, InputSettings(), "") == roles:
            return header
    raise DataError(
        f"variables named {', '.join(dataset.variables)} cannot be told from ids and times in a "
        "table",
        "Write an .h5 file instead.",
    )


def from_columns(
    columns: Mapping[int, pandas.Series],
    header: Sequence[str],
    roles: Roles,
    settings: InputSettings,
    where: str,
    notes: Sequence[str] = (),
) -> Dataset:
    """The trajectories of a table in memory.

    Args:
        columns: those in use by their positions; their indices number the rows as messages do.
        header: the names of all columns.
        notes: what its reader did to it.

    Raises:
        DataError: a cell that is no number, a missing time or id, or as `assemble`.
    """
    n_rows = len(columns[roles.variables[0]])
    if n_rows == 0:
        raise DataError(f"{where}: names of columns, but no row of values", SHORT_OF_ROWS)
    if n_rows * len(roles.variables) > MAX_VALUES:
        raise DataError(
            f"{where}: more than {MAX_VALUES:,} values", "Split the file or use --columns."
        )
    values = [
        read_numbers(columns[i], where, date_hint=time_hint(header[i], header, roles))
        for i in roles.variables
    ]
    time, ids, codes = None, [LONE_ID], np.zeros(n_rows, dtype=np.int64)
    if roles.time is not None:
        time = read_times(columns[roles.time], where, settings.date_format)
    if roles.id is not None:
        ids, codes = read_ids(columns[roles.id], where)
    index = columns[roles.variables[0]].index
    rows = Rows(ids, codes, time, np.column_stack(values), np.asarray(index, dtype=np.int64))
    return assemble(
        rows,
        [header[i] for i in roles.variables],
        where=where,
        time_name="time" if roles.time is None else header[roles.time],
        id_name="id" if roles.id is None else header[roles.id],
        notes=[*notes, *_two_times(header, roles, settings, where)],
        ask_about=unclear_column(header, roles, settings),
    )


def _two_times(
    header: Sequence[str], roles: Roles, settings: InputSettings, where: str
) -> list[str]:
    """A sentence about a variable that is called as a time column is, where nobody chose it."""
    if roles.time is None or settings.columns or settings.time_column:
        return []
    others = [header[i] for i in roles.variables if header[i].lower() in TIME_NAMES]
    if not others:
        return []
    return [
        f"{where}: columns '{header[roles.time]}' and '{others[0]}' are both called as times are; "
        f"'{header[roles.time]}' is the time, '{others[0]}' a variable (--time-column and "
        "--columns choose)"
    ]


def assemble(
    rows: Rows,
    variables: Sequence[str],
    *,
    where: str,
    time_name: str,
    id_name: str = "id",
    notes: Sequence[str] = (),
    ask_about: str | None = None,
) -> Dataset:
    """Trajectories from rows: grouped by id, sorted by time, absent steps put in as missing values.

    Args:
        ask_about: name of a first column that nobody called time or a variable (`unclear_column`).

    Raises:
        DataError: a time that occurs twice in a series, a series with fewer than 2 rows, or a
            column to ask about that looks like time.
    """
    n_rows = len(rows.codes)
    sizes = np.bincount(rows.codes, minlength=len(rows.ids))
    if n_rows < 2 or sizes.min() < 2:
        short = int(np.argmin(sizes)) if n_rows else 0
        whose = f"series '{rows.ids[short]}' has" if len(rows.ids) > 1 else "there is"
        raise DataError(f"{where}: {whose} only {n_rows and sizes[short]} row", SHORT_OF_ROWS)
    grouped = np.argsort(rows.codes, kind="stable")
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    remarks = list(notes)
    calendar = None
    if rows.time is None:
        order = grouped
        time = np.arange(n_rows, dtype=np.float64) - np.repeat(starts, sizes)
        if ask_about is not None:
            _ask_about_time(ask_about, variables, rows, grouped, where)
        remarks.append(f"{where}: no time column; time counts steps from 0")
    else:
        as_read, calendar = numbered(rows.time, rows.codes)
        order = np.lexsort((as_read, rows.codes))
        time = as_read[order]
        codes = rows.codes[order]
        within = codes[1:] == codes[:-1]
        twice = np.flatnonzero(within & (time[1:] == time[:-1]))
        if len(twice):
            first, second = sorted(int(n) for n in rows.numbers[order][twice[0] : twice[0] + 2])
            of = f" of series '{rows.ids[codes[twice[0]]]}'" if len(rows.ids) > 1 else ""
            shown = text_of(calendar, time[twice[0]])
            raise DataError(
                f"{where}, row {second}, column '{time_name}': time {shown}{of} is "
                f"already in row {first}",
                "Keep one row for each time; several trajectories need an id column "
                "(--id-column). Where year and month are two columns, join them into one date.",
            )
        as_read = as_read[grouped]
        unsorted = np.unique(codes[1:][within & (as_read[1:] < as_read[:-1])])
        if len(unsorted):
            which = f" of {len(unsorted)} of {len(rows.ids)} series" if len(rows.ids) > 1 else ""
            remarks.append(f"{where}: rows{which} were out of time order and have been sorted")
    values = rows.values[order]
    series = tuple(
        Series(name, time[start : start + size], values[start : start + size], calendar)
        for name, start, size in zip(rows.ids, starts.tolist(), sizes.tolist(), strict=True)
    )
    dataset = Dataset(
        series, tuple(variables), where, time_name, id_name=id_name, notes=tuple(remarks)
    )
    return with_steps(dataset, insert=True)


def numbered(
    time: FloatArray | Moments, codes: NDArray[np.int64]
) -> tuple[FloatArray, Calendar | None]:
    """(N,) times as numbers, and what they are if they were dates.

    Args:
        codes: (N,) which series each is of.
    """
    if not isinstance(time, Moments):
        return time, None
    order = np.lexsort((time.microseconds, codes))
    clock, ordered = time.microseconds[order], codes[order]
    neighbours = ordered[1:] == ordered[:-1]
    calendar = time.calendar(clock[:-1][neighbours], clock[1:][neighbours])
    return time.positions(calendar), calendar


def unclear_column(header: Sequence[str], roles: Roles, settings: InputSettings) -> str | None:
    """The first column, if it is one variable of several only because nobody said what it is."""
    if roles.time is not None or settings.columns or len(roles.variables) < 2:
        return None
    first = roles.variables[0]
    others = {i for i, name in enumerate(header[:first]) if name} - {roles.id}
    return None if others else header[first]


def time_hint(name: str, header: Sequence[str], roles: Roles) -> str:
    """How to say that a column of dates is the time, or leave it out."""
    others = [header[i] for i in roles.variables if header[i] != name]
    leave_out = f"; or leave it out: --columns {shlex.quote(','.join(others))}" if others else ""
    option = f"--time-column {shlex.quote(name)}"
    if roles.time is None:
        return f"Is it the time? {option}{leave_out}"
    return (
        f"Columns '{header[roles.time]}' and '{name}' both look like time; the first is taken. "
        f"Choose the other: {option}{leave_out}"
    )


def _ask_about_time(
    name: str, variables: Sequence[str], rows: Rows, grouped: NDArray[np.int64], where: str
) -> None:
    """Refuse to forecast what looks like time: rising in each series, nearly always by one step.

    Between `_YEARS` whole numbers look like years, in steps no longer than `_LONGEST_STEP`.
    """
    values = rows.values[grouped, list(variables).index(name)]
    steps = np.diff(values)[np.diff(rows.codes[grouped]) == 0]
    if not np.all(np.isfinite(values)) or len(steps) < _FEWEST_STEPS[0] or not np.all(steps > 0):
        return
    usual = np.median(steps)
    if np.mean(np.abs(steps - usual) <= 1e-6 * usual) < _SHARE_OF_STEPS:
        return
    (low, high), (first, last) = _YEARS, (values.min(), values.max())
    whole = np.all(values == np.floor(values))
    years = whole and first >= low and last <= high and usual <= _LONGEST_STEP
    if not years and len(steps) < _FEWEST_STEPS[1]:
        return
    chosen = shlex.quote(",".join(variables))
    raise DataError(
        f"{where}: the first column '{name}' looks like {'years' if years else 'time'} "
        f"({first:g} to {last:g}), but is not called so",
        f"Take it as the time: --time-column {shlex.quote(name)}; or as a variable: "
        f"--columns {chosen}.",
    )
