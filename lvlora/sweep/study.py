"""The study: which trials there are, who makes them, and which is next.

A sweep has a fixed number of *slots*, the trials as people count them. Optuna's trials are
*attempts* at a slot. One that was interrupted or killed is a failed trial without an end, and
Optuna's own `RetryHeartbeatStaleTrialCallback` queues it again with the same parameters. Of two
attempts at one slot the later gives way, so any number of processes may share a study.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from lvlora.errors import LvloraError
from lvlora.flops import process_lock
from lvlora.flops.budget import NOTHING, Price
from lvlora.sweep.plan import SearchPlan
from lvlora.sweep.space import Params, Space, merged

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

REACH = 1000
"""A pruner's resource: thousandths of the FLOPs of the dearest trial."""
LEAST_TRIALS = 4
"""Importances of fewer trials mean nothing."""
_BEGINNING_SECONDS = 60.0

State = Literal["waiting", "running", "complete", "pruned", "failed"]
OVER: tuple[State, ...] = ("complete", "pruned", "failed")


def slot_of(trial: FrozenTrial) -> int:
    """Return the slot that an attempt is at."""
    return int(trial.user_attrs["slot"])


def state_of(trial: FrozenTrial) -> State | None:
    """Return the state in which an attempt takes its slot; None where it was lost or gave way."""
    if trial.state.name == "FAIL":
        return "failed" if end_of(trial).get("outcome") == "failed" else None
    names: dict[str, State] = {"WAITING": "waiting", "RUNNING": "running", "PRUNED": "pruned"}
    return names.get(trial.state.name, "complete")


def end_of(trial: FrozenTrial) -> dict[str, Any]:
    """Return what came of an attempt: outcome, value, FLOPs, …; empty while it runs."""
    end: dict[str, Any] = trial.user_attrs.get("end", {})
    return end


def by_slot(trials: Iterable[FrozenTrial]) -> dict[int, FrozenTrial]:
    """Slot → the first attempt that takes it."""
    taken: dict[int, FrozenTrial] = {}
    for trial in trials:
        if state_of(trial) is not None:
            taken.setdefault(slot_of(trial), trial)
    return taken


def _valued(trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """The complete attempts with a value."""
    return [t for t in trials if state_of(t) == "complete" and end_of(t).get("value") is not None]


def best_of(trials: Iterable[FrozenTrial]) -> FrozenTrial | None:
    """Return the complete attempt with the lowest value; of equals, the first."""
    return min(_valued(trials), key=lambda t: (end_of(t)["value"], slot_of(t)), default=None)


def front_of(trials: Iterable[FrozenTrial], convention: str) -> list[FrozenTrial]:
    """The complete attempts that no other beats in both value and FLOPs, the cheapest first."""

    def cost(trial: FrozenTrial) -> int:
        return int((end_of(trial).get("flops") or {}).get(convention, 0))

    front: list[FrozenTrial] = []
    for trial in sorted(_valued(trials), key=lambda t: (cost(t), end_of(t)["value"], slot_of(t))):
        if not front or end_of(trial)["value"] < end_of(front[-1])["value"]:
            front.append(trial)
    return front


def is_alive(trial: FrozenTrial) -> bool:
    """Whether somebody may still work on a running attempt.

    Of one on another machine nothing is known here: a database's heartbeats end it.
    """
    holder = trial.user_attrs.get("start", {}).get("holder")
    if holder is None:  # it was taken a moment ago, or by a process that died at that moment
        began = trial.datetime_start
        return began is not None and time.time() - began.timestamp() < _BEGINNING_SECONDS
    if process_lock.is_on_this_machine(holder):
        return process_lock.is_another_living_process(holder)
    return True


def as_text(price: Price) -> list[str]:
    """For a storage; FLOPs as text, they pass 2^53."""
    return [str(price.executed), str(price.coursework)]


def from_text(pair: Sequence[str]) -> Price:
    """The inverse of `as_text`."""
    return Price(int(pair[0]), int(pair[1]))


@dataclass(frozen=True)
class Claim:
    """An attempt that this process is to make."""

    trial: Trial
    slot: int
    stage: int
    params: Params


class SharedStudy:
    """All trials of a study, as its plan counts them.

    Args:
        sampler: grid, random or tpe; drawn for each slot from (seed, slot), so that what is
            sampled does not depend on which process does it.
    """

    def __init__(self, study: Study, plan: SearchPlan, sampler: str, seed: int) -> None:
        self.study = study
        self.plan = plan
        self.sampler = sampler
        self.seed = seed

    def attempts(self) -> list[FrozenTrial]:
        """Every attempt, in Optuna's order."""
        return [t for t in self.study.get_trials(deepcopy=False) if "slot" in t.user_attrs]

    def records(self) -> list[FrozenTrial]:
        """The attempt that counts of each slot that has one, in the slots' order."""
        return [trial for _, trial in sorted(by_slot(self.attempts()).items())]

    def best(self) -> FrozenTrial | None:
        """The complete trial with the lowest error; of equals, the first."""
        return best_of(self.records())

    def front(self, convention: str) -> list[FrozenTrial]:
        """The complete trials that no other beats in both error and FLOPs, the cheapest first."""
        return front_of(self.records(), convention)

    def importances(self) -> dict[str, float]:
        """What the differences between the trials of the first stage come from."""
        own = self.plan.slots(0)
        trials = [t for t in self.records() if slot_of(t) in own]
        rows = [(dict(t.params), end_of(t)["value"]) for t in _valued(trials)]
        return importances(self.plan.stages[0].space, rows)

    def unfinished(self) -> bool:
        """Some slot has no result yet."""
        return self._current(by_slot(self.attempts())) is not None

    def queue(self) -> bool:
        """Let a trial wait for `Study.ask`, if one can be made now.

        Returns:
            False while other processes make all that could be made, or where all is done.

        Raises:
            LvloraError: a stage cannot begin because no trial before it has a result.
        """
        trials = self.attempts()
        counting = by_slot(trials)
        stage = self._current(counting)
        if stage is None:
            return False
        waiting = [slot_of(t) for t in trials if t.state.name == "WAITING"]
        free = waiting or [s for s in self.plan.slots(stage) if s not in counting]
        if not free:
            return False
        if not waiting:
            self._queue(free[0], trials, counting)
        self.study.sampler = self._sampler_of(free[0])
        return True

    def claim(self, trial: Trial) -> Claim | None:
        """Take the slot of a trial that was asked for; None where another process was faster."""
        slot = trial.user_attrs.get("slot")
        earlier = by_slot(t for t in self.attempts() if t.number < trial.number)
        if slot is None or slot in earlier:
            trial.set_user_attr("start", {"price": as_text(NOTHING)})
            return None
        trial.set_user_attr("start", {"holder": process_lock.this_process()})
        index = self.plan.stage_of(slot)
        params = {
            name: dimension.suggest(trial, name)
            for name, dimension in self._space_of(index).dimensions.items()
        }
        return Claim(trial, slot, index, params)

    def price(self, claim: Claim, at_most: Price, **facts: Any) -> None:
        """Record what an attempt may cost, before it spends anything."""
        start = {**claim.trial.user_attrs["start"], **facts, "price": as_text(at_most)}
        claim.trial.set_user_attr("start", start)

    def end(
        self,
        claim: Claim,
        outcome: State,
        value: float | None,
        spent: Price,
        facts: Mapping[str, Any],
    ) -> None:
        """Record a result, complete, pruned or failed, before Optuna is told of it."""
        end = {**facts, "outcome": outcome, "value": value, "spent": as_text(spent)}
        claim.trial.set_user_attr("end", end)

    def lose(self, number: int, spent: Price) -> None:
        """Record what an attempt that fails without an end has spent; its slot will be free."""
        self.study.set_user_attr(f"lost:{number}", {"spent": as_text(spent)})

    def recover(self, charge: Callable[[FrozenTrial], Price | None]) -> list[int]:
        """Fail the attempts of processes that died here; returns their slots.

        Those whose heartbeats a database misses fail as well, charged what they could cost.

        Args:
            charge: what an attempt is charged, or None if nobody knows.
        """
        from optuna.exceptions import ExperimentalWarning
        from optuna.storages import fail_stale_trials
        from optuna.trial import TrialState

        dead = [t for t in self.attempts() if state_of(t) == "running" and not is_alive(t)]
        for trial in dead:
            spent = charge(trial)
            self.lose(trial.number, self.spent_by(trial) if spent is None else spent)
            self.study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            fail_stale_trials(self.study)
        return [slot_of(trial) for trial in dead]

    def committed(self, before: int | None = None) -> Price:
        """What all attempts have spent or may still spend.

        Args:
            before: only attempts with a lower number are counted while they run: of two that
                begin at once, the later sees the earlier.
        """
        return sum(
            (
                self.spent_by(trial)
                for trial in self.attempts()
                if not (
                    before is not None and trial.number >= before and not trial.state.is_finished()
                )
            ),
            NOTHING,
        )

    def spent_on(self, slot: int, before: int) -> Price:
        """What earlier attempts at a slot were charged."""
        own = [t for t in self.attempts() if slot_of(t) == slot and t.number < before]
        return sum((self.spent_by(t) for t in own if t.state.is_finished()), NOTHING)

    def spent_by(self, trial: FrozenTrial) -> Price:
        """What an attempt has spent; while it runs, the most that it may spend."""
        if trial.state.name == "WAITING":
            return NOTHING
        lost = self.study.user_attrs.get(f"lost:{trial.number}")
        start = trial.user_attrs.get("start", {})
        text = start.get("price") if lost is None else lost["spent"]
        if lost is None and trial.state.is_finished():
            text = end_of(trial).get("spent", text)
        if text is not None:
            return from_text(text)
        return self.plan.allotments[self.plan.stage_of(slot_of(trial))].at_most

    def _queue(
        self, slot: int, trials: Sequence[FrozenTrial], counting: Mapping[int, FrozenTrial]
    ) -> None:
        """Queue a slot: again as it was, or with the parameters that are decided already."""
        from optuna.exceptions import ExperimentalWarning
        from optuna.storages import RetryHeartbeatStaleTrialCallback

        lost = [t for t in trials if slot_of(t) == slot]
        if lost:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                RetryHeartbeatStaleTrialCallback()(self.study, lost[0])
            return
        index = self.plan.stage_of(slot)
        stage = self.plan.stages[index]
        fixed: Params = {}
        if stage.follows:
            fixed |= self._best_before(index, counting).params
        if stage.points is not None:
            fixed |= stage.points[slot - self.plan.slots(index).start]
        self.study.enqueue_trial(fixed, {"slot": slot})

    def _current(self, counting: Mapping[int, FrozenTrial]) -> int | None:
        """The first stage that is not over."""
        for index in range(len(self.plan.stages)):
            slots = self.plan.slots(index)
            if any(s not in counting or state_of(counting[s]) not in OVER for s in slots):
                return index
        return None

    def _space_of(self, index: int) -> Space:
        """All that is set in a trial of this stage: its own dimensions and those it inherits."""
        stages = self.plan.stages
        if not stages[index].follows:
            return stages[index].space
        return merged([stage.space for stage in stages[: index + 1]])

    def _best_before(self, index: int, counting: Mapping[int, FrozenTrial]) -> FrozenTrial:
        for earlier in reversed(range(index)):
            slots = self.plan.slots(earlier)
            best = best_of([counting[s] for s in slots if s in counting])
            if best is not None:
                return best
        raise LvloraError(
            f"stage {self.plan.stages[index].name}: no trial before it has a result to go on from",
            "lvlora sweep --status shows why they failed; a smaller --learning-rate may help.",
        )

    def _sampler_of(self, slot: int) -> BaseSampler:
        from optuna.samplers import RandomSampler, TPESampler

        seed = int(np.random.SeedSequence([self.seed, slot]).generate_state(1)[0])
        if self.sampler == "tpe":
            startup = min(10, max(4, self.plan.n_trials // 3))
            return TPESampler(seed=seed, n_startup_trials=startup, constant_liar=True)
        return RandomSampler(seed=seed)


def importances(space: Space, rows: Sequence[tuple[Params, float]]) -> dict[str, float]:
    """Setting → its share of the variance of the trials' values (functional ANOVA; Hutter, Hoos &
    Leyton-Brown 2014); empty where there are too few trials, settings or differences.

    Args:
        space: what was searched.
        rows: parameters and value of each complete trial of that search.
    """
    import optuna

    names = [n for n in space.dimensions if len({params.get(n) for params, _ in rows}) > 1]
    if len(rows) < LEAST_TRIALS or len(names) < 2 or len({value for _, value in rows}) < 2:
        return {}
    distributions = {name: space.dimensions[name].distribution() for name in names}
    study = optuna.create_study()
    for params, value in rows:
        own = {name: params[name] for name in names}
        study.add_trial(
            optuna.trial.create_trial(params=own, distributions=distributions, value=value)
        )
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: float(share) for name, share in shares.items()}


def pruner(name: str) -> BasePruner:
    """Optuna's pruner of that name; its resource is counted in thousandths (`REACH`)."""
    from optuna.pruners import HyperbandPruner, NopPruner, SuccessiveHalvingPruner

    # rungs at a sixth, a third, two thirds: a little before the validations of a default run,
    # which come after each quarter of its steps
    least = REACH // 6
    if name == "halving":
        return SuccessiveHalvingPruner(min_resource=least, reduction_factor=2)
    if name == "hyperband":
        return HyperbandPruner(min_resource=least, max_resource=REACH, reduction_factor=2)
    return NopPruner()
