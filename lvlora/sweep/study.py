"""The study: which trials there are, who makes them, and which is next.

Of two attempts at one slot (see `lvlora.sweep.attempts`) the later gives way, so any number
of processes may share a study without a lock of their own.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lvlora.errors import LvloraError
from lvlora.flops import process_lock
from lvlora.flops.budget import NOTHING, Price
from lvlora.sweep.attempts import (
    OVER,
    Attempt,
    State,
    as_text,
    attempt_of,
    best_of,
    by_slot,
    from_text,
    front_of,
    importances,
    is_alive,
)
from lvlora.sweep.plan import SearchPlan
from lvlora.sweep.space import Params, Space, merged

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler

HEARTBEAT_SECONDS = 60.0
REACH = 1000
"""A pruner's resource: thousandths of the FLOPs of the dearest trial."""


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

    def attempts(self) -> list[Attempt]:
        """Every attempt, in Optuna's order; those that gave way are left out."""
        lost = self.study.user_attrs
        found = [attempt_of(t, lost.get(f"lost:{t.number}")) for t in self.study.get_trials(False)]
        return [attempt for attempt in found if attempt is not None]

    def records(self) -> list[Attempt]:
        """The attempt that counts of each slot that has one, in the slots' order."""
        return sorted(by_slot(self.attempts()).values(), key=lambda a: a.slot)

    def best(self) -> Attempt | None:
        """The complete trial with the lowest error; of equals, the first."""
        return best_of(self.records())

    def front(self, convention: str) -> list[Attempt]:
        """The complete trials that no other beats in both error and FLOPs, the cheapest first."""
        return front_of(self.records(), convention)

    def importances(self) -> dict[str, float]:
        """What the differences between the trials of the first stage come from."""
        own = self.plan.slots(0)
        return importances(self.plan.stages[0].space, [a for a in self.records() if a.slot in own])

    def unfinished(self) -> bool:
        """Some slot has no result yet."""
        return self._current(by_slot(self.attempts())) is not None

    def claim(self) -> Claim | None:
        """The next attempt to make; None while other processes make all that could be made now.

        Call it only while `unfinished`.

        Raises:
            LvloraError: a stage cannot begin because no trial before it has a result.
        """
        from optuna.trial import TrialState

        while True:
            attempts = self.attempts()
            counting = by_slot(attempts)
            stage = self._current(counting)
            if stage is None:
                return None
            waiting = [a for a in attempts if a.state == "waiting"]
            if waiting:
                slot = waiting[0].slot
            else:
                free = [s for s in self.plan.slots(stage) if s not in counting]
                if not free:
                    return None
                slot = free[0]
                self.study.enqueue_trial(self._fixed(slot, attempts), {"slot": slot})
            self.study.sampler = self._sampler_of(slot)
            trial = self.study.ask()
            mine = trial.user_attrs.get("slot")
            earlier = by_slot(a for a in self.attempts() if a.number < trial.number)
            if mine is None or mine in earlier:
                # another process was faster
                trial.set_user_attr("end", {"outcome": "void"})
                self.study.tell(trial, state=TrialState.FAIL)
                continue
            trial.set_user_attr("start", {"holder": process_lock.this_process()})
            index = self.plan.stage_of(mine)
            params = {
                name: dimension.suggest(trial, name)
                for name, dimension in self._space_of(index).dimensions.items()
            }
            return Claim(trial, mine, index, params)

    def price(self, claim: Claim, at_most: Price, **facts: Any) -> None:
        """Record what an attempt may cost, before it spends anything."""
        start = {**claim.trial.user_attrs["start"], **facts, "price": as_text(at_most)}
        claim.trial.set_user_attr("start", start)

    def finish(
        self,
        claim: Claim,
        outcome: State,
        value: float | None,
        spent: Price,
        facts: Mapping[str, Any],
        cost: int | None = None,
    ) -> None:
        """Record a result: complete, pruned or failed.

        Args:
            cost: FLOPs of the whole trial, where they are the study's second objective.
        """
        from optuna.trial import TrialState

        end = {**facts, "outcome": outcome, "value": value, "spent": as_text(spent)}
        claim.trial.set_user_attr("end", end)
        if outcome == "complete":
            assert value is not None
            self.study.tell(claim.trial, value if cost is None else [value, float(cost)])
        else:
            state = TrialState.PRUNED if outcome == "pruned" else TrialState.FAIL
            self.study.tell(claim.trial, state=state)

    def give_back(self, claim: Claim, spent: Price) -> None:
        """The attempt ends without a result: its slot is free, its parameters are kept."""
        self._lose(claim.trial.number, spent)

    def recover(self, charge: Any) -> list[Attempt]:
        """Give back the attempts of processes that died; returns them.

        Args:
            charge: a function of the attempt: what it is charged, or None if nobody knows.
        """
        dead = [a for a in self.attempts() if a.state == "running" and not is_alive(a)]
        for attempt in dead:
            spent = charge(attempt)
            self._lose(attempt.number, self._at_most(attempt) if spent is None else spent)
        return dead

    def committed(self, before: int | None = None) -> Price:
        """What all attempts have spent or may still spend.

        Args:
            before: only attempts with a lower number are counted while they run: of two that
                begin at once, the later sees the earlier.
        """
        total = NOTHING
        for attempt in self.attempts():
            if attempt.state == "waiting":
                continue
            if attempt.state == "running" and before is not None and attempt.number >= before:
                continue
            total += self._at_most(attempt) if attempt.spent is None else attempt.spent
        return total

    def spent_on(self, slot: int, before: int) -> Price:
        """What earlier attempts at a slot were charged."""
        own = [a for a in self.attempts() if a.slot == slot and a.number < before]
        return sum((a.spent or NOTHING for a in own), NOTHING)

    def _at_most(self, attempt: Attempt) -> Price:
        price = attempt.start.get("price")
        if price is not None:
            return from_text(price)
        return self.plan.allotments[self.plan.stage_of(attempt.slot)].at_most

    def _lose(self, number: int, spent: Price) -> None:
        from optuna.trial import TrialState

        # the study's attribute first: a failed trial without it would look like a slot's result
        self.study.set_user_attr(f"lost:{number}", {"spent": as_text(spent)})
        self.study.tell(number, state=TrialState.FAIL, skip_if_finished=True)

    def _current(self, counting: Mapping[int, Attempt]) -> int | None:
        """The first stage that is not over."""
        for index in range(len(self.plan.stages)):
            slots = self.plan.slots(index)
            if any(s not in counting or counting[s].state not in OVER for s in slots):
                return index
        return None

    def _space_of(self, index: int) -> Space:
        """All that is set in a trial of this stage: its own dimensions and those it inherits."""
        stages = self.plan.stages
        if not stages[index].follows:
            return stages[index].space
        return merged([stage.space for stage in stages[: index + 1]])

    def _fixed(self, slot: int, attempts: Sequence[Attempt]) -> Params:
        """The parameters that are already decided for a slot."""
        index = self.plan.stage_of(slot)
        stage = self.plan.stages[index]
        fixed: Params = {}
        if stage.follows:
            fixed |= self._best_before(index, attempts).params
        if stage.points is not None:
            fixed |= stage.points[slot - self.plan.slots(index).start]
        for attempt in attempts:
            if attempt.slot == slot and attempt.state == "lost":
                fixed |= attempt.params
        return fixed

    def _best_before(self, index: int, attempts: Sequence[Attempt]) -> Attempt:
        counting = by_slot(attempts)
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


@contextlib.contextmanager
def heartbeat(trial: Trial) -> Iterator[None]:
    """Tell other machines now and then that this attempt is alive."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(HEARTBEAT_SECONDS):
            with contextlib.suppress(Exception):  # a beat that is missed is no reason to stop
                trial.set_user_attr("heartbeat", time.time())

    trial.set_user_attr("heartbeat", time.time())
    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
