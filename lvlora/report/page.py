"""A report as one HTML file that needs nothing else: no network, no script, no other file."""

from __future__ import annotations

import base64
import hashlib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import jinja2
from markupsafe import Markup

from lvlora.durable import write_bytes, write_text
from lvlora.report.document import Document, Picture, Table
from lvlora.report.drawing import style

PAGE = "report.html"
"""The file name of the page of a run or an evaluation."""

_WIDE = 900  # px: of a figure with many panels, which needs more room on a small screen


def write_page(path: Path, content: Document, figures: Path | None = None) -> list[Path]:
    """Write a report, whole or not at all.

    Args:
        figures: a folder for the pictures that have a name, as SVG files.

    Returns:
        the files.

    Raises:
        LvloraError: a file cannot be written.
    """
    images = _images(content)
    files = []
    for picture, image in images.items():
        if figures is not None and picture.name:
            files.append(figures / f"{picture.name}.svg")
            write_bytes(files[-1], image.content)
    write_text(path, page(content, images))
    return [path, *files]


@dataclass(frozen=True)
class Image:
    """A drawn picture.

    Attributes:
        content: an SVG file.
        width, height: the shape of its box until it is drawn, in pixels.
    """

    content: bytes
    width: int
    height: int

    @property
    def source(self) -> str:
        """A data URI: as an image it runs no script, and its identifiers are its own."""
        return f"data:image/svg+xml;base64,{base64.b64encode(self.content).decode()}"

    @property
    def shape(self) -> str:
        """The class by which the style gives it room."""
        return "tall" if self.height > self.width else "wide" if self.width > _WIDE else ""


def _images(content: Document) -> dict[Picture, Image]:
    """Draw the pictures."""
    images = {}
    for block in (block for section in content.sections for block in section.blocks):
        if isinstance(block, Picture):
            figure = block.draw()
            width, height = (round(96 * inches) for inches in figure.get_size_inches())
            images[block] = Image(style.render(figure, "svg"), width, height)
    return images


def page(content: Document, images: Mapping[Picture, Image] | None = None) -> str:
    """Return a report as HTML; every text is shown as it is, never taken for markup.

    Args:
        images: its pictures where they are drawn already.
    """
    files = resources.files("lvlora.report")
    css = files.joinpath("page.css").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, finalize=_shown, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(files.joinpath("page.html").read_text(encoding="utf-8"))
    return template.render(
        document=content,
        sections=[section for section in content.sections if section.blocks],
        images=_images(content) if images is None else images,
        numeric=_numeric,
        css=Markup(css),
        digest=base64.b64encode(hashlib.sha256(css.encode()).digest()).decode(),
    )


def show(cell: object) -> str:
    """A value as a person reads it: 1,234, 0.0321, 3×10⁷, a dash for what is not there.

    >>> [show(x) for x in (1234, 0.03214, 3.1e14, True, None, float("nan"), "VAR(8)")]
    ['1,234', '0.0321', '3.1×10¹⁴', 'yes', '–', '–', 'VAR(8)']
    >>> show(("q_proj", "v_proj"))
    'q_proj, v_proj'
    """
    match cell:
        case None:
            return "–"
        case bool():
            return "yes" if cell else "no"
        case int():
            return f"{cell:,}" if abs(cell) < 10**9 else style.short(cell)
        case float():
            return style.short(cell)
        case list() | tuple():
            return ", ".join(map(show, cell)) or "–"
        case _:
            return str(cell)


def _shown(value: object) -> str:
    """Return a value without the characters that no document may hold."""
    if isinstance(value, Markup):
        return value
    return "".join(
        "\ufffd" if unicodedata.category(c) in ("Cc", "Cs") and c not in "\t\n" else c
        for c in show(value)
    )


def _numeric(table: Table) -> list[bool]:
    """Return which columns are numbers, or are not there."""
    columns = zip(*table.rows, strict=True) if table.rows else ([] for _ in table.head)
    return [
        i > 0 and all(isinstance(x, int | float | None) and not isinstance(x, bool) for x in column)
        for i, column in enumerate(columns)
    ]
