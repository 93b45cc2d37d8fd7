"""A report as one HTML file that needs nothing else: no network, no script, no other file."""

from __future__ import annotations

import base64
import hashlib
import html
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from lvlora.durable import write_bytes, write_text
from lvlora.report.document import Block, Cell, Document, Facts, Picture, Points, Table
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
    files = {
        figures / f"{picture.name}.svg": image.content
        for picture, image in images.items()
        if figures is not None and picture.name
    }
    for file, drawn in files.items():
        write_bytes(file, drawn)
    write_text(path, page(content, images))
    return [path, *files]


@dataclass(frozen=True)
class Image:
    """A drawn picture.

    Attributes:
        content: an SVG file.
        width, height: the shape of its box until it is drawn.
    """

    content: bytes
    width: int
    height: int

    @classmethod
    def of(cls, picture: Picture) -> Image:
        """Draw a picture."""
        figure = picture.draw()
        width, height = (round(96 * inches) for inches in figure.get_size_inches())
        return cls(style.render(figure, "svg"), width, height)


def _images(content: Document) -> dict[Picture, Image]:
    blocks = [block for section in content.sections for block in section.blocks]
    return {block: Image.of(block) for block in blocks if isinstance(block, Picture)}


def page(content: Document, images: Mapping[Picture, Image] | None = None) -> str:
    """Return a report as HTML; every text is shown as it is, never taken for markup.

    Args:
        images: its pictures where they are drawn already.
    """
    images = _images(content) if images is None else images
    css = resources.files("lvlora.report").joinpath("page.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    title, lead, footer = map(_text, (content.title, content.lead, content.footer))
    names = _Names()
    links, sections = [], []
    for section in content.sections:
        if not section.blocks:
            continue
        heading, name = _text(section.heading), names.new(section.heading)
        title_name = names.new(f"{section.heading} heading")
        links.append(f'<li><a href="#{name}">{heading}</a></li>')
        blocks = "\n".join(
            part for block in section.blocks for part in _block(block, names, images)
        )
        sections.append(
            f'<section id="{name}" aria-labelledby="{title_name}">\n'
            f'<h2 id="{title_name}">{heading}</h2>\n{blocks}\n</section>'
        )
    body = "\n".join(sections)
    contents = f'<nav aria-label="Contents"><ul>{"".join(links)}</ul></nav>'
    # nothing may be loaded or run but this very style and the pictures inside the page
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; \
style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>{css}</style>
</head>
<body>
<a class="skip" href="#content">Skip to the content</a>
<header>
<h1>{title}</h1>
{f'<p class="lead">{lead}</p>' if lead else ""}
{contents if len(links) > 1 else ""}
</header>
<main id="content" tabindex="-1">
{body}
</main>
{f"<footer><p>{footer}</p></footer>" if footer else ""}
</body>
</html>
"""


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


class _Names:
    """Identifiers that are unique in the page, whatever the headings are."""

    def __init__(self) -> None:
        self.taken: Counter[str] = Counter({"content": 1})

    def new(self, text: str) -> str:
        """An identifier made from a text; its number cannot be part of another's."""
        letters = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
        stem = re.sub(r"[^a-z]+", "-", letters.lower()).strip("-") or "part"
        self.taken[stem] += 1
        return stem if self.taken[stem] == 1 else f"{stem}-{self.taken[stem]}"


def _text(text: str) -> str:
    """Text for HTML: markup is escaped, what no document may hold is replaced."""
    clean = "".join(
        "\ufffd" if unicodedata.category(c) in ("Cc", "Cs") and c not in "\t\n" else c for c in text
    )
    return html.escape(clean)


def _block(block: Block, names: _Names, images: Mapping[Picture, Image]) -> Iterator[str]:
    match block:
        case str():
            yield f"<p>{_text(block)}</p>"
        case Facts():
            pairs = (f"<dt>{_text(k)}</dt><dd>{_text(show(v))}</dd>" for k, v in block.items)
            yield f"<dl>{''.join(pairs)}</dl>"
        case Points():
            yield f"<ul>{''.join(f'<li>{_text(item)}</li>' for item in block.items)}</ul>"
        case Table():
            yield from _table(block, names)
        case Picture():
            yield from _picture(block, images[block])


def _table(table: Table, names: _Names) -> Iterator[str]:
    columns = range(len(table.head))
    numeric = [all(_is_number(row[c]) for row in table.rows) and c > 0 for c in columns]
    classes = [' class="number"' if is_number else "" for is_number in numeric]
    caption = names.new(f"table {table.caption}")
    # a box that scrolls must be reachable by keyboard, and tell what it is
    yield f'<p class="caption" id="{caption}">{_text(table.caption)}</p>'
    yield f'<div class="scroll" role="region" aria-labelledby="{caption}" tabindex="0">'
    yield f'<table aria-labelledby="{caption}">'
    heads = (f'<th scope="col"{classes[c]}>{_text(table.head[c])}</th>' for c in columns)
    yield f"<thead><tr>{''.join(heads)}</tr></thead>"
    yield "<tbody>"
    for i, row in enumerate(table.rows):
        cells = [f'<th scope="row">{_text(show(row[0]))}</th>']
        cells += [f"<td{classes[c]}>{_text(show(row[c]))}</td>" for c in columns[1:]]
        mark = ' class="marked"' if i in table.marked else ""
        yield f"<tr{mark}>{''.join(cells)}</tr>"
    yield "</tbody></table></div>"


def _is_number(cell: Cell) -> bool:
    return cell is None or (isinstance(cell, int | float) and not isinstance(cell, bool))


def _picture(picture: Picture, image: Image) -> Iterator[str]:
    shape = f' width="{image.width}" height="{image.height}"'
    if image.height > image.width:
        shape += ' class="tall"'
    elif image.width > _WIDE:
        shape += ' class="wide"'
    alt = _text(picture.alt)
    yield f'<figure><div class="scroll" role="region" aria-label="{alt}" tabindex="0">'
    yield f'<img src="{_data(image.content)}" alt="{alt}"{shape}></div>'
    if picture.caption:
        yield f"<figcaption>{_text(picture.caption)}</figcaption>"
    yield "</figure>"


def _data(content: bytes) -> str:
    """An SVG file as a data URI: as an image it runs no script, and its identifiers are its own."""
    return f"data:image/svg+xml;base64,{base64.b64encode(content).decode()}"
