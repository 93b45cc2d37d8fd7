"""Columns of a table in memory, whatever it came from: read as numbers, times or ids.

A column is a pandas Series. Its name and its index (the row numbers that a person knows) say in
messages where something stands.
"""

from __future__ import annotations

import math
import shlex
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lvlora.data.dataset import FloatArray
from lvlora.data.dates import Calendar, counted, has_dates, looks_like_date, read_dates
from lvlora.errors import DataError

if TYPE_CHECKING:
    import pandas

# Limits on the size of what is read or made, so that no file and no option fills the memory.
MAX_VALUES = 100_000_000
"""Values (series x steps x variables) of a data set: 0.8 GB as float64."""

MAX_VARIABLES = 1_000
"""Variables of a data set."""

MAX_COLUMNS = 10_000
"""Columns of a table, used or not."""

MAX_MAGNITUDE = 1e100
"""Largest absolute value and time: squares and sums of such numbers are still finite."""

MAX_TEXT_BYTES = 2_000_000_000
"""Bytes of a CSV file or of standard input."""

MAX_LINE_BYTES = 1_000_000
"""Bytes of one line of a CSV file."""

MAX_NAME_CHARACTERS = 200
"""Characters of an id or of a variable's name."""

MISSING = frozenset({"", "na", "n/a", "nan", "null", "none"})
"""Texts that stand for a missing value, in any case."""

_NUMBERS_HINT = (
    "Leave a missing value empty; choose numeric columns with --columns; "
    "name an id column with --id-column."
)

_COMMA_HINT = (
    "Write numbers without separators of thousands; a decimal comma needs semicolons or tabs "
    "between the columns."
)


def place(column: pandas.Series, at: int, where: str) -> str:
    """How messages call the cell at a position of a column."""
    return f"{where}, row {column.index[at]}, column '{column.name}'"


def is_text(column: pandas.Series) -> bool:
    """Whether the first value that is there is a text."""
    if column.dtype.kind != "O":
        return False
    there = column.first_valid_index()
    return there is not None and isinstance(column.loc[there], str)


def read_numbers(column: pandas.Series, where: str, hint: str = _NUMBERS_HINT) -> FloatArray:
    """(N,) float64, exactly as Python reads them; NaN for missing values.

    Args:
        hint: what to do where it holds something else.

    Raises:
        DataError: a cell is no number, infinite or beyond `MAX_MAGNITUDE`.
    """
    if is_text(column):
        numbers = _numbers_of_text(column, where, hint)
    else:
        try:
            if column.dtype.kind in "Mmc":  # which numpy would take for numbers, or halves of them
                raise TypeError("dates or complex numbers")
            numbers = column.to_numpy(dtype=np.float64, na_value=np.nan)
        except (TypeError, ValueError):
            raise DataError(
                f"{where}, column '{column.name}': it has something else than numbers",
                _date_hint(column) if has_dates(column) else hint,
            ) from None
    bad = np.flatnonzero(np.abs(numbers) > MAX_MAGNITUDE)
    if len(bad):
        at = int(bad[0])
        shown = f" ('{shortened(column.iloc[at])}')" if is_text(column) else ""
        check_magnitude(float(numbers[at]), f"{place(column, at, where)}{shown}")
    return numbers


def _date_hint(column: pandas.Series) -> str:
    """How to say that a column of dates is the time, or leave it out."""
    name = shlex.quote(str(column.name))
    return f"Is it the time? --time-column {name}; or leave it out: --columns names the others."


def _numbers_of_text(column: pandas.Series, where: str, hint: str) -> FloatArray:
    """(N,) numbers of texts; pandas' own conversion rounds some of them in the last digit."""
    cells = column.to_numpy()
    try:
        everything = "".join(cells)
        # float() also takes 1_000 and the digits of other scripts
        if everything.isascii() and "_" not in everything:
            return np.array([float(cell) if cell else math.nan for cell in cells])
    except (TypeError, ValueError):
        pass  # there is a cell that is no plain number: look for it

    def number(at: int, cell: object) -> float:
        if not isinstance(cell, str):
            return math.nan if is_missing(cell) else float(cell)  # type: ignore[arg-type]
        text = cell.strip()
        if text.lower() in MISSING:
            return math.nan
        try:
            if "_" not in text and text.isascii():
                return float(text)
        except ValueError:
            pass
        advice = _date_hint(column) if looks_like_date(text) else hint
        raise DataError(
            f"{place(column, at, where)}: '{shortened(text)}' is not a number",
            _COMMA_HINT if "," in text else advice,
        )

    return np.array([number(at, cell) for at, cell in enumerate(cells)])


def read_times(
    column: pandas.Series, codes: NDArray[np.int64], where: str, date_format: str | None = None
) -> tuple[FloatArray, Calendar | None]:
    """(N,) times, none missing, and their calendar where the first of them is a date.

    Args:
        codes: (N,) which series each is of.

    Raises:
        DataError: a time is missing, or is neither a number nor a date as those before it.
    """
    missing = column.isna().to_numpy(dtype=bool)
    if is_text(column):
        missing = missing | column.str.strip().str.lower().isin(MISSING).to_numpy(dtype=bool)
    if missing.any():
        at = int(np.argmax(missing))
        raise DataError(
            f"{place(column, at, where)}: the time is missing", "Every row needs its time."
        )
    dates = read_dates(column, lambda at: place(column, at, where), date_format)
    return (read_numbers(column, where), None) if dates is None else counted(*dates, codes)


def read_ids(column: pandas.Series, where: str) -> tuple[list[str], NDArray[np.int64]]:
    """The distinct ids in order of first appearance, and (N,) the code of each row.

    A categorical column stays one: many rows may share one long id.

    Raises:
        DataError: an id is missing, or `check_name` refuses it.
    """
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


def check_magnitude(value: float, where: str) -> float:
    """The value, if it is finite and at most `MAX_MAGNITUDE`; DataError otherwise."""
    if abs(value) <= MAX_MAGNITUDE:
        return value
    size = "infinite" if np.isinf(value) else f"beyond the limit of {MAX_MAGNITUDE:g}"
    raise DataError(
        f"{where}: the value is {size}", "Correct it, or leave it empty if it's missing."
    )


def check_name(name: str, what: str, where: str) -> str:
    """The name, if it is short, printable and not empty.

    Raises:
        DataError: naming what it is and where it stands.
    """
    if not name:
        raise DataError(f"{where}: {what} is empty", "Give it a name.")
    if len(name) > MAX_NAME_CHARACTERS:
        raise DataError(
            f"{where}: {what} has {len(name):,} characters; the limit is {MAX_NAME_CHARACTERS}",
            "Shorten it.",
        )
    if not name.isprintable():
        raise DataError(f"{where}: {what} {name!r} has unprintable characters", "Rename it.")
    return name


def is_missing(cell: Any) -> bool:
    """None, NaN, NaT or pandas.NA."""
    import pandas

    return cell is None or bool(pandas.isna(cell))


def shortened(text: object) -> str:
    """The text of a cell for a message: short and printable."""
    shown = str(text)
    shown = shown if len(shown) <= 30 else shown[:29] + "…"
    return shown if shown.isprintable() else ascii(shown)[1:-1]
