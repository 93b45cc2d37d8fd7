"""The study: which trials there are, who makes them, and which is next. An Optuna storage keeps it.

Knows: Optuna, processes that died. Does not know: training, prices, terminals.

A sweep has a fixed number of *slots*, the trials as people count them. Optuna's trials are
*attempts* at a slot: one that was interrupted or killed is marked as failed and its slot is free
again, with the same parameters. Of two attempts at one slot the later gives way, so any number of
processes may share a study without a lock of their own.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from lvlora.errors import LvloraError
from lvlora.flops import holder
from lvlora.flops.budget import NOTHING, Price
from lvlora.train.sweep_plan import Plan
from lvlora.train.sweep_space import Params, Space, merged

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

State = Literal["waiting", "running", "complete", "pruned", "failed", "lost"]
COUNTS: tuple[State, ...] = ("waiting", "running", "complete", "pruned", "failed")
"""States in which an attempt takes its slot."""
OVER: tuple[State, ...] = ("complete", "pruned", "failed")

HEARTBEAT_SECONDS = 60.0
STALE_SECONDS = 900.0
"""A process on another machine counts as dead when it has not been heard of for so long."""
_BEGINNING_SECONDS = 60.0
REACH = 1000
"""A pruner's resource: thousandths of the FLOPs of the dearest trial."""


@dataclass(frozen=True)
class Attempt:
    """One Optuna trial.

    Attributes:
        start: what was known when it began (holder, price); end: what came out.
        heard, began, ended: seconds since 1970: the last heartbeat, the first and last moment.
        spent: FLOPs that it was charged; None while it runs.
    """

    number: int
    slot: int
    state: State
    params: Params
    value: float | None
    start: dict[str, Any]
    end: dict[str, Any]
    heard: float | None
    began: float | None
    ended: float | None
    spent: Price | None


@dataclass(frozen=True)
class Claim:
    """An attempt that this process is to make."""

    trial: Trial
    slot: int
    stage: int
    params: Params


class Board:
    """All trials of a study, as its plan counts them.

    Args:
        sampler: grid, random or tpe; drawn for each slot from (seed, slot), so that what is
            sampled does not depend on which process does it.
    """

    def __init__(self, study: Study, plan: Plan, sampler: str, seed: int) -> None:
        self.study = study
        self.plan = plan
        self.sampler = sampler
        self.seed = seed

    def attempts(self) -> list[Attempt]:
        """Every attempt, in Optuna's order; those that gave way are left out."""
        lost = self.study.user_attrs
        found = [_attempt(t, lost.get(f"lost:{t.number}")) for t in self.study.get_trials(False)]
        return [attempt for attempt in found if attempt is not None]

    def records(self) -> list[Attempt]:
        """The attempt that counts of each slot that has one, in the slots' order."""
        return sorted(_counting(self.attempts()).values(), key=lambda a: a.slot)

    def best(self) -> Attempt | None:
        """The complete trial with the lowest error; of equals, the first."""
        return _best(self.records())

    def unfinished(self) -> bool:
        """Some slot has no result yet."""
        return self._current(_counting(self.attempts())) is not None

    def claim(self) -> Claim | None:
        """The next attempt to make; None while other processes make all that could be made now.

        Call it only while `unfinished`.

        Raises:
            LvloraError: a stage cannot begin because no trial before it has a result.
        """
        from optuna.trial import TrialState

        while True:
            attempts = self.attempts()
            counting = _counting(attempts)
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
            earlier = _counting(a for a in self.attempts() if a.number < trial.number)
            if mine is None or mine in earlier:
                # another process was faster
                trial.set_user_attr("end", {"outcome": "void"})
                self.study.tell(trial, state=TrialState.FAIL)
                continue
            trial.set_user_attr("start", {"holder": holder.this_process()})
            index = self.plan.stage_of(mine)
            params = {
                name: dimension.suggest(trial, name)
                for name, dimension in self._space_of(index).dimensions.items()
            }
            return Claim(trial, mine, index, params)

    def price(self, claim: Claim, most: Price, **facts: Any) -> None:
        """Record what an attempt may cost, before it spends anything."""
        start = {**claim.trial.user_attrs["start"], **facts, "price": _as_text(most)}
        claim.trial.set_user_attr("start", start)

    def finish(
        self,
        claim: Claim,
        outcome: State,
        value: float | None,
        spent: Price,
        facts: Mapping[str, Any],
    ) -> None:
        """Record a result: complete, pruned or failed."""
        from optuna.trial import TrialState

        end = {**facts, "outcome": outcome, "value": value, "spent": _as_text(spent)}
        claim.trial.set_user_attr("end", end)
        if outcome == "complete":
            self.study.tell(claim.trial, value)
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
        dead = [a for a in self.attempts() if a.state == "running" and not _is_alive(a)]
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
            return _from_text(price)
        return self.plan.allotments[self.plan.stage_of(attempt.slot)].most

    def _lose(self, number: int, spent: Price) -> None:
        from optuna.trial import TrialState

        # the study's attribute first: a failed trial without it would look like a slot's result
        self.study.set_user_attr(f"lost:{number}", {"spent": _as_text(spent)})
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
        counting = _counting(attempts)
        for earlier in reversed(range(index)):
            slots = self.plan.slots(earlier)
            best = _best([counting[s] for s in slots if s in counting])
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


def _attempt(trial: FrozenTrial, lost: Mapping[str, Any] | None) -> Attempt | None:
    attrs = trial.user_attrs
    end = dict(attrs.get("end", {}))
    if "slot" not in attrs or end.get("outcome") == "void":
        return None
    state: State
    if lost is not None:
        state = "lost"
    elif trial.state.name == "FAIL":
        state = "failed" if end.get("outcome") == "failed" else "lost"
    else:
        names: dict[str, State] = {"WAITING": "waiting", "RUNNING": "running", "PRUNED": "pruned"}
        state = names.get(trial.state.name, "complete")
    spent = None
    if lost is not None:
        spent = _from_text(lost["spent"])
    elif state != "running" and "spent" in end:
        spent = _from_text(end["spent"])
    began, ended = (
        None if moment is None else moment.timestamp()
        for moment in (trial.datetime_start, trial.datetime_complete)
    )
    return Attempt(
        number=trial.number,
        slot=int(attrs["slot"]),
        state=state,
        params=dict(trial.params),
        value=end.get("value"),
        start=dict(attrs.get("start", {})),
        end=end,
        heard=attrs.get("heartbeat"),
        began=began,
        ended=ended,
        spent=spent,
    )


def _counting(attempts: Any) -> dict[int, Attempt]:
    """Slot → the first attempt that takes it."""
    found: dict[int, Attempt] = {}
    for attempt in attempts:
        if attempt.state in COUNTS:
            found.setdefault(attempt.slot, attempt)
    return found


def _best(attempts: Sequence[Attempt]) -> Attempt | None:
    complete = [a for a in attempts if a.state == "complete" and a.value is not None]
    return min(complete, key=lambda a: (a.value or 0.0, a.slot), default=None)


def _is_alive(attempt: Attempt) -> bool:
    held_by = attempt.start.get("holder")
    if held_by is None:  # it was taken a moment ago, or by a process that died at that moment
        return attempt.began is not None and time.time() - attempt.began < _BEGINNING_SECONDS
    if holder.is_on_this_machine(held_by):
        return holder.is_another_living_process(held_by)
    heard = attempt.heard or attempt.began
    return heard is not None and time.time() - heard < STALE_SECONDS


def _as_text(price: Price) -> list[str]:
    return [str(price.executed), str(price.coursework)]


def _from_text(pair: Sequence[str]) -> Price:
    return Price(int(pair[0]), int(pair[1]))
