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
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, BinaryIO

from lvlora.data.dataset import Dataset
from lvlora.data.dates import looks_like_date
from lvlora.data.files.columns import (
    MAX_LINE_BYTES,
    MAX_TEXT_BYTES,
    MAX_VALUES,
    place,
    read_numbers,
    shortened,
)
from lvlora.data.files.tables import ID_NAMES, LONE_ID, TIME_NAMES, read_table, table_header
from lvlora.errors import DataError, reason
from lvlora.settings.shared import InputSettings

if TYPE_CHECKING:
    import pandas

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_NUMBER = re.compile(r"'*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
_DECIMAL = re.compile(r"[+-]?\d*[.,]\d+([eE][+-]?\d+)?")
_DECIMALS = {mark: rf"\s*[+-]?\d*{mark}\d+(?:[eE][+-]?\d+)?\s*" for mark in (",", r"\.")}
_QUOTED = re.compile(r'"[^"]*"')
_SEPARATORS_HINT = "Columns are separated by commas, semicolons or tabs; the first row names them."
_BLOCK = 50_000
"""Rows that are texts at a time; numbers take a tenth of their memory."""


@dataclass(frozen=True)
class TextTable:
    """A CSV text of which the first row was read.

    Attributes:
        header: the names of its columns.
        where: how messages call it.
    """

    header: list[str]
    where: str
    _separator: str
    _records: Iterator[tuple[int, list[str]]]
    _marks: set[str] = field(default_factory=set)

    @classmethod
    def open(cls, stream: BinaryIO, where: str) -> TextTable:
        """Read the names.

        Args:
            stream: UTF-8 bytes, with or without a byte order mark.

        Raises:
            DataError: it is empty, no UTF-8 text, or begins with values.
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
        return cls(_header(first[1], where), where, separator, records)

    def columns(
        self, numbers: Collection[int], texts: Collection[int], times: Collection[int] = ()
    ) -> dict[int, pandas.Series]:
        """The columns at some positions, indexed by the numbers of their lines.

        Args:
            numbers: those that become float64, NaN where a value is missing.
            texts: those that stay texts; times: the same, with points for decimal commas.

        Raises:
            DataError: a row of another length, a cell that is no number, too many values.
        """
        import pandas

        parts: dict[int, list[pandas.Series]] = {
            i: [pandas.Series([], dtype=float if i in numbers else object, name=self.header[i])]
            for i in sorted((*numbers, *texts, *times))
        }
        n_values = 0
        while block := list(islice(self._records, _BLOCK)):
            n_values += len(block) * len(numbers)
            self._check_block(block, n_values)
            lines = [line for line, _ in block]
            for i, blocks in parts.items():
                column = pandas.Series([c[i] for _, c in block], lines, object, self.header[i])
                if i not in texts:
                    column = self._with_points(column)
                if i in numbers:
                    values = read_numbers(column, self.where)
                    column = pandas.Series(values, lines, name=column.name)
                else:
                    column = column.map(lambda cell: armed(cell.strip()))
                blocks.append(column)
        return {i: pandas.concat(blocks[1:] or blocks) for i, blocks in parts.items()}

    def _check_block(self, block: list[tuple[int, list[str]]], n_values: int) -> None:
        for line, cells in block:
            if len(cells) != len(self.header):
                raise DataError(
                    f"{self.where}, row {line}: {len(cells)} fields, but the first row names "
                    f"{len(self.header)} columns",
                    _SEPARATORS_HINT,
                )
        if n_values > MAX_VALUES:
            raise DataError(
                f"{self.where}, row {block[-1][0]}: more than {MAX_VALUES:,} values",
                "Split the file or use --columns.",
            )

    def _with_points(self, column: pandas.Series) -> pandas.Series:
        """A column of texts with a point in place of each decimal comma.

        Raises:
            DataError: some decimals of the table have a point, others a comma.
        """
        if self._separator == ",":
            return column
        written = {mark[-1]: column.str.fullmatch(form) for mark, form in _DECIMALS.items()}
        firsts = [(int(cells.argmax()), mark) for mark, cells in written.items() if cells.any()]
        for at, mark in sorted(firsts):
            if self._marks - {mark}:
                raise DataError(
                    f"{place(column, at, self.where)}: '{shortened(column.iloc[at].strip())}' has "
                    f"a decimal '{mark}', a cell before it another mark",
                    "Write all decimals in one way.",
                )
            self._marks.add(mark)
        return column.mask(written[","], column.str.replace(",", ".", regex=False))


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

    The first row names the columns; `tables.read_table` says what they are. Separators: comma,
    semicolon or tab (by the first row); with the latter two also decimal commas. Missing: empty,
    NaN, NA, N/A, null, none (any case).

    Args:
        stream: UTF-8 bytes, with or without a byte order mark.
        where: how messages call the file.

    Raises:
        DataError: anything that is not such a table, with row and column.
    """
    return read_table(TextTable.open(stream, where), settings)


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


def disarmed(text: str) -> str:
    """The text with ``'`` before it where it begins as a formula does; a number is none.

    `armed` takes it off again, so that names read back as they were.

    >>> disarmed("=1+1"), disarmed("-5"), disarmed("x")
    ("'=1+1", '-5', 'x')
    """
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def armed(text: str) -> str:
    """The text that `disarmed` was given.

    >>> armed("'=1+1"), armed("'x"), armed("'-5")
    ('=1+1', "'x", "'-5")
    """
    quoted = text.startswith("'") and _FORMULA.match(text) and not _NUMBER.fullmatch(text)
    return text[1:] if quoted else text


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
