"""Names in CSV files that a spreadsheet would run as formulas.

Knows: single cells. Does not know: tables, files.
"""

from __future__ import annotations

import re

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
