"""CSV: one trajectory as a wide table, several as a long one with an id column.

Python's csv module cuts the text into cells, and pandas has the columns. The parser of pandas fills
short rows up, joins what stands behind a closing quote to the cell, does not know the lines of the
file and bounds none; all of that is refused here, by row. A name that a spreadsheet would run as a
formula is written with ``'`` before it.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from lvlora.data.dataset import Dataset
from lvlora.data.dates import looks_like_date
from lvlora.data.files.tables import (
    ID_NAMES,
    LONE_ID,
    MAX_TEXT_BYTES,
    MAX_VALUES,
    TIME_NAMES,
    Table,
    place,
    read_numbers,
    shortened,
    table_header,
)
from lvlora.errors import DataError, reason

if TYPE_CHECKING:
    import pandas

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_NUMBER = re.compile(r"'*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
_DECIMAL = re.compile(r"[+-]?\d*[.,]\d+([eE][+-]?\d+)?")
_QUOTED = re.compile(r'"[^"]*"')
_HINT = "Columns are separated by commas, semicolons or tabs; the first row names them."
_MAX_LINE_BYTES = 1_000_000
_BLOCK = 50_000
"""Rows that are texts at a time; numbers take a tenth of their memory."""


def open_csv(stream: BinaryIO, where: str) -> Table:
    """Read the names of the columns; the first row has them.

    Separators: comma, semicolon or tab (by the first row); with the latter two also decimal
    commas. Missing: empty, NaN, NA, N/A, null, none (any case).

    Raises:
        DataError: it is empty, no UTF-8 text, or begins with values. `Table.read`: a row of another
            length, a cell that is no number, decimals of both kinds, too many values.
    """
    lines = _lines(stream, where)
    leading = [next(lines, "")]
    while leading[-1].isspace():
        leading.append(next(lines, ""))
    first = _QUOTED.sub("", leading[-1])
    separator = next((mark for mark in "\t;" if mark in first), ",")
    records = _records(chain(leading, lines), separator, where)
    _, names = next(records, (0, []))
    if not names:
        raise DataError(f"{where}: the file is empty", _HINT)
    header = [armed(name.strip()) for name in names]
    header[0] = header[0].lstrip("#").lstrip()  # as numpy.savetxt writes it
    if _is_row_of_values([name for name in header if name]):
        raise DataError(
            f"{where}, row 1: values where the names of the columns should be",
            "Put a first row such as time,prey,predator above them.",
        )
    mark = "." if separator == "," else ""

    def with_points(column: pandas.Series) -> pandas.Series:
        """Replace decimal commas; the first decimal of the table says which mark it has."""
        nonlocal mark
        if separator == ",":
            return column
        marks = column.str.extract("([.,])", expand=False)
        mark = mark or next(iter(marks.dropna()), "")
        other = marks.notna() & (marks != mark)
        if other.any():
            at = int(other.argmax())
            raise DataError(
                f"{place(column, at, where)}: '{shortened(column.iloc[at].strip())}' has another "
                f"decimal mark than the cells before it ('{mark}')",
                "Write all decimals in one way.",
            )
        return column.str.replace(",", ".", regex=False) if mark == "," else column

    def read(
        numbers: Sequence[str], texts: Sequence[str], times: Sequence[str]
    ) -> pandas.DataFrame:
        import pandas

        places = {name: header.index(name) for name in (*numbers, *texts, *times)}
        frames = [pandas.DataFrame(columns=list(places), dtype=object)]
        n_values = 0
        while block := list(islice(records, _BLOCK)):
            rows, cells = zip(*block, strict=True)
            for row, fields in block:
                if len(fields) != len(header):
                    raise DataError(
                        f"{where}, row {row}: {len(fields)} fields, but the first row names "
                        f"{len(header)} columns",
                        _HINT,
                    )
            n_values += len(rows) * len(numbers)
            if n_values > MAX_VALUES:
                raise DataError(
                    f"{where}, row {rows[-1]}: more than {MAX_VALUES:,} values",
                    "Split the file or use --columns.",
                )
            columns = {
                name: pandas.Series([fields[i] for fields in cells], rows, object, name)
                for name, i in places.items()
            }
            for name, column in columns.items():
                if name in numbers:
                    values = read_numbers(with_points(column), where)
                    columns[name] = pandas.Series(values, rows)
                elif name in times and not looks_like_date(column.iloc[0]):
                    columns[name] = with_points(column.str.strip())
                else:
                    columns[name] = column.map(lambda cell: armed(cell.strip()))
            frames.append(pandas.DataFrame(columns))
        return pandas.concat(frames[1:] or frames)

    return Table(header, where, read)


def _lines(stream: BinaryIO, where: str) -> Iterator[str]:
    """The decoded lines, bounded in length."""
    n_bytes, number = 0, 0
    while raw := stream.readline(_MAX_LINE_BYTES + 1):
        number += 1
        n_bytes, row = n_bytes + len(raw), f"{where}, row {number}"
        if len(raw) > _MAX_LINE_BYTES:
            raise DataError(f"{row}: longer than {_MAX_LINE_BYTES:,} bytes", _HINT)
        if n_bytes > MAX_TEXT_BYTES:
            raise DataError(
                f"{where}: more than {MAX_TEXT_BYTES:,} bytes of text",
                "Split it, or convert it to HDF5.",
            )
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{row}: byte {error.start + 1} is not UTF-8 text", "Save the file as CSV in UTF-8."
            ) from None
        if "\0" in text:
            raise DataError(
                f"{row}: binary data, not text", "Give a CSV (UTF-8), HDF5 or Parquet file."
            )
        yield text.removeprefix("\ufeff") if number == 1 else text


def _records(lines: Iterator[str], separator: str, where: str) -> Iterator[tuple[int, list[str]]]:
    """(line number, cells) of every row that is not blank."""
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=True)
    try:
        for cells in reader:
            if len(cells) > 1 or "".join(cells).strip():
                yield reader.line_num, cells
    except csv.Error as error:
        raise DataError(
            f"{where}, row {reader.line_num}: {reason(error)}", "Check the quotes of this row."
        ) from None


def _is_row_of_values(names: list[str]) -> bool:
    """Whether the first row is no header: dates or decimals, or nothing but numbers.

    Years and levels of quantiles may be names beside others, such as that of the time.
    """
    if {name.lower() for name in names} & {*TIME_NAMES, *ID_NAMES}:
        return False
    if any(looks_like_date(name) or _DECIMAL.fullmatch(name) for name in names):
        return True
    return bool(names) and all(name.lstrip("+-").isdecimal() for name in names)


def write_csv(dataset: Dataset, path: Path) -> None:
    """Write the data set as UTF-8 text that reads back unchanged (`table_text`)."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        stream.writelines(table_text(dataset))


def table_text(dataset: Dataset) -> Iterator[str]:
    """The lines of a table: wide without ids for one series with the id "0", long for others.

    Numbers are the shortest that give the same float64; a missing value is an empty cell; names
    that a spreadsheet would run are `disarmed`.

    Raises:
        DataError: the names of the variables would be read back as something else.
    """
    lone = len(dataset) == 1 and dataset.series[0].id == LONE_ID
    yield _row(table_header(dataset, with_ids=not lone)) + "\n"
    for series in dataset:
        prefix = "" if lone else _row([series.id]) + ","
        calendar, numbers = series.calendar, map(number_text, series.time.tolist())
        times = numbers if calendar is None else calendar.texts(series.time)
        for time, values in zip(times, series.values.tolist(), strict=True):
            yield prefix + ",".join([time, *map(number_text, values)]) + "\n"


def _row(cells: list[str]) -> str:
    return ",".join(
        '"' + cell.replace('"', '""') + '"' if re.search(r'[",;\s]', cell) else cell
        for cell in map(disarmed, cells)
    )


def _is_formula(text: str) -> bool:
    return bool(_FORMULA.match(text)) and not _NUMBER.fullmatch(text)


def disarmed(text: str) -> str:
    """The text with ``'`` before it where it begins as a formula does; a number is none.

    >>> disarmed("=1+1"), disarmed("-5"), disarmed("x")
    ("'=1+1", '-5', 'x')
    """
    return f"'{text}" if _is_formula(text) else text


def armed(text: str) -> str:
    """The text before `disarmed`, so that names read back as they were.

    >>> armed("'=1+1"), armed("'x"), armed("'-5")
    ('=1+1', "'x", "'-5")
    """
    return text.removeprefix("'") if _is_formula(text) else text


def csv_text(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table of results as CSV; what is missing is empty, and no name is a formula."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([_harmless(cell) for cell in head])
    writer.writerows([[_harmless(cell) for cell in row] for row in rows])
    return stream.getvalue()


def number_text(value: float) -> str:
    """The shortest text that reads back as the same float64; empty for NaN.

    >>> number_text(3.0), number_text(1700000060120.0), number_text(0.1 + 0.2)
    ('3', '1700000060120', '0.30000000000000004')
    """
    return "" if math.isnan(value) else repr(float(value)).removesuffix(".0")


def _harmless(cell: Any) -> Any:
    if isinstance(cell, float):
        return number_text(cell)
    return disarmed(cell) if isinstance(cell, str) else cell
