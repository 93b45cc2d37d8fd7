"""Slots and attempts of a study: which is next, whose it is, and what became of the dead's."""

from contextlib import ExitStack

import pytest
from sweeping import claim, facts_of, finish, give_back

from lvlora.errors import DataError, LvloraError, SettingsError
from lvlora.sweep.plan import stages_of
from lvlora.sweep.settings import SweepSettings
from lvlora.sweep.space import Range, Space
from lvlora.sweep.study import JOURNAL, SharedStudy, folder_of, slot_of, state_of

GRID = Space({"rank": (2, 4), "learning_rate": (1e-4, 1e-3)})


@pytest.fixture
def shared(tmp_path):
    """A function that makes a study."""
    number = 0

    def make(space: Space | None = GRID, **options: object) -> SharedStudy:
        nonlocal number
        number += 1
        settings = SweepSettings(runs=tmp_path / str(number), **options)
        return SharedStudy.make(settings, facts_of(settings, space))

    return make


def states(study: SharedStudy) -> dict[int, str | None]:
    return {number: state_of(trial) for number, trial in study.by_slot().items()}


def test_a_grid_is_made_in_order_and_then_is_over(shared):
    study = shared()
    seen = []
    while study.open_slots():
        trial = claim(study)
        seen.append(trial.params)
        finish(study, trial, 0.5 if slot_of(trial) >= 2 else 1.0)
    assert seen == [dict(p) for p in study.plan.stages[0].points]
    assert list(study.by_slot()) == [0, 1, 2, 3]
    assert slot_of(study.best()) == 2  # of equals the first
    assert claim(study) is None


def test_while_others_work_there_is_nothing_to_claim(shared):
    study = shared()
    with ExitStack() as held:
        assert [slot_of(claim(study, held)) for _ in range(4)] == [0, 1, 2, 3]
        assert claim(study) is None
        assert study.open_slots()


@pytest.mark.parametrize("drawn", [False, True])
def test_the_trials_of_the_dead_are_made_again(shared, drawn):
    study = shared(Space({"learning_rate": Range(1e-5, 1e-2, log=True)}) if drawn else GRID)
    lost = claim(study)
    assert states(study) == {0: "running"}
    again = claim(SharedStudy.find(study.settings))
    assert (slot_of(again), again.params) == (slot_of(lost), lost.params)
    finish(study, again, 0.5)
    assert states(study) == {0: "complete"}
    assert [t.state.name for t in study.attempts()] == ["FAIL", "COMPLETE"]


def test_later_stages_begin_from_the_best(shared):
    study = shared(None, preset="coursework")
    for number in range(9):
        finish(study, claim(study), 1.0 if number != 5 else 0.1)
    with ExitStack() as held:
        trials = [claim(study, held) for _ in range(3)]
        assert claim(study) is None  # the final run must wait for all three
    best = {"learning_rate": 5e-5, "rank": 8}
    assert [trial.params for trial in trials] == [best | {"seq_len": n} for n in (128, 512, 768)]
    for trial, value in zip(trials, (0.3, 0.05, 0.4), strict=True):
        finish(study, trial, value)
    final = claim(study)
    assert (slot_of(final), final.params) == (12, best | {"seq_len": 512})


def test_a_stage_without_any_result_ends_the_sweep(shared):
    study = shared(None, preset="coursework")
    for _ in range(9):
        finish(study, claim(study), None)
    with pytest.raises(LvloraError, match="stage context: no trial before it"):
        claim(study)


@pytest.mark.parametrize("seed", [0, 1])
def test_sampled_trials_do_not_depend_on_who_was_interrupted(shared, seed):
    space = Space({"learning_rate": Range(1e-5, 1e-2, log=True), "rank": Range(2, 64)})

    def value(params):
        return abs(params["learning_rate"] - 1e-3) + params["rank"] / 100

    def search(interrupted: set[int]) -> dict[int, dict]:
        study = shared(space, seed=seed, trials=14)
        while study.open_slots():
            trial = claim(study)
            if slot_of(trial) in interrupted:
                interrupted = interrupted - {slot_of(trial)}
                give_back(study, trial)
                continue
            finish(study, trial, value(trial.params))
        return {number: trial.params for number, trial in study.by_slot().items()}

    uninterrupted = search(set())
    assert search({0, 6, 13}) == uninterrupted
    assert len({p["learning_rate"] for p in uninterrupted.values()}) == 14


# --- the place of a study -------------------------------------------------------------------------


@pytest.fixture
def settings(tmp_path):
    return SweepSettings(runs=tmp_path, rank=3)


def study_of(settings, data="abc"):
    return SharedStudy.make(settings, facts_of(settings, data=data))


@pytest.mark.parametrize("plan", [{"stages": []}, {"stages": [{"name": 3}]}, {"x": 1}])
def test_a_plan_that_cannot_be_is_damage(settings, plan):
    study = study_of(settings).study
    study.set_user_attr("lvlora", {**study.user_attrs["lvlora"], "plan": plan})
    with pytest.raises(DataError, match="damaged"):
        SharedStudy.find(settings)


def test_of_two_that_make_a_study_at_once_both_get_one_plan(settings):
    first = study_of(settings)
    later = facts_of(settings.model_copy(update={"threads": 2}))
    assert SharedStudy.make(settings, later).facts == first.facts != later
    with pytest.raises(SettingsError, match="the data"):
        study_of(settings, data="other")
    files = {file.name for file in folder_of(settings).iterdir()}
    assert files == {JOURNAL}


def test_a_line_that_was_never_finished_is_no_obstacle(settings):
    with ExitStack() as held:
        claim(study_of(settings), held)
        journal = folder_of(settings) / JOURNAL
        complete = journal.read_bytes()
        journal.write_bytes(complete + b'{"op_code":8,"trial_i')
        study = SharedStudy.find(settings)
        assert journal.read_bytes() == complete
        assert slot_of(claim(study, held)) == 1
        assert list(SharedStudy.find(settings).by_slot()) == [0, 1]


def test_a_file_that_is_no_journal_is_named(settings):
    study_of(settings)
    (folder_of(settings) / JOURNAL).write_text("hello\nworld\n")
    with pytest.raises(DataError, match="journal is damaged"):
        SharedStudy.find(settings)


@pytest.mark.parametrize("name", ["", "../x", "a/b", "latest", "ledger.sqlite", ".hidden"])
def test_names_that_cannot_be_folders_are_refused(tmp_path, name):
    with pytest.raises(SettingsError, match="no name for a study"):
        folder_of(SweepSettings(runs=tmp_path, study=name))


def test_a_run_is_no_study(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "metrics.jsonl").touch()
    with pytest.raises(SettingsError, match="is a run of lvlora train"):
        folder_of(SweepSettings(runs=tmp_path, study="mine"))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"dropout": 0.5}, r"dropout \(was 0.0, not 0.5\)"),
        ({"preset": "coursework"}, "what is searched"),
        ({"threads": 2, "max_memory": 10**9}, None),
        ({"max_flops": 10**18, "budget": 10**18}, None),
        ({"save_every": 3, "tracker": ("tensorboard",)}, None),
    ],
)
def test_a_study_goes_on_with_its_subject_wherever_it_runs(settings, changes, named):
    facts = study_of(settings).facts
    changed = settings.model_copy(update=changes)
    subject = ("sweep", changed.model_dump(mode="json"), stages_of(changed, None), "abc")
    if named is None:
        facts.check(*subject)
    else:
        with pytest.raises(SettingsError, match=named):
            facts.check(*subject)
