"""experiment.json: exact, and refused by name where it is damaged."""

import json

import pytest

from lvlora.errors import DataError, SettingsError
from lvlora.experiment.experiment import FILE, read_finished
from lvlora.experiment.record import Finished, FinishedStages, Result
from lvlora.experiment.settings import Stage
from lvlora.train.settings import TrainSettings


def _stage(**changes):
    return Stage("first", "train", TrainSettings(max_flops=10**20 + 1, **changes), {})


@pytest.fixture
def folder(tmp_path):
    finished = Finished(settings=_stage().deciding("hash"), result=Result(folder="x", mae=0.5))
    (tmp_path / FILE).write_text(FinishedStages(stages={"first": finished}).model_dump_json())
    return tmp_path


def test_a_result_is_read_as_it_was_written(folder):
    finished = read_finished(folder, [_stage(threads=1, save_every=3)], "hash")  # the same result
    assert finished["first"].result == Result(folder="x", mae=0.5)


@pytest.mark.parametrize(
    ("stage", "data", "name"),
    [
        (_stage(rank=4), "hash", "rank"),
        (_stage(), "other", "data"),
        (Stage("first", "train", TrainSettings(max_flops=10**20), {}), "hash", "max_flops"),
    ],
)
def test_other_settings_are_refused_by_name(folder, stage, data, name):
    with pytest.raises(SettingsError, match=name):
        read_finished(folder, [stage], data)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("stages", []),
        ("stages.first", "x"),
        ("stages.first.result.mae", {"x": 1}),
        ("stages.first.result.steps", 2.5),
    ],
)
def test_a_damaged_record_is_refused_by_name(folder, key, value):
    facts = json.loads((folder / FILE).read_text())
    *places, last = key.split(".")
    target = facts
    for place in places:
        target = target[place]
    target[last] = value
    (folder / FILE).write_text(json.dumps(facts))
    with pytest.raises(DataError, match=FILE):
        read_finished(folder, [_stage()], "hash")
