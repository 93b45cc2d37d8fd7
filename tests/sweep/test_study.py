"""Slots and attempts of a study: which is next, whose it is, and what became of the dead's."""

import os
import time

import optuna
import pytest
from sweeping import claim, facts_of, finish, give_back

from lvlora.errors import LvloraError
from lvlora.flops import process_lock
from lvlora.sweep import storage
from lvlora.sweep import study as sweep_study
from lvlora.sweep.settings import SweepSettings
from lvlora.sweep.space import Range, Space
from lvlora.sweep.study import SharedStudy, pruner, slot_of, state_of

GRID = Space({"rank": (2, 4), "learning_rate": (1e-4, 1e-3)})
ELSEWHERE = "another-machine:4:17:abcd"
DEAD = f"{process_lock.this_process().split(':')[0]}:4194305:1:abcd"


def shared(space: Space | None = GRID, seed: int = 0, **given: object) -> SharedStudy:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return SharedStudy(optuna.create_study(), facts_of(SweepSettings(**given), space), seed)


def slot(trial: optuna.Trial) -> int:
    return trial.user_attrs["slot"]


def complete(study: SharedStudy, value: float) -> int:
    trial = claim(study)
    finish(study, trial, value)
    return slot(trial)


def states(study: SharedStudy) -> dict[int, str | None]:
    return {number: state_of(trial) for number, trial in study.by_slot().items()}


def test_a_grid_is_made_in_order_and_then_is_over():
    study = shared()
    seen = []
    while study.unfinished():
        trial = claim(study)
        seen.append(trial.params)
        finish(study, trial, 1.0 / (1 + slot(trial)))
    assert seen == [dict(p) for p in study.plan.stages[0].points]
    assert list(study.by_slot()) == [0, 1, 2, 3]
    assert slot_of(study.best()) == 3
    assert claim(study) is None


def test_of_equals_the_first_is_the_best():
    study = shared()
    for _ in range(4):
        complete(study, 0.5)
    assert slot_of(study.best()) == 0


def test_trials_that_failed_count_and_are_never_the_best():
    study = shared()
    finish(study, claim(study), None)
    assert complete(study, 0.7) == 1
    assert states(study) == {0: "failed", 1: "complete"}
    assert slot_of(study.best()) == 1


def test_while_others_work_there_is_nothing_to_claim():
    study = shared()
    assert [slot(claim(study)) for _ in range(4)] == [0, 1, 2, 3]
    assert claim(study) is None
    assert study.unfinished()


def test_a_trial_given_back_is_next_with_the_same_parameters():
    study = shared()
    complete(study, 0.5)
    lost = claim(study)
    give_back(study, lost)
    again = claim(study)
    assert (slot(again), again.params) == (slot(lost), lost.params)
    assert again.number != lost.number
    assert states(study) == {0: "complete", 1: "running"}


def test_two_that_take_the_same_slot_do_not_both_make_it():
    study = shared()
    # another process has chosen slot 0, too, before it saw ours
    study.study.enqueue_trial({"rank": 2, "learning_rate": 1e-4}, {"slot": 0})
    study.study.enqueue_trial({"rank": 2, "learning_rate": 1e-4}, {"slot": 0})
    assert [slot(claim(study)) for _ in range(4)] == [0, 1, 2, 3]
    assert claim(study) is None


@pytest.mark.parametrize("process", [DEAD, None])
def test_the_trials_of_the_dead_are_made_again(process, monkeypatch):
    study = shared()
    # a clock that was set back keeps no dead trial
    now = time.time()
    monkeypatch.setattr(sweep_study.time, "time", lambda: now - 86_400)
    lost = claim(study)
    lost.set_user_attr("process", process)
    assert study.recover() == [slot(lost)] == [0]
    assert claim(study).params == lost.params


def test_the_living_keep_their_trials():
    study = shared()
    trial = claim(study)
    # the parent of this process lives, on this machine
    host, _, _, tail = process_lock.this_process().split(":")
    parent = f"{host}:{os.getppid()}:{process_lock._start_time(os.getppid())}:{tail}"
    trial.set_user_attr("process", parent)
    assert study.recover() == []
    trial.set_user_attr("process", None)  # taken a moment ago
    assert study.recover() == []


@pytest.mark.slow
def test_of_another_machine_a_database_knows_by_its_heartbeats(tmp_path, monkeypatch):
    """Optuna beats the heart of a trial that it makes, and fails one whose heart stopped."""
    settings = SweepSettings(runs=tmp_path, storage=f"sqlite:///{tmp_path / 'studies.db'}")
    monkeypatch.setattr(storage, "_HEARTBEAT_SECONDS", 1)
    monkeypatch.setattr(storage, "STALE_SECONDS", 2)
    study = storage.make(settings, facts_of(settings, GRID))
    lost = claim(study)
    lost.set_user_attr("process", ELSEWHERE)
    study.study._storage.record_heartbeat(lost._trial_id)
    assert study.recover() == []
    time.sleep(3)
    study.recover()
    trials = []

    def objective(trial):
        assert study.claim(trial)
        trials.append(trial)
        trial.set_user_attr("end", {"value": 0.5})
        return 0.5

    assert study.queue()
    study.study.optimize(objective, n_trials=1)
    assert [(slot(trial), trial.params) for trial in trials] == [(0, lost.params)]


def test_later_stages_begin_from_the_best():
    study = shared(None, preset="coursework")
    for number in range(9):
        complete(study, 1.0 if number != 5 else 0.1)
    trials = [claim(study) for _ in range(3)]
    best = {"learning_rate": 5e-5, "rank": 8}
    assert [trial.params for trial in trials] == [best | {"seq_len": n} for n in (128, 512, 768)]
    assert claim(study) is None  # the final run must wait for all three
    for trial, value in zip(trials, (0.3, 0.05, 0.4), strict=True):
        finish(study, trial, value)
    final = claim(study)
    assert (slot(final), final.params) == (12, best | {"seq_len": 512})


def test_a_stage_without_any_result_ends_the_sweep():
    study = shared(None, preset="coursework")
    for _ in range(9):
        finish(study, claim(study), None)
    with pytest.raises(LvloraError, match="stage context: no trial before it"):
        claim(study)


@pytest.mark.parametrize("seed", [0, 1])
def test_sampled_trials_do_not_depend_on_who_was_interrupted(seed):
    space = Space({"learning_rate": Range(1e-5, 1e-2, log=True), "rank": Range(2, 64, whole=True)})

    def value(params):
        return abs(params["learning_rate"] - 1e-3) + params["rank"] / 100

    def search(interrupted: set[int]) -> dict[int, dict]:
        study = shared(space, seed=seed, trials=14)
        while study.unfinished():
            trial = claim(study)
            if slot(trial) in interrupted:
                interrupted = interrupted - {slot(trial)}
                give_back(study, trial)
                continue
            finish(study, trial, value(trial.params))
        return {number: trial.params for number, trial in study.by_slot().items()}

    uninterrupted = search(set())
    assert search({0, 6, 13}) == uninterrupted
    assert len({p["learning_rate"] for p in uninterrupted.values()}) == 14


def test_pruners_count_in_thousandths_of_the_flops():
    study = shared(Space({"rank": (tuple(range(1, 9)))}))
    study.study.pruner = pruner("halving")
    pruned = []
    for quality in (0.1, 0.9, 0.05, 0.8):
        trial = claim(study)
        trial.report(quality, 250)
        if trial.should_prune():
            pruned.append(slot(trial))
            study.study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            finish(study, trial, quality)
    assert pruned == [1, 3]
    assert list(states(study).values()) == ["complete", "pruned", "complete", "pruned"]
    assert slot_of(study.best()) == 2
    assert pruner("none").prune(study.study, study.study.trials[0]) is False
    assert type(pruner("hyperband")).__name__ == "HyperbandPruner"
