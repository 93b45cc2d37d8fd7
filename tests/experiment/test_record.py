"""experiment.json: what it refuses, and whose entries of the ledger are whose."""

import json
from dataclasses import replace

import ledgers
import pytest

from lvlora.answers import Price
from lvlora.errors import DataError, SettingsError
from lvlora.evaluation.settings import EvaluateSettings
from lvlora.experiment.answers import Result
from lvlora.experiment.record import FILE, Record
from lvlora.experiment.settings import Stage
from lvlora.flops.ledger import Ledger
from lvlora.train.settings import TrainSettings

MOST = Price(10**20 + 1, 3 * 10**20)
"""Beyond 2^53, so that a count that passed through a float would be another."""


def _stage(**changes):
    return Stage("first", "train", TrainSettings(max_flops=10**12, **changes), {})


@pytest.fixture
def begun(tmp_path):
    record = Record(tmp_path)
    with record.session(_stage(), "hash", MOST):
        pass
    return record


def _read(folder, stage=None, data="hash"):
    return Record.read(folder, [stage or _stage()], data)


def test_counts_are_exact_and_time_adds_up(begun, tmp_path):
    first = begun.stages["first"].seconds
    assert begun.stages["first"].flops_at_most == MOST
    assert not begun.is_done("first")
    again = _read(tmp_path)
    with again.session(_stage(), "hash", Price(1, 1)):
        again.finish("first", Result(folder="x", mae=0.5))
    again = _read(tmp_path)
    assert again.stages["first"].seconds > first
    assert again.stages["first"].flops_at_most == MOST
    assert again.stages["first"].found == Result(folder="x", mae=0.5)
    assert len(again.stages["first"].sessions) == 2


def _spend(folder, run, command, flops):
    with Ledger.for_runs(folder) as ledger:
        ledgers.reserve(ledger, flops, flops, run, command=command)


def test_a_stage_is_the_sum_of_its_own_entries(tmp_path, monkeypatch):
    """Another command may spend from the same ledger while a stage is made (issue 34, 17)."""
    record = Record(tmp_path)
    scored = Stage("scores", "evaluate", EvaluateSettings(), {})
    _spend(tmp_path, "20260101-evaluate-1", "evaluate", 1)  # before
    with record.session(scored, "hash", MOST):
        _spend(tmp_path, "20260101-evaluate-2", "evaluate", 10)
        with monkeypatch.context() as other:
            other.setattr("lvlora.flops.process_lock.process_id", lambda: 1)
            _spend(tmp_path, "20260101-evaluate-3", "evaluate", 100)
            _spend(tmp_path, "20260101-forecast-4", "forecast", 1000)
    _spend(tmp_path, "20260101-evaluate-5", "evaluate", 10_000)  # after
    with record.session(_stage(), "hash", MOST):
        _spend(tmp_path, "first", "train", 100_000)
    entries = record.entries()
    assert record.spent_on("scores", entries) == Price(10, 10)
    assert record.spent_on("first", entries) == Price(100_000, 100_000)
    assert record.spent_on("none", entries) == Price(0, 0)


def test_other_settings_are_refused_by_name(begun, tmp_path):
    with pytest.raises(SettingsError, match=r"rank \(8 then, 4 now\)"):
        _read(tmp_path, _stage(rank=4))
    with pytest.raises(SettingsError, match=r"data \(hash then, other now\)"):
        _read(tmp_path, data="other")
    _read(tmp_path, _stage(threads=1, save_every=3))  # the same result
    _read(tmp_path, Stage("another", "train", TrainSettings(), {}))


def test_a_limit_may_change_until_the_stage_is_done(begun, tmp_path):
    larger = replace(_stage(), settings=TrainSettings(max_flops=2 * 10**12))
    record = _read(tmp_path, larger)
    with record.session(larger, "hash", MOST):
        record.finish("first", Result(folder="x"))
    _read(tmp_path, larger)
    with pytest.raises(SettingsError, match="max_flops"):
        _read(tmp_path, replace(_stage(), settings=TrainSettings(max_flops=3 * 10**12)))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("stages", []),
        ("schema_version", 2),
        ("lvlora_version", None),
        ("stages.first", "x"),
        ("stages.first.seconds", -1),
        ("stages.first.flops_at_most", {"executed": "1e999", "coursework": 1}),
        ("stages.first.sessions", [{"process": 3, "after": 1}]),
        ("stages.first.found.mae", {"x": 1}),
        ("stages.first.found.steps", 2.5),
    ],
)
def test_a_damaged_record_is_refused_by_name(begun, tmp_path, key, value):
    begun.finish("first", Result(folder="x", mae=0.5, forecasters={"a": 1.0}))
    facts = json.loads((tmp_path / FILE).read_text())
    *places, last = key.split(".")
    target = facts
    for place in places:
        target = target[place]
    target[last] = value
    (tmp_path / FILE).write_text(json.dumps(facts))
    with pytest.raises(DataError, match=FILE):
        _read(tmp_path)


def test_another_folder_of_ours_is_not_taken(tmp_path):
    from lvlora import folders

    folders.mark(tmp_path, "run", ["x"])
    with (
        pytest.raises(SettingsError, match="is the folder of an earlier run"),
        Record(tmp_path).held(),
    ):
        pass
