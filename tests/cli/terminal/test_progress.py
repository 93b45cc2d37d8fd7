"""Progress: live on a terminal, plain lines elsewhere, nothing under --quiet."""

import io
import sys

import pytest

from lvlora.cli.terminal import progress
from lvlora.cli.terminal.output import Output
from lvlora.train.record import Observer, RunPlan, StepRecord, ValidationRecord


class _Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def _run(watcher, steps: int = 5) -> None:
    watcher.started(RunPlan("run-x", steps, 2048, 5 * 10**15, 10**15, 0, 1))
    for step in range(1, steps + 1):
        spent = step * 10**13
        watcher.step(StepRecord(step=step, loss=2.5, seconds=0.5, tokens=9, total_flops=spent))
    watcher.validated(ValidationRecord(step=steps, loss=2.25, mae=0.125, helps=True))
    watcher.finished()


@pytest.fixture
def stderr(monkeypatch):
    def replace(stream):
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.setattr(sys, "stdout", io.StringIO())
        monkeypatch.setenv("TERM", "xterm-256color")
        monkeypatch.setenv("COLUMNS", "80")
        return stream

    return replace


def test_a_pipe_gets_a_line_every_so_often(stderr, monkeypatch):
    err = stderr(io.StringIO())
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    _run(progress.observer(Output()), steps=7)
    assert sum(line.startswith("step ") for line in err.getvalue().splitlines()) == 7


def test_a_terminal_gets_a_live_line_that_ends(stderr):
    err = stderr(_Terminal())
    output = Output()
    _run(progress.observer(output))
    text = err.getvalue()
    assert "5/5" in text
    assert "loss 2.5000" in text
    assert "5e13 FLOPs (5.0 %)" in text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l"), "the cursor must be back"


def test_an_interrupted_run_gives_the_cursor_back(stderr):
    err = stderr(_Terminal())
    output = Output()
    watcher = progress.observer(output)
    watcher.started(RunPlan("x", 5, 10, 10, None, 0))
    output.displays.close()
    assert err.getvalue().endswith("\x1b[?25h")


def test_quiet_is_silent(stderr):
    err = stderr(_Terminal())
    output = Output(verbosity=-1)
    watcher = progress.observer(output)
    assert type(watcher) is Observer
    _run(watcher)
    with progress.counted(output, "Counting", 3) as advance:
        advance(3)
    assert err.getvalue() == ""


def test_counted_work(stderr, monkeypatch):
    err = stderr(io.StringIO())
    with progress.counted(Output(), "Counting", 3) as advance:
        advance(1)
    assert err.getvalue() == "", "short work needs no line"
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    with progress.counted(Output(), "Counting", 3) as advance:
        advance(1)
        advance(2)
    assert "Counting: 1 of 3" in err.getvalue()
    assert "Counting: 3 of 3" in err.getvalue()
