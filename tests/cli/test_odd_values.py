"""Numbers and names that nobody means: every option answers in a sentence, never "unforeseen"."""

import os
import sqlite3
from pathlib import Path

import ledgers
import pytest
import tiny_runs

from lvlora.cli.program.from_settings import COMMANDS
from lvlora.cli.program.root import load_all
from lvlora.errors import SettingsError
from lvlora.flops.ledger import Ledger
from lvlora.flops.rows import Budget, Row
from lvlora.settings.configuration import resolve
from lvlora.settings.fields import read_fields

VALUES = ("1e308", "nan", "inf", "-1", "0", "", "9" * 18, "9" * 400)
load_all()


def _accepted(command):
    """(option, value) of every number that the settings let through; the others are refused."""
    accepted = []
    for field in read_fields(COMMANDS[command]):
        if field.argument or field.kind not in ("whole", "number"):
            continue
        for value in VALUES:
            try:
                resolve(
                    command,
                    COMMANDS[command],
                    flags={field.name: value},
                    environment={},
                    config=None,
                    commands={},
                    allow_missing=True,
                )
            except SettingsError as error:
                assert field.name in error.message  # noqa: PT017
            else:
                accepted.append((field.label, value))
    return accepted


CASES = [
    (command, *case) for command in COMMANDS for case in _accepted(command) if case[1]
]  # a value that is taken back is that of no option at all
TRIED = [
    case
    for case in CASES
    if case[:2]
    not in {
        # as many threads or processes as asked for, which is no question of odd values
        ("train", "--threads"),
        ("sweep", "--threads"),
        # tried with a command that is over sooner
        *(("sweep", field.label) for field in read_fields(COMMANDS["train"])),
        *(("evaluate", field.label) for field in read_fields(COMMANDS["baseline"])),
    }
]


@pytest.fixture
def words(tmp_path, monkeypatch, tiny_folder):
    """Of each command, a call that is over at once."""
    monkeypatch.chdir(tmp_path)
    # this one first: a module that is imported later would keep the other replacement
    monkeypatch.setattr("lvlora.train.fine_tune.draw_run", lambda folder: [folder / "report.html"])
    monkeypatch.setattr("lvlora.train.document.draw_run", lambda folder: [])
    tiny_runs.write_csv(Path("data.csv"), tiny_runs.dataset())
    model = tiny_folder("qwen2")
    quick = ["--model", model, "--dtype", "float32", "--threads", "1"]
    few = ["--samples", "1", "--views", "1", *quick]
    scored = ["data.csv", "--context", "4", "--horizon", "2", "--limit", "1", "--no-rivals", *few]
    Path("stages.toml").write_text(
        "[evaluate]\ncontext = 4\nhorizon = 2\nlimit = 1\nrivals = false\ngreedy = true\n"
        '[stages.first]\ncommand = "evaluate"\n'
    )
    short = tiny_runs.flags(model, Path("runs"), max_steps=1, validate_every=None)
    return {
        "simulate": ["out.h5", "--n-series", "2", "--n-steps", "10"],
        "analyze": ["data.csv"],
        "tokenize": ["data.csv", "--model", model],
        "flops": [],
        "experiment": ["data.csv", "--config", "stages.toml", "--out", "all", *quick],
        "baseline": scored,
        "evaluate": [*scored, "--adapter", "none", "--split", "all"],
        "forecast": ["data.csv", "--adapter", "none", "--horizon", "1", "--series", "s0", *few],
        "train": ["data.csv", *short, "--no-validation"],
        "sweep": ["data.csv", *short, "--trials", "1", "--dry-run"],
    }


@pytest.mark.parametrize(("command", "option", "value"), TRIED)
def test_a_number_that_is_let_through_gives_an_answer(run_lvlora, words, command, option, value):
    if option in ("--max-flops", "--max-steps", "--accumulation", "--batch-size"):
        words["train"] = [w for w in words["train"] if w not in ("--max-steps", 1, "1")]
    ran = run_lvlora([command, *words[command], f"{option}={value}"])
    assert ran.exit_code in (0, 2, 3, 4), ran.stderr
    assert "unforeseen" not in ran.stderr
    assert "Traceback" not in ran.stderr


def test_every_option_with_a_number_is_tried():
    assert {command for command, *_ in TRIED} >= {"simulate", "train", "forecast", "flops"}
    assert len(TRIED) > 40


NOT_UTF8 = os.fsdecode(b"caf\xe9")
NAMES = ("~nosuchuser", "~nosuchuser/x", "loop", "loop/x", "a" * 300, "a\0b", f"{NOT_UTF8}/x")


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_name_at_which_nothing_can_be_is_refused_and_leaves_nothing(run_lvlora, words, name):
    Path("loop").symlink_to("loop")
    train, forecast = words["train"], words["forecast"]
    before = set(Path().rglob("*"))
    for command in (
        ["analyze", name],
        ["forecast", name, *forecast[1:]],
        ["forecast", *forecast, "--model", name],
        ["forecast", *forecast, "--adapter", name],
        ["forecast", *forecast, "-o", f"{name}/o.csv"],
        ["train", name, *train[1:]],
        ["train", *train, "--resume", name],
        ["train", "--config", name],
        ["flops", "--model", name],
        ["flops", "--ledger", "--runs", name],
        ["report", name],
        ["export", name],
    ):
        ran = run_lvlora(command)
        assert ran.exit_code in (2, 4), (command, ran.stderr)
        assert "unforeseen" not in ran.stderr
    if not name.startswith("~"):  # a folder may be called that
        for option in ("--out", "--runs"):
            ran = run_lvlora(["train", *train, option, name], code=2)
            assert "unforeseen" not in ran.stderr
    assert {path for path in Path().rglob("*") if "runs" not in path.parts} == before


def test_files_whose_names_are_not_utf8(run_lvlora, words):
    """They are read, scored and forecast; a run could not write down what it was made of."""
    bad = f"{NOT_UTF8}.csv"
    Path("data.csv").rename(bad)
    ran = run_lvlora(["forecast", bad, *words["forecast"][1:], "--json"], code=0)
    ran = run_lvlora(["evaluate", bad, *words["evaluate"][1:], "--json"], code=0)
    before = set(Path().rglob("*"))
    ran = run_lvlora(["train", bad, *words["train"][1:]], code=2)
    assert "is not UTF-8" in ran.stderr
    assert set(Path().rglob("*")) == before


@pytest.mark.parametrize(
    ("table", "key"),
    [
        *(("entry", name) for name in ("", *Row.model_fields, "reserved.executed")),
        *(("budget", name) for name in ("", *Budget.model_fields)),
    ],
)
def test_a_ledger_that_was_edited_is_refused_or_shown(run_lvlora, tmp_path, table, key):
    with Ledger.for_runs(tmp_path / "runs") as ledger:
        ledgers.reserve(ledger, budget=10**6)
        path = ledger.path
    content = path.read_bytes()
    for value in (None, "", "-5", -5, "x", "9" * 500, 1e300, float("inf"), b"\xff", "2026-13-45"):
        db = sqlite3.connect(path)
        db.execute("PRAGMA ignore_check_constraints = ON")
        try:
            new = f"json_set(record, '$.{key}', ?)" if key else "?"
            db.execute(f"UPDATE {table} SET record = {new}", (value,))
        except (sqlite3.Error, OverflowError):
            continue  # the table itself refuses it
        finally:
            db.commit()
            db.close()
        ran = run_lvlora(["flops", "--ledger", "--runs", tmp_path / "runs"])
        assert ran.exit_code in (0, 4), (value, ran.stderr)
        assert "unforeseen" not in ran.stderr
        for file in path.parent.glob("ledger.sqlite*"):
            file.unlink()
        path.write_bytes(content)
