"""The board of trials: which is next, whose it is, and what became of those of the dead."""

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


def board(own: Space | None = GRID, seed: int = 0, **given: object) -> SharedStudy:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return SharedStudy(optuna.create_study(), facts_of(SweepSettings(**given), own), seed)


def complete(a_board: SharedStudy, value: float) -> int:
    mine = claim(a_board)
    assert mine is not None
    finish(a_board, mine, "complete", value, {"mae": value})
    return mine.slot


def test_a_grid_is_made_in_order_and_then_is_over():
    b = board()
    seen = []
    while b.unfinished():
        mine = claim(b)
        seen.append(mine.params)
        finish(b, mine, "complete", 1.0 / (1 + mine.slot), {})
    assert seen == [dict(p) for p in b.plan.stages[0].points]
    assert [slot_of(t) for t in b.records()] == [0, 1, 2, 3]
    assert slot_of(b.best()) == 3
    assert claim(b) is None


def test_of_equals_the_first_is_the_best():
    b = board()
    for _ in range(4):
        complete(b, 0.5)
    assert slot_of(b.best()) == 0


def test_trials_that_failed_count_and_are_never_the_best():
    b = board()
    mine = claim(b)
    finish(b, mine, "failed", None, {"reason": "not finite"})
    assert complete(b, 0.7) == 1
    assert [state_of(t) for t in b.records()] == ["failed", "complete"]
    assert slot_of(b.best()) == 1


def test_while_others_work_there_is_nothing_to_claim():
    b = board()
    mine = [claim(b) for _ in range(4)]
    assert [c.slot for c in mine] == [0, 1, 2, 3]
    assert claim(b) is None
    assert b.unfinished()


def test_a_trial_given_back_is_next_with_the_same_parameters():
    b = board()
    complete(b, 0.5)
    mine = claim(b)
    give_back(b, mine)
    again = claim(b)
    assert (again.slot, again.params) == (mine.slot, mine.params)
    assert again.trial.number != mine.trial.number
    assert [state_of(t) for t in b.records()] == ["complete", "running"]


def test_two_that_take_the_same_slot_do_not_both_make_it():
    b = board()
    # another process has chosen slot 0, too, before it saw ours
    b.study.enqueue_trial({"rank": 2, "learning_rate": 1e-4}, {"slot": 0})
    b.study.enqueue_trial({"rank": 2, "learning_rate": 1e-4}, {"slot": 0})
    slots = [claim(b).slot for _ in range(4)]
    assert slots == [0, 1, 2, 3]
    assert claim(b) is None


def test_a_clock_that_was_set_back_keeps_no_dead_trial(monkeypatch):
    b = board()
    mine = claim(b)
    mine.trial.set_user_attr(sweep_study._holder_of(0), None)
    now = time.time()
    monkeypatch.setattr(sweep_study.time, "time", lambda: now - 86_400)
    assert b.recover() == [mine.slot]


@pytest.mark.parametrize("held_by", [DEAD, None])
def test_the_trials_of_the_dead_are_made_again(held_by, monkeypatch):
    b = board()
    monkeypatch.setattr(sweep_study, "_BEGINNING_SECONDS", -1.0)
    mine = claim(b)
    mine.trial.set_user_attr(sweep_study._holder_of(0), held_by)
    assert b.recover() == [mine.slot] == [0]
    assert claim(b).params == mine.params


def test_the_living_keep_their_trials():
    b = board()
    mine = claim(b)
    # the parent of this process lives, on this machine
    host, _, _, tail = process_lock.this_process().split(":")
    parent = f"{host}:{os.getppid()}:{process_lock._start_time(os.getppid())}:{tail}"
    mine.trial.set_user_attr(sweep_study._holder_of(0), parent)
    assert b.recover() == []


@pytest.mark.slow
def test_of_another_machine_a_database_knows_by_its_heartbeats(tmp_path, monkeypatch):
    """Optuna beats the heart of a trial that it makes, and fails one whose heart stopped."""
    settings = SweepSettings(runs=tmp_path, storage=f"sqlite:///{tmp_path / 'studies.db'}")
    monkeypatch.setattr(storage, "_HEARTBEAT_SECONDS", 1)
    monkeypatch.setattr(storage, "STALE_SECONDS", 2)
    b = storage.make(settings, facts_of(settings, GRID))
    mine = claim(b)
    mine.trial.set_user_attr(sweep_study._holder_of(0), ELSEWHERE)
    b.study._storage.record_heartbeat(mine.trial._trial_id)
    assert b.recover() == []
    time.sleep(3)
    b.recover()
    made = []

    def objective(trial):
        made.append(b.claim(trial))
        b.end(made[-1], "complete", 0.5, {})
        return 0.5

    assert b.queue()
    b.study.optimize(objective, n_trials=1)
    assert [(one.slot, one.params) for one in made] == [(0, mine.params)]


def test_later_stages_begin_from_the_best():
    b = board(None, preset="coursework")
    for slot in range(9):
        complete(b, 1.0 if slot != 5 else 0.1)
    claims = [claim(b) for _ in range(3)]
    best = {"learning_rate": 5e-5, "rank": 8}
    assert [c.params for c in claims] == [best | {"seq_len": n} for n in (128, 512, 768)]
    assert claim(b) is None  # the final run must wait for all three
    for mine, value in zip(claims, (0.3, 0.05, 0.4), strict=True):
        finish(b, mine, "complete", value, {})
    final = claim(b)
    assert (final.stage, final.params) == (2, best | {"seq_len": 512})


def test_a_stage_without_any_result_ends_the_sweep():
    b = board(None, preset="coursework")
    for _ in range(9):
        finish(b, claim(b), "failed", None, {})
    with pytest.raises(LvloraError, match="stage context: no trial before it"):
        claim(b)


@pytest.mark.parametrize("seed", [0, 1])
def test_sampled_trials_do_not_depend_on_who_was_interrupted(seed):
    space = Space({"learning_rate": Range(1e-5, 1e-2, log=True), "rank": Range(2, 64, whole=True)})

    def value(params):
        return abs(params["learning_rate"] - 1e-3) + params["rank"] / 100

    def made(interrupted: set[int]) -> list[tuple[int, dict]]:
        b = board(space, seed=seed, trials=14)
        while b.unfinished():
            mine = claim(b)
            if mine.slot in interrupted:
                interrupted = interrupted - {mine.slot}
                give_back(b, mine)
                continue
            finish(b, mine, "complete", value(mine.params), {})
        return [(slot_of(t), t.params) for t in b.records()]

    whole = made(set())
    assert made({0, 6, 13}) == whole
    assert len({p["learning_rate"] for _, p in whole}) == 14


def test_pruners_count_in_thousandths_of_the_flops():
    b = board(Space({"rank": (tuple(range(1, 9)))}))
    b.study.pruner = pruner("halving")
    pruned = []
    for quality in (0.1, 0.9, 0.05, 0.8):
        mine = claim(b)
        mine.trial.report(quality, 250)
        if mine.trial.should_prune():
            pruned.append(mine.slot)
            finish(b, mine, "pruned", quality, {})
        else:
            finish(b, mine, "complete", quality, {})
    assert pruned == [1, 3]
    assert [state_of(t) for t in b.records()] == ["complete", "pruned", "complete", "pruned"]
    assert slot_of(b.best()) == 2
    assert pruner("none").prune(b.study, b.study.trials[0]) is False
    assert type(pruner("hyperband")).__name__ == "HyperbandPruner"
