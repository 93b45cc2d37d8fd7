"""The one sink: JSON that is JSON, tables that fit, terminals that stay as they were."""

import io
import json
import math
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvlora.answers import Answer, Number
from lvlora.cli.terminal import output as output_module
from lvlora.cli.terminal.output import Output, printable
from lvlora.report.document import Document, Section, Table


class _Stream(io.StringIO):
    def __init__(self, terminal: bool = False, encoding: str = "utf-8") -> None:
        super().__init__()
        self._terminal, self._encoding = terminal, encoding

    def isatty(self) -> bool:
        return self._terminal

    @property
    def encoding(self) -> str:
        return self._encoding


@pytest.fixture
def streams(monkeypatch):
    """Replace stdout and stderr; returns them."""

    def replace(**kwargs):
        out, err = _Stream(**kwargs), _Stream(**kwargs)
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "stderr", err)
        return out, err

    return replace


class _Nothing(Answer):
    """No key of its own."""


class _Much(Answer):
    nan: Number
    scalar: Number
    budget: int
    text: str


def test_json_has_only_json(streams):
    out, _ = streams()
    answer = _Much(nan=math.nan, scalar=np.float64(1.5), budget=10**17 + 1, text="\udcffü")
    Output(json_mode=True).report(answer, lambda: pytest.fail("a table in JSON mode"))
    got = json.loads(out.getvalue(), parse_constant=lambda name: pytest.fail(name))
    assert list(got) == ["schema_version", "nan", "scalar", "budget", "text"]
    assert got["nan"] is None
    assert got["scalar"] == 1.5
    assert got["budget"] == 10**17 + 1
    assert got["text"] == "\udcffü", "a name that is no text, as a file system may have it"
    assert out.getvalue().isascii()
    assert out.getvalue().startswith('{\n  "schema_version": 1,\n')


def test_documents_stay_out_of_json(streams):
    out, err = streams()
    output = Output(json_mode=True)
    output.show(Document("title", [Section("", ["text", Table("", ["a"], [["b"]])])]))
    output.note("a note")
    output.report(_Nothing(), lambda: Document("title", []))
    assert json.loads(out.getvalue()) == {"schema_version": 1}
    assert err.getvalue() == "a note\n"
    with pytest.raises(RuntimeError):
        output.report(_Nothing(), lambda: Document("title", []))


def test_quiet_keeps_warnings_and_results(streams):
    out, err = streams()
    output = Output(verbosity=-1)
    output.note("a note")
    output.hint("a hint")
    output.detail("a detail")
    output.warning("a warning")
    output.line("a result")
    assert out.getvalue() == "a result\n"
    assert err.getvalue() == "Warning: a warning\n"


ROWS = [["a forecaster with a long name", *["1.234e17"] * 12] for _ in range(3)]
HEADS = ["forecaster", *[f"median_{i}" for i in range(12)]]


@pytest.mark.parametrize("width", [40, 80, 200])
def test_no_number_breaks_however_narrow_the_terminal(streams, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    out, _ = streams()
    Output().table(HEADS, ROWS)
    text = out.getvalue()
    assert max(map(len, text.splitlines())) <= width
    assert text.count("1.234e17") == 36
    for head in HEADS[1:]:
        assert head in text
    assert "…" not in text


def test_a_reader_that_goes_away_does_not_stop_the_work(streams, monkeypatch):
    out, _ = streams()

    def broken(text):
        raise BrokenPipeError

    monkeypatch.setattr(out, "write", broken)
    silenced = []
    monkeypatch.setattr(output_module, "silence", silenced.append)
    output = Output()
    output.line("x")
    output.table(["a"], [["b"]])
    assert silenced


@given(st.text())
def test_printable_text_has_no_control_characters(text):
    shown = printable(text)
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 or 0xD800 <= ord(c) < 0xE000 for c in shown)
    assert not set(shown) & set("\u202a\u202b\u202d\u202e\u2066\u2067\u2068\u2069\u200f")
    assert printable(shown) == shown


@given(st.text(alphabet=st.characters(categories=("L", "N", "P", "Zs"))))
def test_printable_text_stays_as_it_is(text):
    assert printable(text) == text


def test_a_pipe_gets_whole_lines_of_plain_text(streams):
    out, err = streams()
    output = Output()
    output.table(["[a]", *HEADS], [["[/b]", *row] for row in ROWS])
    assert len(out.getvalue().strip().splitlines()) == 2 + len(ROWS)
    assert "[a]" in out.getvalue()
    assert "[/b]" in out.getvalue()
    output.note("[red]x[/] :smile: " * 50)
    assert err.getvalue() == "[red]x[/] :smile: " * 50 + "\n"
    output.line("a\x1b[2Jb\nc\rd " + "word " * 100)
    assert out.getvalue().splitlines()[-1] == "c d " + "word " * 100


@pytest.mark.parametrize(
    ("variables", "has_colour"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
)
def test_colour_is_for_terminals_that_want_it(streams, monkeypatch, variables, has_colour):
    for variable, value in ({"TERM": "xterm-256color"} | variables).items():
        monkeypatch.setenv(variable, value)
    out, err = streams(terminal=True)
    output = Output()
    output.warning("careful")
    output.table(["a"], [["b"]], title="t")
    assert any(c in err.getvalue() for c in ("\x1b[31m", "\x1b[33m", "\x1b[36m")) == has_colour
    if "TERM" in variables:
        assert "\x1b" not in out.getvalue() + err.getvalue()


@pytest.mark.parametrize("width", [40, 60, 80])
def test_long_heads_fold(streams, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    out, _ = streams()
    heads = ["MAE by cluster", "small, damped oscillation (200)", "no oscillation (1)"]
    Output().table(heads, [["rosenzweig-macarthur fit", "0.123", None], ["v" * 70, "0.2", "10.5"]])
    assert max(map(len, out.getvalue().splitlines())) <= width
    assert all(word in out.getvalue() for word in ("damped", "(200)", "0.123", "10.5"))
