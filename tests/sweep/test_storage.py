"""Where a study is kept: torn files, wrong files, other people's studies."""

from __future__ import annotations

import pytest
from sweeping import claim

from lvlora.errors import DataError, LvloraError, SettingsError
from lvlora.flops.budget import Price
from lvlora.settings.training import SweepSettings, TrainSettings
from lvlora.sweep import storage
from lvlora.sweep.facts import check_same, facts_of, plan_in, settings_in
from lvlora.sweep.plan import make_plan
from lvlora.sweep.stages import stages_of
from lvlora.sweep.study import SharedStudy, pruner, slot_of
from lvlora.train.schedule import Cost


@pytest.fixture
def settings(tmp_path):
    return SweepSettings(runs=tmp_path, rank=3)


def made(settings, data="abc"):
    stages = stages_of(settings, None)
    plan = make_plan(
        stages, settings, TrainSettings(), {}, lambda trial: Cost(Price(10, 20), Price(1, 2))
    )
    facts = facts_of(settings, stages, "grid", data)
    return storage.make(settings, plan, facts, pruner("none")), plan, facts


def test_a_study_is_found_again_with_its_plan(settings):
    assert storage.find(settings) is None
    _, plan, facts = made(settings)
    study = storage.find(settings)
    assert plan_in(study) == plan
    check_same(study, facts)
    again = settings_in(study, SweepSettings(runs=settings.runs))
    assert (again.rank, again.preset) == (3, "quick")


@pytest.mark.parametrize("value", [["a", 4], [4, 0], [4, True], [4], 4, [4, 4, 4], [1e9, 1]])
def test_validations_that_cannot_be_are_damage(settings, value):
    study, _, facts = made(settings)
    allotments = study.user_attrs["lvlora"]["allotments"]
    allotments[0]["validations"] = value
    study.set_user_attr("lvlora", {**facts, "allotments": allotments})
    with pytest.raises(DataError, match="damaged"):
        storage.find(settings)


def test_of_two_that_make_a_study_at_once_both_get_one_plan(settings, monkeypatch):
    """The one that comes second waits for what the first has yet to write."""
    import optuna

    _, first, _ = made(settings.model_copy(update={"study": "other", "max_steps": 3}))
    storage.folder_of(settings).mkdir(parents=True)
    theirs = optuna.create_study(
        study_name="sweep", storage=storage._open(settings, storage.folder_of(settings))
    )
    stages = stages_of(settings, None)
    facts = facts_of(settings, stages, "grid", "abc")
    allotted = [a.to_dict() for a in first.allotments]

    def meanwhile(seconds: float) -> None:
        theirs.set_user_attr("lvlora", {**facts, "allotments": allotted})

    monkeypatch.setattr("lvlora.sweep.storage.time.sleep", meanwhile)
    study, mine, _ = made(settings)
    assert plan_in(study) == first != mine
    with pytest.raises(SettingsError, match="the data"):
        made(settings, data="other")


def test_a_plan_without_a_stage_is_damage(settings):
    study, _, facts = made(settings)
    study.set_user_attr("lvlora", {**facts, "allotments": [], "stages": []})
    with pytest.raises(DataError, match="damaged"):
        storage.find(settings)


def test_a_database_serves_as_well(settings, tmp_path):
    there = settings.model_copy(update={"storage": f"sqlite:///{tmp_path / 'studies.db'}"})
    assert storage.find(there) is None
    _, plan, _ = made(there)
    study = storage.find(there)
    assert plan_in(study) == plan
    taken = claim(SharedStudy(study, plan, "grid", 0))
    assert taken.params == plan.stages[0].points[0]
    assert storage.find(settings) is None  # the journal is another place


def test_a_line_that_was_never_finished_is_no_obstacle(settings):
    study, plan, _ = made(settings)
    claim(SharedStudy(study, plan, "grid", 0))
    journal = settings.runs / "sweep" / storage.JOURNAL
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"op_code":8,"trial_i')
    board = SharedStudy(storage.find(settings), plan, "grid", 0)
    assert journal.read_bytes() == whole
    assert claim(board).slot == 1
    again = SharedStudy(storage.find(settings), plan, "grid", 0)
    assert [slot_of(t) for t in again.records()] == [0, 1]


def test_a_file_that_is_no_journal_is_named(settings):
    made(settings)
    journal = settings.runs / "sweep" / storage.JOURNAL
    journal.write_text("hello\nworld\n")
    with pytest.raises(DataError, match=r"its study\.journal is damaged"):
        storage.find(settings)


@pytest.mark.parametrize("name", ["", "../x", "a/b", "latest", "ledger.sqlite", ".hidden"])
def test_names_that_cannot_be_folders_are_refused(tmp_path, name):
    with pytest.raises(SettingsError, match="no name for a study"):
        storage.folder_of(SweepSettings(runs=tmp_path, study=name))


def test_a_run_is_no_study(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "metrics.jsonl").touch()
    with pytest.raises(SettingsError, match="is a run of lvlora train"):
        storage.folder_of(SweepSettings(runs=tmp_path, study="mine"))


def test_a_study_of_something_else_is_refused(settings, tmp_path):
    import optuna

    url = f"sqlite:///{tmp_path / 'theirs.db'}"
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    optuna.create_study(study_name="sweep", storage=url)
    study = storage.find(settings.model_copy(update={"storage": url}))
    with pytest.raises(SettingsError, match="was not made by lvlora sweep"):
        check_same(study, {})


@pytest.mark.parametrize(
    ("url", "kind", "words"),
    [
        ("nonsense", SettingsError, "is not the URL of a database"),
        ("nothing://host/name", SettingsError, "is not the URL of a database"),
        ("sqlite:////nowhere/at/all.db", LvloraError, "cannot be used"),
        ("postgresql+nodriver://me:secret@host/db", LvloraError, "driver|cannot be used"),
    ],
)
def test_a_storage_that_cannot_be_used_is_one_sentence(settings, url, kind, words):
    with pytest.raises(kind, match=words) as caught:
        storage.find(settings.model_copy(update={"storage": url}))
    assert "secret" not in caught.value.message
