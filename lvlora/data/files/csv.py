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
from itertools import dropwhile, islice, tee
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from lvlora.data.dataset import Dataset
from lvlora.data.dates import looks_like_date
from lvlora.data.files.tables import (
    ID_NAMES,
    LONE_ID,
    MAX_TEXT_BYTES,
    TIME_NAMES,
    Roles,
    assign_roles,
    check_size,
    place,
    read_numbers,
    read_table,
    shortened,
    table_header,
)
from lvlora.errors import DataError, reason
from lvlora.settings.shared import InputSettings

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


def read_csv(stream: BinaryIO, where: str, settings: InputSettings) -> Dataset:
    """Read the trajectories of a CSV text.

    Separators: comma, semicolon or tab (by the first row); with the latter two also decimal
    commas. Missing: empty, NaN, NA, N/A, null, none (any case).

    Raises:
        DataError: it is empty, no UTF-8 text, or begins with values; a row of another length, a
            cell that is no number, decimals of both kinds, too many values; as `read_table`.
    """
    lines, ahead = tee(_lines(stream, where))
    first = _QUOTED.sub("", next(dropwhile(str.isspace, ahead), ""))
    del ahead  # which would keep all lines
    separator = next((mark for mark in "\t;" if mark in first), ",")
    records = _records(lines, separator, where)
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
    roles = assign_roles(header, settings, where)
    frame = _read_columns(records, header, roles, separator != ",", where)
    return read_table(frame, roles, where, settings)


def _read_columns(
    records: Iterator[tuple[int, list[str]]],
    header: list[str],
    roles: Roles,
    has_commas: bool,
    where: str,
) -> pandas.DataFrame:
    """Return the columns in use by the numbers of their rows: numbers of variables, other texts.

    Args:
        has_commas: decimals may have commas; the first one of the table says which mark it has.
    """
    import pandas

    frames = [pandas.DataFrame(columns=roles.columns, dtype=object)]
    n_rows, mark = 0, ""
    while block := list(islice(records, _BLOCK)):
        rows, cells = zip(*block, strict=True)
        for row, fields in block:
            if len(fields) != len(header):
                raise DataError(
                    f"{where}, row {row}: {len(fields)} fields, but the first row names "
                    f"{len(header)} columns",
                    _HINT,
                )
        n_rows += len(block)
        check_size(n_rows * len(roles.variables), where)
        columns: dict[str, Any] = {}
        for name in roles.columns:
            at = header.index(name)
            column = pandas.Series([fields[at] for fields in cells], rows, object, name)
            if name == roles.id:
                column = column.map(lambda cell: armed(cell.strip()))
            elif has_commas and (name != roles.time or not looks_like_date(column.iloc[0])):
                mark = _check_marks(column, mark, where)
                column = column.str.replace(",", ".") if mark == "," else column
            columns[name] = read_numbers(column, where) if name in roles.variables else column
        frames.append(pandas.DataFrame(columns, rows))
    return pandas.concat(frames[1:] or frames)


def _check_marks(column: pandas.Series, mark: str, where: str) -> str:
    """Return the decimal mark of the cells so far, which must be the same; "" before the first."""
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
    return mark


def _lines(stream: BinaryIO, where: str) -> Iterator[str]:
    """Decode the lines, bounded in length."""
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
    """Return (line number, cells) of every row that is not blank."""
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
    """Whether the first row is no header: dates or decimals, or nothing but numbers."""
    # years and levels of quantiles may be names beside others, such as that of the time
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
    """Return the lines of a table: wide for one series with the id "0", long with ids for others.

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
    """Put ``'`` before a text that begins as a formula does; a number is none."""
    return f"'{text}" if _is_formula(text) else text


def armed(text: str) -> str:
    """Return the text before `disarmed`, so that names read back as they were."""
    return text.removeprefix("'") if _is_formula(text) else text


def csv_text(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a table of results as CSV; None and NaN are empty, and no name is a formula."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([_harmless(cell) for cell in head])
    writer.writerows([[_harmless(cell) for cell in row] for row in rows])
    return stream.getvalue()


def number_text(value: float) -> str:
    """Return the shortest text that reads back as the same float64; empty for NaN.

    >>> number_text(3.0), number_text(1700000060120.0), number_text(0.1 + 0.2)
    ('3', '1700000060120', '0.30000000000000004')
    """
    return "" if math.isnan(value) else repr(float(value)).removesuffix(".0")


def _harmless(cell: Any) -> Any:
    if isinstance(cell, float):
        return number_text(cell)
    return disarmed(cell) if isinstance(cell, str) else cell
