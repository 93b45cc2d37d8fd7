"""The board of trials: which is next, whose it is, and what became of those of the dead."""

from __future__ import annotations

import os
import time

import optuna
import pytest

from lvlora.errors import LvloraError
from lvlora.flops import process_lock
from lvlora.flops.budget import NOTHING, Price
from lvlora.settings.training import SweepSettings, TrainSettings
from lvlora.sweep import attempts as sweep_attempts
from lvlora.sweep import study as sweep_study
from lvlora.sweep.plan import make_plan
from lvlora.sweep.space import Choice, Range, Space
from lvlora.sweep.stages import stages_of
from lvlora.sweep.study import SharedStudy, heartbeat, pruner
from lvlora.train.step_plan import Cost

STEP = Cost(Price(10, 20), Price(1, 2))
GRID = Space({"rank": Choice((2, 4)), "learning_rate": Choice((1e-4, 1e-3))})
ELSEWHERE = "another-machine:4:17:abcd"
DEAD = f"{process_lock.this_process().split(':')[0]}:4194305:1:abcd"


def board(own: Space | None = GRID, seed: int = 0, **given: object) -> SharedStudy:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    chosen = SweepSettings(**given)
    stages = stages_of(chosen, own)
    plan = make_plan(stages, chosen, TrainSettings(), {}, lambda trial: STEP)
    sampler = "tpe" if stages[0].points is None else "grid"
    return SharedStudy(optuna.create_study(), plan, sampler, seed)


def complete(a_board: SharedStudy, value: float) -> int:
    claim = a_board.claim()
    assert claim is not None
    a_board.finish(claim, "complete", value, Price(5, 6), {"mae": value})
    return claim.slot


def test_a_grid_is_made_in_order_and_then_is_over():
    b = board()
    seen = []
    while b.unfinished():
        claim = b.claim()
        seen.append(claim.params)
        b.finish(claim, "complete", 1.0 / (1 + claim.slot), Price(5, 6), {})
    assert seen == [dict(p) for p in b.plan.stages[0].points]
    assert [a.slot for a in b.records()] == [0, 1, 2, 3]
    assert b.best().slot == 3
    assert b.committed() == Price(20, 24)
    assert b.claim() is None


def test_of_equals_the_first_is_the_best():
    b = board()
    for _ in range(4):
        complete(b, 0.5)
    assert b.best().slot == 0


def test_trials_that_failed_count_and_are_never_the_best():
    b = board()
    claim = b.claim()
    b.finish(claim, "failed", None, Price(1, 1), {"reason": "not finite"})
    assert complete(b, 0.7) == 1
    assert [a.state for a in b.records()] == ["failed", "complete"]
    assert b.best().slot == 1


def test_while_others_work_there_is_nothing_to_claim():
    b = board()
    mine = [b.claim() for _ in range(4)]
    assert [c.slot for c in mine] == [0, 1, 2, 3]
    assert b.claim() is None
    assert b.unfinished()


def test_a_trial_given_back_is_next_with_the_same_parameters():
    b = board()
    complete(b, 0.5)
    claim = b.claim()
    b.give_back(claim, Price(3, 4))
    again = b.claim()
    assert (again.slot, again.params) == (claim.slot, claim.params)
    assert again.trial.number != claim.trial.number
    assert b.spent_on(claim.slot, again.trial.number) == Price(3, 4)
    assert [a.state for a in b.records()] == ["complete", "running"]


def test_two_that_take_the_same_slot_do_not_both_make_it():
    b = board()
    # another process has chosen slot 0, too, before it saw ours
    b.study.enqueue_trial({"rank": 2, "learning_rate": 1e-4}, {"slot": 0})
    b.study.enqueue_trial({"rank": 2, "learning_rate": 1e-4}, {"slot": 0})
    slots = [b.claim().slot for _ in range(4)]
    assert slots == [0, 1, 2, 3]
    assert b.claim() is None


@pytest.mark.parametrize("held_by", [DEAD, None])
def test_the_trials_of_the_dead_are_made_again(held_by, monkeypatch):
    b = board()
    monkeypatch.setattr(sweep_attempts, "_BEGINNING_SECONDS", -1.0)
    claim = b.claim()
    claim.trial.set_user_attr("start", {} if held_by is None else {"holder": held_by})
    (lost,) = b.recover(lambda attempt: Price(7, 8))
    assert lost.slot == claim.slot == 0
    assert b.claim().params == claim.params
    assert b.committed(before=1) == Price(7, 8)


def test_what_nobody_knows_is_charged_in_full():
    b = board()
    claim = b.claim()
    b.price(claim, Price(100, 200))
    claim.trial.set_user_attr("start", {**claim.trial.user_attrs["start"], "holder": DEAD})
    b.recover(lambda attempt: None)
    assert b.committed() == Price(100, 200)


def test_the_living_keep_their_trials():
    b = board()
    claim = b.claim()
    start = claim.trial.user_attrs["start"]
    # the parent of this process lives, on this machine
    host, _, _, tail = process_lock.this_process().split(":")
    parent = f"{host}:{os.getppid()}:{process_lock._start_time(os.getppid())}:{tail}"
    claim.trial.set_user_attr("start", {**start, "holder": parent})
    assert b.recover(lambda attempt: NOTHING) == []


def test_another_machine_is_dead_when_it_has_been_silent(monkeypatch):
    b = board()
    claim = b.claim()
    claim.trial.set_user_attr("start", {"holder": ELSEWHERE})
    with heartbeat(claim.trial):
        assert b.recover(lambda attempt: NOTHING) == []
    claim.trial.set_user_attr("heartbeat", time.time() - sweep_attempts.STALE_SECONDS - 1)
    assert [a.slot for a in b.recover(lambda attempt: NOTHING)] == [0]


def test_a_heart_beats_more_than_once(monkeypatch):
    b = board()
    monkeypatch.setattr(sweep_study, "HEARTBEAT_SECONDS", 0.01)
    trial = b.claim().trial
    with heartbeat(trial):
        first = trial.user_attrs["heartbeat"]
        for _ in range(500):
            (record,) = b.records()
            if record.heard != first:
                break
            time.sleep(0.01)
        assert record.heard > first


def test_of_two_that_begin_at_once_the_later_sees_the_earlier():
    b = board()
    first, second = b.claim(), b.claim()
    b.price(first, Price(100, 0))
    b.price(second, Price(100, 0))
    assert b.committed(first.trial.number) == NOTHING
    assert b.committed(second.trial.number) == Price(100, 0)
    assert b.committed() == Price(200, 0)


def test_later_stages_begin_from_the_best():
    b = board(None, preset="coursework")
    for slot in range(9):
        complete(b, 1.0 if slot != 5 else 0.1)
    claims = [b.claim() for _ in range(3)]
    best = {"learning_rate": 5e-5, "rank": 8}
    assert [c.params for c in claims] == [best | {"seq_len": n} for n in (128, 512, 768)]
    assert b.claim() is None  # the final run must wait for all three
    for claim, value in zip(claims, (0.3, 0.05, 0.4), strict=True):
        b.finish(claim, "complete", value, NOTHING, {})
    final = b.claim()
    assert (final.stage, final.params) == (2, best | {"seq_len": 512})


def test_a_stage_without_any_result_ends_the_sweep():
    b = board(None, preset="coursework")
    for _ in range(9):
        b.finish(b.claim(), "failed", None, NOTHING, {})
    with pytest.raises(LvloraError, match="stage context: no trial before it"):
        b.claim()


@pytest.mark.parametrize("seed", [0, 1])
def test_sampled_trials_do_not_depend_on_who_was_interrupted(seed):
    space = Space({"learning_rate": Range(1e-5, 1e-2, log=True), "rank": Range(2, 64, whole=True)})

    def value(params):
        return abs(params["learning_rate"] - 1e-3) + params["rank"] / 100

    def made(interrupted: set[int]) -> list[tuple[int, dict]]:
        b = board(space, seed=seed, trials=14)
        while b.unfinished():
            claim = b.claim()
            if claim.slot in interrupted:
                interrupted = interrupted - {claim.slot}
                b.give_back(claim, NOTHING)
                continue
            b.finish(claim, "complete", value(claim.params), NOTHING, {})
        return [(a.slot, a.params) for a in b.records()]

    whole = made(set())
    assert made({0, 6, 13}) == whole
    assert len({p["learning_rate"] for _, p in whole}) == 14


def test_pruners_count_in_thousandths_of_the_flops():
    b = board(Space({"rank": Choice(tuple(range(1, 9)))}))
    b.study.pruner = pruner("halving")
    pruned = []
    for quality in (0.1, 0.9, 0.05, 0.8):
        claim = b.claim()
        claim.trial.report(quality, 250)
        if claim.trial.should_prune():
            pruned.append(claim.slot)
            b.finish(claim, "pruned", quality, NOTHING, {})
        else:
            b.finish(claim, "complete", quality, NOTHING, {})
    assert pruned == [1, 3]
    assert [a.state for a in b.records()] == ["complete", "pruned", "complete", "pruned"]
    assert b.best().slot == 2
    assert pruner("none").prune(b.study, b.study.trials[0]) is False
    assert type(pruner("hyperband")).__name__ == "HyperbandPruner"
