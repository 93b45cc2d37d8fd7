"""A table becomes trajectories: which column is what, order of time, one id for each series.

Every table takes this one way: CSV, Parquet, and a data frame in Python.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from lvlora.data.dataset import Dataset, FloatArray, Series
from lvlora.data.dates import text_of
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


class Table(Protocol):
    """A table of which only the names of the columns were read.

    Attributes:
        header: the names.
        where: how messages call it.
    """

    @property
    def header(self) -> Sequence[str]: ...

    @property
    def where(self) -> str: ...

    def columns(
        self, numbers: Collection[int], texts: Collection[int], times: Collection[int] = ()
    ) -> dict[int, pandas.Series]:
        """The columns at some positions; their indices number the rows as messages do.

        Args:
            numbers: those of values; texts: of names, left as they are; times: numbers or dates.
        """


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


def _named(
    chosen: str | None,
    option: str,
    conventional: Sequence[str],
    header: Sequence[str],
    taken: Collection[str],
    where: str,
) -> int | None:
    """Position of the column that the user chose, else of the first with a conventional name."""
    if chosen is not None:
        return find_column(chosen, header, option, where)
    lowered = [name.lower() for name in header]
    usual = (lowered.index(name) for name in conventional if name in lowered)
    return next((i for i in usual if header[i] not in taken), None)


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
    time = _named(
        settings.time_column,
        "--time-column",
        TIME_NAMES,
        header,
        {*wanted, settings.id_column or ""},
        where,
    )
    identity = _named(
        settings.id_column,
        "--id-column",
        ID_NAMES,
        header,
        {*wanted, settings.time_column or ""},
        where,
    )
    for role, count in Counter([*chosen, time, identity]).items():
        if role is not None and count > 1:
            raise DataError(
                f"{where}: column '{header[role]}' is two of a variable, the id and the time at "
                "once",
                "Check --columns, --time-column and --id-column.",
            )
    reserved = {time, identity}
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


def read_table(table: Table, settings: InputSettings) -> Dataset:
    """The trajectories of a table: grouped by id, sorted by time, absent steps as missing values.

    Raises:
        DataError: as `assign_roles`; a cell that is no number, a missing time or id, a time that
            occurs twice in a series, a series with fewer than 2 rows, too many values, or a first
            column that nobody called time or a variable and that looks like time.
    """
    header, where = table.header, table.where
    roles = assign_roles(header, settings, where)
    # where the user says how dates are written, times are texts
    times = [] if roles.time is None or settings.date_format else [roles.time]
    texts = [i for i in (roles.id, roles.time) if i is not None and i not in times]
    columns = table.columns(roles.variables, texts, times)
    rows = np.asarray(columns[roles.variables[0]].index, dtype=np.int64)
    if not len(rows):
        raise DataError(f"{where}: names of columns, but no row of values", SHORT_OF_ROWS)
    if len(rows) * len(roles.variables) > MAX_VALUES:
        raise DataError(
            f"{where}: more than {MAX_VALUES:,} values", "Split the file or use --columns."
        )
    values = np.column_stack([read_numbers(columns[i], where) for i in roles.variables])
    ids, codes = [LONE_ID], np.zeros(len(rows), dtype=np.int64)
    if roles.id is not None:
        ids, codes = read_ids(columns[roles.id], where)
    sizes = np.bincount(codes, minlength=len(ids))
    if sizes.min() < 2:
        whose = f"series '{ids[int(np.argmin(sizes))]}' has" if len(ids) > 1 else "there is"
        raise DataError(f"{where}: {whose} only {sizes.min()} row", SHORT_OF_ROWS)
    notes = [] if header[0] else [f"{where}: column 1 has no name and is left out"]
    order = np.argsort(codes, kind="stable")
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    if roles.time is None:
        time, calendar, time_name = np.arange(len(rows), dtype=np.float64), None, "time"
        time -= np.repeat(starts, sizes)
        _ask_about_time(header, roles, settings, values[order], codes[order], where)
        notes.append(f"{where}: no time column; time counts steps from 0")
    else:
        time, calendar = read_times(columns[roles.time], codes, where, settings.date_format)
        time_name, as_read = header[roles.time], time[order]
        order = np.lexsort((time, codes))
        time, codes = time[order], codes[order]
        within = codes[1:] == codes[:-1]
        twice = np.flatnonzero(within & (time[1:] == time[:-1]))
        if len(twice):
            first, second = sorted(rows[order][twice[0] : twice[0] + 2].tolist())
            of = f" of series '{ids[codes[twice[0]]]}'" if len(ids) > 1 else ""
            shown = text_of(calendar, time[twice[0]])
            raise DataError(
                f"{where}, row {second}, column '{time_name}': time {shown}{of} is "
                f"already in row {first}",
                "Keep one row for each time; several trajectories need an id column "
                "(--id-column). Where year and month are two columns, join them into one date.",
            )
        unsorted = np.unique(codes[1:][within & (as_read[1:] < as_read[:-1])])
        if len(unsorted):
            which = f" of {len(unsorted)} of {len(ids)} series" if len(ids) > 1 else ""
            notes.append(f"{where}: rows{which} were out of time order and have been sorted")
    values = values[order]
    dataset = Dataset(
        tuple(
            Series(name, time[start : start + size], values[start : start + size], calendar)
            for name, start, size in zip(ids, starts.tolist(), sizes.tolist(), strict=True)
        ),
        tuple(header[i] for i in roles.variables),
        where,
        time_name,
        id_name="id" if roles.id is None else header[roles.id],
        notes=tuple(notes),
    )
    return with_steps(dataset, insert=True)


def _ask_about_time(
    header: Sequence[str],
    roles: Roles,
    settings: InputSettings,
    values: FloatArray,
    codes: NDArray[np.int64],
    where: str,
) -> None:
    """Refuse to forecast a first column that looks like time, where nobody said what it is.

    It rises in each series, nearly always by one step. Between `_YEARS` whole numbers look like
    years, in steps no longer than `_LONGEST_STEP`.

    Args:
        values: (N, V) rows of one series after the other; codes: (N,) whose they are.
    """
    name, before = header[roles.variables[0]], header[: roles.variables[0]]
    others = {i for i, other in enumerate(before) if other} - {roles.id}
    if settings.columns or len(roles.variables) < 2 or others:
        return
    first = values[:, 0]
    steps = np.diff(first)[np.diff(codes) == 0]
    if not np.all(np.isfinite(first)) or len(steps) < _FEWEST_STEPS[0] or not np.all(steps > 0):
        return
    usual = np.median(steps)
    if np.mean(np.abs(steps - usual) <= 1e-6 * usual) < _SHARE_OF_STEPS:
        return
    low, high = first.min(), first.max()
    whole = np.all(first == np.floor(first))
    years = whole and low >= _YEARS[0] and high <= _YEARS[1] and usual <= _LONGEST_STEP
    if not years and len(steps) < _FEWEST_STEPS[1]:
        return
    chosen = shlex.quote(",".join(header[i] for i in roles.variables))
    raise DataError(
        f"{where}: the first column '{name}' looks like {'years' if years else 'time'} "
        f"({low:g} to {high:g}), but is not called so",
        f"Take it as the time: --time-column {shlex.quote(name)}; or as a variable: "
        f"--columns {chosen}.",
    )
