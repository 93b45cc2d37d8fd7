"""The examples that the help shows run as they stand."""

from __future__ import annotations

import re
import shlex

import pytest

from lvlora.cli.root import load

LIGHT = ("simulate", "analyze", "flops")
"""Commands whose examples need no trained model; the others' examples run in their own tests."""


def _examples(name: str) -> list[str]:
    return re.findall(r"\[bold\](lvlora .*?)\[/bold\]", load(name).epilog or "")


@pytest.mark.parametrize(
    "line", [line for name in LIGHT for line in _examples(name)], ids=lambda line: line[7:]
)
def test_an_example_runs(run_lvlora, tmp_path, monkeypatch, line):
    from lvlora.flops.ledger import Ledger

    monkeypatch.chdir(tmp_path)
    if "simulate" not in line:
        for file in ("data.h5", "data.csv"):
            assert run_lvlora(["simulate", file, "-n", "8", "--n-steps", "60"]).exit_code == 0
    Ledger.for_runs(tmp_path / "runs").disconnect()
    words = shlex.split(line)[1:]
    given = None
    if "<" in words:
        given = (tmp_path / words.pop()).read_text()
        words.remove("<")
    ran = run_lvlora(words, input=given)
    assert ran.exit_code == 0, ran.stderr
    assert ran.stdout
