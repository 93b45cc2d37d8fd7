"""CSV: one trajectory as a wide table, several as a long one with an id column."""

from __future__ import annotations

import csv
import math
import re
from array import array
from collections.abc import Iterator
from itertools import chain
from typing import BinaryIO

import numpy as np

from lvlora.errors import DataError, reason
from lvlora.series.dataset import Dataset, FloatArray
from lvlora.series.dates import DateReader, Moments, looks_like_date
from lvlora.series.files.formulas import armed, disarmed, number_text
from lvlora.series.files.limits import (
    MAX_LINE_BYTES,
    MAX_MAGNITUDE,
    MAX_NUMBER_CHARACTERS,
    MAX_TEXT_BYTES,
    MAX_VALUES,
)
from lvlora.series.files.tables import (
    ID_NAMES,
    LONE_ID,
    SHORT_OF_ROWS,
    TIME_NAMES,
    Roles,
    Rows,
    assemble,
    assign_roles,
    check_magnitude,
    check_name,
    table_header,
    time_hint,
    unclear_column,
)
from lvlora.settings.data import InputSettings

_MISSING = frozenset({"", "na", "n/a", "nan", "null", "none"})
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")
_DECIMAL = re.compile(r"[+-]?\d*[.,]\d+([eE][+-]?\d+)?")
_QUOTED = re.compile(r'"[^"]*"')
_SEPARATORS_HINT = "Columns are separated by commas, semicolons or tabs; the first row names them."


def _lines(stream: BinaryIO, where: str) -> Iterator[str]:
    """The decoded lines, each ending in at most one newline; any of the three line ends."""
    n_bytes = 0
    number = 0
    while raw := stream.readline(MAX_LINE_BYTES + 1):
        number += 1
        n_bytes += len(raw)
        if len(raw) > MAX_LINE_BYTES:
            raise DataError(
                f"{where}, row {number}: longer than {MAX_LINE_BYTES:,} bytes", _SEPARATORS_HINT
            )
        if n_bytes > MAX_TEXT_BYTES:
            raise DataError(
                f"{where}: more than {MAX_TEXT_BYTES:,} bytes of text",
                "Split it, or convert it to HDF5.",
            )
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{where}, row {number}: byte {error.start + 1} is not UTF-8 text",
                "Save the file as CSV in UTF-8.",
            ) from None
        if "\0" in text:
            raise DataError(
                f"{where}, row {number}: binary data, not text",
                "Give a CSV (UTF-8), HDF5 or Parquet file.",
            )
        if number == 1:
            text = text.removeprefix("\ufeff")
        if "\r" in text:
            unified = text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n")
            yield from (f"{line}\n" for line in unified.split("\n"))
        else:
            yield text


def _separator(header: str) -> str:
    """The separator of a header line: a tab or semicolon outside of quotes, else a comma."""
    bare = _QUOTED.sub("", header)
    return next((s for s in "\t;" if s in bare), ",")


class _Numbers:
    """Reads the cells of one file; all its decimals have a point, or all a comma."""

    def __init__(self, where: str, header: list[str], roles: Roles, comma_allowed: bool) -> None:
        self._where = where
        self._header = header
        self._roles = roles
        self._comma_allowed = comma_allowed
        self._mark: str | None = None

    def place(self, line: int, column: int) -> str:
        """How messages call a cell."""
        return f"{self._where}, row {line}, column '{self._header[column]}'"

    def __call__(self, cell: str, line: int, column: int) -> float:
        """The cell's value, NaN if it is missing."""
        if len(cell) > MAX_NUMBER_CHARACTERS:
            raise DataError(
                f"{self.place(line, column)}: the field has {len(cell):,} characters; "
                f"the limit for a number is {MAX_NUMBER_CHARACTERS}",
                "Is a quote left open?",
            )
        text = cell.strip()
        if text.lower() in _MISSING:
            return math.nan
        comma = self._comma_allowed and _DECIMAL_COMMA.fullmatch(text)
        try:
            value = float(text.replace(",", ".") if comma else text)
        except ValueError:
            value = math.nan
        # float() also takes 1_000 and the digits of other scripts
        if value != value or "_" in text or not text.isascii():
            raise DataError(
                f"{self.place(line, column)}: '{_shortened(text)}' is not a number",
                self._hint(text, column),
            )
        if comma or "." in text:
            self._check_mark("," if comma else ".", text, line, column)
        if abs(value) > MAX_MAGNITUDE:
            check_magnitude(value, f"{self.place(line, column)} ('{_shortened(text)}')")
        return value

    def _check_mark(self, mark: str, text: str, line: int, column: int) -> None:
        if self._mark not in (None, mark):
            raise DataError(
                f"{self.place(line, column)}: '{_shortened(text)}' has a decimal '{mark}', "
                f"a row before it a '{self._mark}'",
                "Write all decimals in one way.",
            )
        self._mark = mark

    def _hint(self, text: str, column: int) -> str:
        if column != self._roles.time and looks_like_date(text):
            return time_hint(self._header[column], self._header, self._roles)
        if "," in text and not self._comma_allowed:
            return "A decimal comma needs semicolons or tabs between the columns."
        return (
            "Leave a missing value empty; choose numeric columns with --columns; "
            "name an id column with --id-column."
        )


class _Times:
    """Reads the cells of the time column: numbers, or dates if the first cell is one."""

    def __init__(self, number: _Numbers, column: int) -> None:
        self._number, self._column = number, column
        self._numbers = array("d")
        self._dates: DateReader | None = None

    def add(self, cell: str, line: int) -> None:
        """One more time.

        Raises:
            DataError: it is missing, or neither number nor date, or not what those before are.
        """
        text, place = cell.strip(), self._number.place(line, self._column)
        if text.lower() in _MISSING:
            raise DataError(f"{place}: the time is missing", "Every row needs its time.")
        if self._dates is None and not self._numbers and looks_like_date(text):
            self._dates = DateReader()
        if self._dates is not None:
            self._dates.add(text, place)
        else:
            self._numbers.append(self._number(cell, line, self._column))

    def all(self) -> FloatArray | Moments:
        """(N,) what was read."""
        if self._dates is not None:
            return self._dates.moments()
        return np.array(self._numbers, dtype=np.float64)


def _shortened(text: str) -> str:
    text = text if len(text) <= 30 else text[:29] + "…"
    return text if text.isprintable() else ascii(text)[1:-1]


def _records(reader: Iterator[list[str]], where: str) -> Iterator[tuple[int, list[str]]]:
    """(line number, cells) of every row that is not blank."""
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(
                f"{where}, row {reader.line_num}: {reason(error)}",  # type: ignore[attr-defined]
                "Check the quotes of this row.",
            ) from None
        if cells and (len(cells) > 1 or cells[0].strip()):
            yield reader.line_num, cells  # type: ignore[attr-defined]


def _header(cells: list[str], where: str) -> list[str]:
    names = [armed(cell.strip()) for cell in cells]
    names[0] = names[0].lstrip("#").lstrip()  # as numpy.savetxt writes it
    if _is_row_of_values([name for name in names if name]):
        raise DataError(
            f"{where}, row 1: values where the names of the columns should be",
            "Put a first row such as time,prey,predator above them.",
        )
    return names


def _is_row_of_values(names: list[str]) -> bool:
    """Whether the first row is no header: dates or decimals, or nothing but numbers.

    Years and levels of quantiles may be names beside others, such as that of the time.
    """
    if {name.lower() for name in names} & {*TIME_NAMES, *ID_NAMES}:
        return False
    if any(looks_like_date(name) or _DECIMAL.fullmatch(name) for name in names):
        return True
    return bool(names) and all(name.lstrip("+-").isdecimal() for name in names)


def read_csv(stream: BinaryIO, settings: InputSettings, where: str) -> Dataset:
    """The trajectories of a CSV text.

    The first row names the columns; `tables.assign_roles` says what they are. Separators: comma,
    semicolon or tab (by the first row); with the latter two also decimal commas. Missing: empty,
    NaN, NA, N/A, null, none (any case).

    Args:
        stream: UTF-8 bytes, with or without a byte order mark.
        where: how messages call the file.

    Raises:
        DataError: anything that is not such a table, with row and column.
    """
    lines = _lines(stream, where)
    leading: list[str] = []
    for line in lines:
        leading.append(line)
        if line.strip():
            break
    else:
        raise DataError(f"{where}: the file is empty", _SEPARATORS_HINT)
    separator = _separator(leading[-1])
    reader = csv.reader(
        chain(leading, lines), delimiter=separator, skipinitialspace=True, strict=True
    )
    records = _records(reader, where)
    first = next(records, None)
    if first is None:
        raise DataError(f"{where}: the file is empty", _SEPARATORS_HINT)
    header = _header(first[1], where)
    roles = assign_roles(header, settings, where)
    number = _Numbers(where, header, roles, separator != ",")
    rows = _read_rows(records, header, roles, number, where)
    time_name = "time" if roles.time is None else header[roles.time]
    notes = [] if header[0] else [f"{where}: column 1 has no name and is left out"]
    variables = [header[i] for i in roles.variables]
    return assemble(
        rows,
        variables,
        where=where,
        time_name=time_name,
        id_name="id" if roles.id is None else header[roles.id],
        notes=notes,
        ask_about=unclear_column(header, roles, settings),
    )


def _read_rows(
    records: Iterator[tuple[int, list[str]]],
    header: list[str],
    roles: Roles,
    number: _Numbers,
    where: str,
) -> Rows:
    codes, lines, values = array("q"), array("q"), array("d")
    times = None if roles.time is None else _Times(number, roles.time)
    code_of: dict[str, int] = {}
    for line, cells in records:
        at = f"{where}, row {line}"
        if len(cells) != len(header):
            raise DataError(
                f"{at}: {len(cells)} fields, but the first row names {len(header)} columns",
                _SEPARATORS_HINT,
            )
        name = LONE_ID
        if roles.id is not None:
            name = check_name(armed(cells[roles.id].strip()), f"the id ('{header[roles.id]}')", at)
        codes.append(code_of.setdefault(name, len(code_of)))
        lines.append(line)
        if times is not None and roles.time is not None:
            times.add(cells[roles.time], line)
        for i in roles.variables:
            values.append(number(cells[i], line, i))
        if len(values) > MAX_VALUES:
            raise DataError(
                f"{at}: more than {MAX_VALUES:,} values", "Split the file or use --columns."
            )
    if not code_of:
        raise DataError(f"{where}: names of columns, but no row of values", SHORT_OF_ROWS)
    return Rows(
        list(code_of),
        np.array(codes, dtype=np.int64),
        None if times is None else times.all(),
        np.array(values, dtype=np.float64).reshape(len(codes), len(roles.variables)),
        np.array(lines, dtype=np.int64),
    )


def write_csv(dataset: Dataset, stream: BinaryIO, *, always_ids: bool = False) -> None:
    """The data set as UTF-8 text that `read_csv` reads back unchanged.

    One series with the id "0" is a wide table without ids, anything else a long one. Numbers are
    the shortest that give the same float64; a missing value is an empty cell; names that a
    spreadsheet would run are `disarmed`.

    Args:
        always_ids: one series is a long table, too.

    Raises:
        DataError: the names of the variables would be read back as something else.
    """
    lone = len(dataset) == 1 and dataset.series[0].id == LONE_ID and not always_ids
    header = table_header(dataset, with_ids=not lone)
    stream.write((_row(header) + "\n").encode())
    for series in dataset:
        prefix = "" if lone else _row([series.id]) + ","
        times = (
            series.calendar.texts(series.time)
            if series.calendar
            else map(number_text, series.time.tolist())
        )
        for time, values in zip(times, series.values.tolist(), strict=True):
            cells = [time, *map(number_text, values)]
            stream.write((prefix + ",".join(cells) + "\n").encode())


def _row(cells: list[str]) -> str:
    return ",".join(
        '"' + cell.replace('"', '""') + '"' if re.search(r'[",;\s]', cell) else cell
        for cell in map(disarmed, cells)
    )
