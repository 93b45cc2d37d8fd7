"""The one sink: results go to stdout, everything said about them goes to stderr."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import sys
import textwrap
import unicodedata
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import IO, Any, TextIO

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from lvlora import numbers
from lvlora.answers import Answer
from lvlora.narrator import Advance
from lvlora.report.document import Block, Document, Facts, Picture, Points, Table

_GAP = 3  # between two columns of a table
_FOLDED_WIDTH = 24  # a column of words may be folded down to this
_FOLDED_HEAD = 12  # the head of a column of numbers may be folded down to this

_PIPE_WIDTH = 100_000
"""No line of a table breaks where no terminal shows it."""

_ESCAPES = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|[@-_])")


def printable(text: object, keep_lines: bool = False) -> str:
    """The text without escape sequences, control and direction characters.

    A name from a file must not be able to move the cursor or to recolour a terminal.
    """
    plain = _ESCAPES.sub("", str(text))
    allowed = ("\n",) if keep_lines else ()
    spaced = "".join(" " if c in "\t\r\n" and c not in allowed else c for c in plain)
    return "".join(
        c for c in spaced if c in allowed or unicodedata.category(c) not in ("Cc", "Cf", "Cs")
    )


class Output:
    """Where a command speaks; a `lvlora.narrator.Narrator` for the verbs that it calls.

    Args:
        json_mode: stdout gets exactly one JSON object, and no tables.
        verbosity: -1 silences notes and hints, 1 shows details.
    """

    def __init__(self, json_mode: bool = False, verbosity: int = 0) -> None:
        self.json_mode = json_mode
        self.verbosity = verbosity
        self._stdout = sys.stdout
        self._stderr = sys.stderr
        self._reported = False
        self.displays = contextlib.ExitStack()
        """Live displays, to be stopped when the command ends."""
        self.console = console_for(self._stdout)
        self.messages = console_for(self._stderr)

    def report(self, answer: Answer, document: Callable[[], Document]) -> None:
        """Print the result of a command: its answer as JSON, or its document.

        A command reports once.
        """
        if self._reported:
            raise RuntimeError("a command reports once")
        self._reported = True
        if self.json_mode:
            content = answer.model_dump(mode="json")
            self.write(json.dumps(content, indent=2, allow_nan=False) + "\n")
        else:
            self.show(document())

    def show(self, document: Document) -> None:
        """Print a document, pictures as sketches; nothing in JSON mode.

        Sections for those who want more need --verbose.
        """
        if self.json_mode:
            return
        self.heading(document.title)
        if document.lead:
            self.line(document.lead)
        if document.sections:
            self.line()
        for section in document.sections:
            if section.more and self.verbosity <= 0:
                continue
            for block in section.blocks:
                self._show(block)

    def _show(self, block: Block) -> None:
        match block:
            case str():
                self.line(block)
                self.line()
            case Points():
                for item in block.items:
                    self.line(item)
            case Facts():
                self.table(["", ""], [(name, cell(value)) for name, value in block.items])
            case Table():
                rows = [[cell(value) for value in row] for row in block.rows]
                self.table(block.head, rows, title=block.caption, bold=block.marked)
            case Picture():
                if block.sketch is not None:
                    self.line(block.sketch())
                    self.line()

    def write(self, text: str) -> None:
        """Text for stdout, exactly as it is (CSV, JSON)."""
        with self._unbroken():
            self._stdout.write(text)
            self._stdout.flush()

    def line(self, text: str = "") -> None:
        """Print one line of a report for people."""
        self.write(f"{printable(text, keep_lines=True)}\n")

    def heading(self, text: str) -> None:
        """Print a bold line."""
        self._print(Text(printable(text), style="bold"))

    def table(
        self,
        columns: Sequence[str],
        rows: Sequence[Sequence[object]],
        *,
        title: str = "",
        bold: Sequence[int] = (),
    ) -> None:
        """Print a table for people.

        A column whose cells are all numbers is set to the right. In a narrow terminal words fold;
        where that is not enough, the table is cut between columns into several, each with the
        first column, so that no number breaks.

        Args:
            columns: the heads.
            rows: the cells; None is shown as a dash.
            title: a line above.
            bold: indexes of rows to set off.
        """
        cells = [[printable("–" if c is None else c) for c in row] for row in rows]
        heads = self._folded([printable(head) for head in columns], cells)
        if title:
            self.heading(title)
        for chosen in self._fitting(heads, cells):
            table = RichTable(
                box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold"
            )
            for index in chosen:
                numeric = index > 0 and _all_numbers([row[index] for row in cells])
                table.add_column(
                    Text(heads[index]),
                    justify="right" if numeric else "left",
                    no_wrap=numeric,
                    overflow="fold",
                )
            for number, row in enumerate(cells):
                table.add_row(
                    *(Text(row[index]) for index in chosen),
                    style="bold" if number in bold else None,
                )
            self._print(table)
            self.line()

    def note(self, message: str) -> None:
        """Something worth knowing."""
        if self.verbosity >= 0:
            self._say(message)

    def detail(self, message: str) -> None:
        """Something worth knowing for those who asked (-v)."""
        if self.verbosity >= 1:
            self._say(message, "dim")

    def warning(self, message: str) -> None:
        """Something that may be wrong; --quiet does not hide it."""
        self._say(f"Warning: {message}", "yellow")

    def hint(self, message: str) -> None:
        """Print a suggestion for the next command."""
        if self.verbosity >= 0:
            self._say(message, "cyan")

    def counted(self, what: str, total: int) -> AbstractContextManager[Advance]:
        """Progress of work that is counted, drawn on stderr; see `progress.counted`."""
        from lvlora.cli.terminal.progress import counted

        return counted(self, what, total)

    def error(self, message: str, hint: str = "") -> None:
        """Print an error and its hint."""
        self._say(f"Error: {message}", "red")
        if hint:
            self._say(f"Hint: {hint}", "cyan")

    def _say(self, message: str, style: str = "") -> None:
        with contextlib.suppress(BrokenPipeError):
            self.messages.print(
                Text(printable(message, keep_lines=True), style=style), soft_wrap=True
            )

    def _print(self, renderable: RichTable | Text) -> None:
        with self._unbroken():
            self.console.print(renderable, soft_wrap=isinstance(renderable, Text))
            self._stdout.flush()

    @contextlib.contextmanager
    def _unbroken(self) -> Any:
        """A reader that goes away (``| head``) ends the printing, not the work."""
        try:
            yield
        except BrokenPipeError:
            silence(self._stdout)

    def _folded(self, heads: list[str], cells: list[list[str]]) -> list[str]:
        """The heads; where room is scarce, those wider than their column's cells on more lines."""
        widest = [max([0, *(cell_len(row[i]) for row in cells)]) for i in range(len(heads))]
        full_widths = [max(cell_len(h), w) + _GAP for h, w in zip(heads, widest, strict=True)]
        if sum(full_widths) - _GAP <= self.console.width:
            return heads

        def folded(head: str, width: int) -> str:
            lines = textwrap.wrap(head, max(width, _FOLDED_HEAD), break_long_words=False)
            return "\n".join(lines)

        return heads[:1] + [folded(*of) for of in zip(heads[1:], widest[1:], strict=True)]

    def _fitting(self, heads: list[str], cells: list[list[str]]) -> list[list[int]]:
        """Return the columns of each piece of a table: numbers need their width, words fold."""
        room = self.console.width
        widths = []
        for index, head in enumerate(heads):
            column = [row[index] for row in cells]
            width = max(cell_len(text) for text in (*head.split("\n"), *column))
            fold = room // 2 if index == 0 else _FOLDED_WIDTH
            widths.append(width if index and _all_numbers(column) else min(width, fold))
        pieces, used = [[0]], widths[0]
        for index in range(1, len(heads)):
            width = widths[index] + _GAP
            if used + width > room and len(pieces[-1]) > 1:
                pieces.append([0])
                used = widths[0]
            pieces[-1].append(index)
            used += width
        return pieces


class _Console(Console):
    def on_broken_pipe(self) -> None:
        # rich would end the program here, in the middle of its work
        self.quiet = True
        silence(self.file)


def console_for(stream: TextIO) -> Console:
    """A rich console that does what a pipe, NO_COLOR and TERM=dumb ask for."""
    terminal = is_terminal(stream)
    return _Console(
        file=stream,
        force_terminal=None if terminal or os.environ.get("FORCE_COLOR") else False,
        highlight=False,
        markup=False,
        emoji=False,
        width=None if terminal or os.environ.get("COLUMNS") else _PIPE_WIDTH,
    )


def is_terminal(stream: IO[str]) -> bool:
    """The stream is shown on a terminal that understands at least colours and cursor moves."""
    try:
        return stream.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")
    except ValueError:  # closed
        return False


def silence(stream: IO[str]) -> None:
    """Let everything still to be written to a broken pipe go nowhere."""
    with contextlib.suppress(OSError, ValueError):
        descriptor = os.open(os.devnull, os.O_WRONLY)
        os.dup2(descriptor, stream.fileno())
        os.close(descriptor)


_NUMBER = re.compile(r"[-+<]?\d[\d.,]*(e[-+]?\d+)?( [%a-zA-Zµ/]{1,8})?|[-+]?inf|nan|[-–]|")


def _all_numbers(cells: Sequence[str]) -> bool:
    return any(cell[:1].isdigit() or cell[1:2].isdigit() for cell in cells) and all(
        _NUMBER.fullmatch(cell) for cell in cells
    )


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
