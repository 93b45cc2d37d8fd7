"""A document in a terminal: its tables and sentences; its pictures only as sketches, with -v."""

from __future__ import annotations

import math

from lvlora import numbers
from lvlora.cli.terminal.output import Output
from lvlora.report.document import Block, Document, Facts, Picture, Points, Table


def show_document(document: Document, output: Output) -> None:
    """Print a document; sections for those who want more need --verbose."""
    if output.json_mode:
        return
    output.heading(document.title)
    if document.lead:
        output.line(document.lead)
    output.line()
    for section in document.sections:
        if section.more and output.verbosity <= 0:
            continue
        for block in section.blocks:
            _show(block, output)


def _show(block: Block, output: Output) -> None:
    match block:
        case str():
            output.line(block)
            output.line()
        case Points():
            for item in block.items:
                output.line(item)
        case Facts():
            output.table(["", ""], [(name, cell(value)) for name, value in block.items])
        case Table():
            rows = [[cell(value) for value in row] for row in block.rows]
            output.table(block.head, rows, title=block.caption, bold=block.marked)
        case Picture():
            if block.sketch is not None:
                output.line(block.sketch(output.ascii_only))
                output.line()


def cell(value: object) -> str:
    """Return a value as a terminal shows it.

    >>> [cell(x) for x in (1234, 0.03214, 3.1e14, 10**12, True, None, float("nan"), ("a", "b"))]
    ['1,234', '0.0321', '3.10e+14', '1e12', 'yes', '–', '–', 'a, b']
    """
    match value:
        case None:
            return "–"
        case bool():
            return "yes" if value else "no"
        case int():
            return numbers.count(value) if abs(value) < 10**9 else numbers.flops(value)
        case float():
            return numbers.plain(value if math.isfinite(value) else None, 3)
        case list() | tuple():
            return ", ".join(map(cell, value)) or "–"
        case _:
            return str(value)
