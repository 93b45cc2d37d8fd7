"""Text for terminals that cannot show all of Unicode: the nearest characters that they can.

Light: the error handler is there before anything is imported.
"""

from __future__ import annotations

import codecs
import unicodedata

HANDLER = "nearest"
"""The name of the handler of characters that a stream cannot encode (``errors=HANDLER``)."""

_NEAREST = {
    "–": "-",
    "—": "-",
    "−": "-",
    "…": "...",
    "·": "*",
    "×": "x",
    "→": "->",
    "±": "+-",
    "≤": "<=",
    "≥": ">=",
    "µ": "u",
    "’": "'",
    "‘": "'",
    "“": '"',
    "”": '"',
    "│": "|",
    "─": "-",
    "█": "#",
    "░": ".",
    "•": "*",
}


def nearest(character: str) -> str:
    """ASCII for one character: a sign's usual spelling, a letter without its accent, or "?"."""
    if character in _NEAREST:
        return _NEAREST[character]
    plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return plain or "?"


def spelled(text: str, encoding: str | None) -> str:
    """The text with nothing that the encoding lacks."""
    try:
        text.encode(encoding or "ascii")
    except LookupError:
        return "".join(c if c.isascii() else nearest(c) for c in text)
    except UnicodeEncodeError:
        return "".join(c if _can(c, encoding) else nearest(c) for c in text)
    return text


def _can(character: str, encoding: str | None) -> bool:
    try:
        character.encode(encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def _handle(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(nearest, error.object[error.start : error.end])), error.end


codecs.register_error(HANDLER, _handle)
