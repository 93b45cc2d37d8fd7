"""The board of trials: which is next, whose it is, and what became of those of the dead."""

from __future__ import annotations

import os
import time

import optuna
import pytest
from sweeping import claim, finish, give_back

from lvlora.errors import LvloraError
from lvlora.flops import process_lock
from lvlora.flops.budget import NOTHING, Price
from lvlora.settings.training import SweepSettings, TrainSettings
from lvlora.sweep import storage
from lvlora.sweep import study as sweep_study
from lvlora.sweep.plan import make_plan
from lvlora.sweep.space import Choice, Range, Space
from lvlora.sweep.stages import stages_of
from lvlora.sweep.study import SharedStudy, importances, pruner, slot_of, state_of
from lvlora.train.schedule import Cost

STEP = Cost(Price(10, 20), Price(1, 2))
GRID = Space({"rank": Choice((2, 4)), "learning_rate": Choice((1e-4, 1e-3))})
FACTS = {"settings": {}, "stages": [], "data_sha256": ""}
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
    mine = claim(a_board)
    assert mine is not None
    finish(a_board, mine, "complete", value, Price(5, 6), {"mae": value})
    return mine.slot


def test_a_grid_is_made_in_order_and_then_is_over():
    b = board()
    seen = []
    while b.unfinished():
        mine = claim(b)
        seen.append(mine.params)
        finish(b, mine, "complete", 1.0 / (1 + mine.slot), Price(5, 6), {})
    assert seen == [dict(p) for p in b.plan.stages[0].points]
    assert [slot_of(t) for t in b.records()] == [0, 1, 2, 3]
    assert slot_of(b.best()) == 3
    assert b.committed() == Price(20, 24)
    assert claim(b) is None


def test_of_equals_the_first_is_the_best():
    b = board()
    for _ in range(4):
        complete(b, 0.5)
    assert slot_of(b.best()) == 0


def test_trials_that_failed_count_and_are_never_the_best():
    b = board()
    mine = claim(b)
    finish(b, mine, "failed", None, Price(1, 1), {"reason": "not finite"})
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
    give_back(b, mine, Price(3, 4))
    again = claim(b)
    assert (again.slot, again.params) == (mine.slot, mine.params)
    assert again.trial.number != mine.trial.number
    assert b.spent_on(mine.slot, again.trial.number) == Price(3, 4)
    assert [state_of(t) for t in b.records()] == ["complete", "running"]


def test_two_that_take_the_same_slot_do_not_both_make_it():
    b = board()
    # another process has chosen slot 0, too, before it saw ours
    b.study.enqueue_trial({"rank": 2, "learning_rate": 1e-4}, {"slot": 0})
    b.study.enqueue_trial({"rank": 2, "learning_rate": 1e-4}, {"slot": 0})
    slots = [claim(b).slot for _ in range(4)]
    assert slots == [0, 1, 2, 3]
    assert claim(b) is None


@pytest.mark.parametrize("held_by", [DEAD, None])
def test_the_trials_of_the_dead_are_made_again(held_by, monkeypatch):
    b = board()
    monkeypatch.setattr(sweep_study, "_BEGINNING_SECONDS", -1.0)
    mine = claim(b)
    mine.trial.set_user_attr("start", {} if held_by is None else {"holder": held_by})
    assert b.recover(lambda attempt: Price(7, 8)) == [mine.slot] == [0]
    assert claim(b).params == mine.params
    assert b.committed(before=1) == Price(7, 8)


def test_what_nobody_knows_is_charged_in_full():
    b = board()
    mine = claim(b)
    b.price(mine, Price(100, 200))
    mine.trial.set_user_attr("start", {**mine.trial.user_attrs["start"], "holder": DEAD})
    b.recover(lambda attempt: None)
    assert b.committed() == Price(100, 200)


def test_the_living_keep_their_trials():
    b = board()
    mine = claim(b)
    start = mine.trial.user_attrs["start"]
    # the parent of this process lives, on this machine
    host, _, _, tail = process_lock.this_process().split(":")
    parent = f"{host}:{os.getppid()}:{process_lock._start_time(os.getppid())}:{tail}"
    mine.trial.set_user_attr("start", {**start, "holder": parent})
    assert b.recover(lambda attempt: NOTHING) == []


def test_of_another_machine_a_database_knows_by_its_heartbeats(tmp_path, monkeypatch):
    """Optuna beats the heart of a trial that it makes, and fails one whose heart stopped."""
    settings = SweepSettings(runs=tmp_path, storage=f"sqlite:///{tmp_path / 'studies.db'}")
    b = board()
    monkeypatch.setattr(storage, "_HEARTBEAT_SECONDS", 1)
    monkeypatch.setattr(storage, "STALE_SECONDS", 2)
    b.study = storage.make(settings, b.plan, FACTS, pruner("none"))
    mine = claim(b)
    mine.trial.set_user_attr("start", {"holder": ELSEWHERE, "price": ["5", "6"]})
    b.study._storage.record_heartbeat(mine.trial._trial_id)
    assert b.recover(lambda attempt: NOTHING) == []
    time.sleep(3)
    b.recover(lambda attempt: NOTHING)
    made = []

    def objective(trial):
        made.append(b.claim(trial))
        b.end(made[-1], "complete", 0.5, Price(1, 2), {})
        return 0.5

    assert b.queue()
    b.study.optimize(objective, n_trials=1)
    assert [(one.slot, one.params) for one in made] == [(0, mine.params)]
    assert b.committed() == Price(5 + 1, 6 + 2)


def test_of_two_that_begin_at_once_the_later_sees_the_earlier():
    b = board()
    first, second = claim(b), claim(b)
    b.price(first, Price(100, 0))
    b.price(second, Price(100, 0))
    assert b.committed(first.trial.number) == NOTHING
    assert b.committed(second.trial.number) == Price(100, 0)
    assert b.committed() == Price(200, 0)


def test_later_stages_begin_from_the_best():
    b = board(None, preset="coursework")
    for slot in range(9):
        complete(b, 1.0 if slot != 5 else 0.1)
    claims = [claim(b) for _ in range(3)]
    best = {"learning_rate": 5e-5, "rank": 8}
    assert [c.params for c in claims] == [best | {"seq_len": n} for n in (128, 512, 768)]
    assert claim(b) is None  # the final run must wait for all three
    for mine, value in zip(claims, (0.3, 0.05, 0.4), strict=True):
        finish(b, mine, "complete", value, NOTHING, {})
    final = claim(b)
    assert (final.stage, final.params) == (2, best | {"seq_len": 512})


def test_a_stage_without_any_result_ends_the_sweep():
    b = board(None, preset="coursework")
    for _ in range(9):
        finish(b, claim(b), "failed", None, NOTHING, {})
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
                give_back(b, mine, NOTHING)
                continue
            finish(b, mine, "complete", value(mine.params), NOTHING, {})
        return [(slot_of(t), t.params) for t in b.records()]

    whole = made(set())
    assert made({0, 6, 13}) == whole
    assert len({p["learning_rate"] for _, p in whole}) == 14


def test_pruners_count_in_thousandths_of_the_flops():
    b = board(Space({"rank": Choice(tuple(range(1, 9)))}))
    b.study.pruner = pruner("halving")
    pruned = []
    for quality in (0.1, 0.9, 0.05, 0.8):
        mine = claim(b)
        mine.trial.report(quality, 250)
        if mine.trial.should_prune():
            pruned.append(mine.slot)
            finish(b, mine, "pruned", quality, NOTHING, {})
        else:
            finish(b, mine, "complete", quality, NOTHING, {})
    assert pruned == [1, 3]
    assert [state_of(t) for t in b.records()] == ["complete", "pruned", "complete", "pruned"]
    assert slot_of(b.best()) == 2
    assert pruner("none").prune(b.study, b.study.trials[0]) is False
    assert type(pruner("hyperband")).__name__ == "HyperbandPruner"


SPACE = Space(
    {
        "learning_rate": Range(1e-5, 1e-2, log=True),
        "rank": Range(2, 8, whole=True),
        "targets": Choice(("q_proj", "v_proj")),
        "dropout": Range(0.0, 0.2, step=0.1),
    }
)


def trials(value, n=24):
    found = []
    for i in range(n):
        params = {
            "learning_rate": 10 ** (-5 + 3 * (i * 7 % n) / n),
            "rank": 2 + i % 7,
            "targets": ("q_proj", "v_proj")[i % 2],
            "dropout": (0.0, 0.1, 0.2)[i % 3],
        }
        found.append((params, value(params)))
    return found


def test_what_decides_has_the_largest_share():
    found = importances(SPACE, trials(lambda p: p["rank"] ** 2 + 10 * p["dropout"]))
    assert max(found, key=found.__getitem__) == "rank"
    assert sum(found.values()) == pytest.approx(1)
    assert found == importances(SPACE, trials(lambda p: p["rank"] ** 2 + 10 * p["dropout"]))


def test_a_name_can_decide():
    found = importances(SPACE, trials(lambda p: float(p["targets"] == "v_proj")))
    assert found["targets"] > 0.8


def test_where_nothing_can_be_said_nothing_is():
    assert importances(SPACE, []) == {}
    assert importances(SPACE, trials(lambda p: 1.0)) == {}
    assert importances(SPACE, trials(lambda p: float(p["rank"]))[:3]) == {}
    one = Space({"rank": Choice((2, 4, 6, 8))})
    assert importances(one, [({"rank": 2 * i}, 0.1 * i) for i in range(1, 5)]) == {}
