"""experiment.json: what it refuses, and what it takes."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from lvlora.errors import DataError, SettingsError
from lvlora.experiment.answers import Found
from lvlora.experiment.record import FILE, Record
from lvlora.flops.budget import Price
from lvlora.settings.experiment import Stage
from lvlora.settings.training import TrainSettings

MOST = Price(10**20 + 1, 3 * 10**20)
"""Beyond 2^53, so that a count that passed through a float would be another."""


def _stage(**changes):
    return Stage("first", "train", TrainSettings(max_flops=10**12, **changes), {})


@pytest.fixture
def begun(tmp_path):
    record = Record(tmp_path)
    with record.working_on(_stage(), "hash", Price(5, 7), MOST):
        pass
    return Record.read(tmp_path)


def test_counts_are_exact_and_time_adds_up(begun, tmp_path):
    kept = begun.stages["first"]
    assert (kept.before, kept.at_most, kept.spent) == (Price(5, 7), MOST, None)
    first = kept.seconds
    assert not begun.is_done("first")
    with begun.working_on(_stage(), "hash", Price(10, 10), MOST) as kept:
        kept.found, kept.after = Found(folder="x", mae=0.5), Price(6, 9)
    again = Record.read(tmp_path).stages["first"]
    assert again.seconds > first
    assert again.before == Price(5, 7), "what was charged when it was begun stays"
    assert again.spent == Price(1, 2)
    assert again.found == Found(folder="x", mae=0.5)


def test_other_settings_are_refused_by_name(begun):
    with pytest.raises(SettingsError, match=r"rank \(8 then, 4 now\)"):
        begun.check(_stage(rank=4), "hash")
    with pytest.raises(SettingsError, match=r"data \(hash then, other now\)"):
        begun.check(_stage(), "other")
    begun.check(_stage(threads=1, save_every=3), "hash")  # the same result
    begun.check(Stage("another", "train", TrainSettings(), {}), "hash")


def test_a_stage_from_before_a_setting_was_there_goes_on_as_it_was(begun):
    for name in ("gaps", "number_format"):
        begun.stages["first"].asked.pop(name)
    with pytest.raises(SettingsError, match=r"settings: gaps \(told then, filled now\)$"):
        begun.check(_stage(), "hash")
    begun.check(_stage(gaps="told"), "hash")


def test_a_limit_may_grow_until_the_stage_is_done(begun):
    larger = replace(_stage(), settings=TrainSettings(max_flops=2 * 10**12))
    with pytest.raises(SettingsError, match="max_flops"):
        begun.check(replace(_stage(), settings=TrainSettings(max_flops=10**11)), "hash")
    begun.check(larger, "hash")
    begun.check(larger, "hash")
    begun.stages["first"].found = Found(folder="x")
    with pytest.raises(SettingsError, match="max_flops"):
        begun.check(replace(_stage(), settings=TrainSettings(max_flops=3 * 10**12)), "hash")


@pytest.mark.parametrize("damage", [{"before": {"executed": "x"}}, {"found": 3}, {"asked": None}])
def test_a_damaged_record_is_told(begun, tmp_path, damage):
    facts = json.loads((tmp_path / FILE).read_text())
    facts["stages"]["first"] |= damage
    (tmp_path / FILE).write_text(json.dumps(facts))
    with pytest.raises(DataError, match="cannot be used"):
        Record.read(tmp_path)
    (tmp_path / FILE).write_text("{")
    with pytest.raises(DataError):
        Record.read(tmp_path)


def test_another_folder_of_ours_is_not_taken(tmp_path):
    from lvlora import folders

    folders.mark(tmp_path, "run", ["x"])
    with (
        pytest.raises(SettingsError, match="is the folder of an earlier run"),
        Record(tmp_path).held(),
    ):
        pass
