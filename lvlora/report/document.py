"""A result as blocks of text, tables and pictures, before anybody shows it.

One function a verb makes a document of its record; `page` shows one as HTML, the terminal as text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Cell = str | int | float | None
"""A value in a table; None and numbers that are not finite are shown as a dash."""


@dataclass(frozen=True)
class Facts:
    """Names and values, one pair a line: settings, sizes, totals; see `show`."""

    pairs: Sequence[tuple[str, object]] | Mapping[str, object]

    @property
    def items(self) -> list[tuple[str, object]]:
        """The pairs in their order."""
        return list(self.pairs.items() if isinstance(self.pairs, Mapping) else self.pairs)


@dataclass(frozen=True)
class Table:
    """A table whose first column names its rows.

    Attributes:
        caption: what it shows; read out before it.
        head: a name for each column; rows: as many cells each.
        marked: positions of rows to stand out: what the report is about.
    """

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    marked: Sequence[int] = ()


@dataclass(frozen=True)
class Points:
    """A list of sentences of equal weight: limits, warnings, next steps."""

    items: Sequence[str]


@dataclass(frozen=True)
class Picture:
    """A figure, drawn where it is shown.

    Attributes:
        alt: what it shows, in words, for those who do not see it.
        draw: makes the matplotlib figure.
        caption: what to look for.
        name: of its file, without suffix.
        sketch: the same in characters, for a terminal.
    """

    alt: str
    draw: Callable[[], Figure]
    caption: str = ""
    name: str = ""
    sketch: Callable[[], str] | None = None


Block = str | Facts | Table | Points | Picture
"""A part of a section; a string is a paragraph."""


@dataclass(frozen=True)
class Section:
    """A heading and what is under it, in order.

    Attributes:
        more: only for the page, and for a terminal with --verbose.
    """

    heading: str
    blocks: Sequence[Block]
    more: bool = False


@dataclass(frozen=True)
class Document:
    """A result as people read it, on a page or in a terminal.

    Attributes:
        title: of the page and the browser's tab.
        lead: the result in one or two sentences.
        sections: those without blocks are left out.
        footer: when and by what it was made.
    """

    title: str
    sections: Sequence[Section]
    lead: str = ""
    footer: str = ""
