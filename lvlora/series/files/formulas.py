"""Names in CSV files that a spreadsheet would run as formulas, and tables without any."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Sequence
from typing import Any

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_NUMBER = re.compile(r"'*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)


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
