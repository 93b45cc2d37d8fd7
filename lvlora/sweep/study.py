"""An Optuna study as its plan counts it: slots, and the attempts at each.

A sweep has a fixed number of *slots*, the trials as people count them. Optuna's trials are
*attempts* at a slot. One that was interrupted or killed is a failed trial without an end, and
Optuna's own `RetryHeartbeatStaleTrialCallback` queues it again with the same parameters. Of two
attempts at one slot the later gives way, so any number of processes may share a study. The FLOPs
of all are in the ledger, which keeps the study's limit.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from lvlora.errors import LvloraError, SettingsError
from lvlora.flops import process_lock
from lvlora.sweep.plan import SearchPlan, Stage
from lvlora.sweep.settings import SweepSettings
from lvlora.sweep.space import Params, Space, merged

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

REACH = 1000
"""A pruner's resource: thousandths of the FLOPs of the dearest trial."""
_BEGINNING_SECONDS = 60.0
_ELSEWHERE = ("data", "max_flops", "preset", "space")
"""Settings that a study keeps in another form: as hash, limit and stages."""

State = Literal["waiting", "running", "complete", "pruned", "failed"]
OVER: tuple[State, ...] = ("complete", "pruned", "failed")


class StudyFacts(BaseModel):
    """The subject of a study, kept in it as JSON and compared with that of a later call."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    settings: dict[str, Any]
    data: str | None
    data_sha256: str
    sampler: str
    max_flops: int | None
    first_entry: int
    """Id of its first entry in the ledger: an earlier study may have had its name."""
    plan: SearchPlan

    @classmethod
    def of(cls, study: Study) -> StudyFacts:
        """Return those of a study.

        Raises:
            SettingsError: it was made by something else.
            ValueError: they are damaged.
        """
        facts = study.user_attrs.get("lvlora")
        if facts is None:
            raise SettingsError(
                f"--study {study.study_name}: was not made by lvlora sweep",
                "Choose another --study.",
            )
        return cls.model_validate(facts)

    def settings_as(self, settings: SweepSettings) -> SweepSettings:
        """Return the settings that the study was made with, kept at the place of these."""
        place = {"runs": settings.runs, "study": settings.study, "storage": settings.storage}
        subject = {**self.settings, "data": self.data, "max_flops": self.max_flops}
        return SweepSettings.model_validate({**subject, **place})

    def check(
        self, study: str, now: Mapping[str, Any], stages: Sequence[Stage], data_sha256: str
    ) -> None:
        """Refuse to go on with other settings, another space or other data.

        Args:
            study: its name; now: settings as `compared` gives them.

        Raises:
            SettingsError: names the differences.
        """
        before = self.settings
        changed = [
            f"--{name.replace('_', '-')} (was {before.get(name)}, not {now.get(name)})"
            for name in {**before, **now}
            if before.get(name) != now.get(name)
        ]
        changed += ["what is searched"] * (self.plan.stages != tuple(stages))
        changed += ["the data"] * (self.data_sha256 != data_sha256)
        if changed:
            raise SettingsError(
                f"study {study} is about something else: {', '.join(changed)}",
                "Start another one with --study NAME, or go on with the same settings.",
            )


def compared(settings: SweepSettings) -> dict[str, Any]:
    """Return the settings that must be the same whenever a study goes on, as JSON."""
    deciding = settings.deciding("result", "data", "model", "placement", "limit")
    return {name: value for name, value in deciding.items() if name not in _ELSEWHERE}


def slot_of(trial: FrozenTrial) -> int:
    """Return the slot of an attempt."""
    return int(trial.user_attrs["slot"])


def state_of(trial: FrozenTrial) -> State | None:
    """Return the state in which an attempt takes its slot; None where it was lost or gave way."""
    if trial.state.name == "FAIL":
        return "failed" if end_of(trial).get("outcome") == "failed" else None
    names: dict[str, State] = {"WAITING": "waiting", "RUNNING": "running", "PRUNED": "pruned"}
    return names.get(trial.state.name, "complete")


def end_of(trial: FrozenTrial) -> dict[str, Any]:
    """Return the result of an attempt: outcome, value, FLOPs, …; empty while it runs."""
    end: dict[str, Any] = trial.user_attrs.get("end", {})
    return end


def _by_slot(trials: Iterable[FrozenTrial]) -> dict[int, FrozenTrial]:
    """Return slot → the first attempt that takes it."""
    taken: dict[int, FrozenTrial] = {}
    for trial in trials:
        if state_of(trial) is not None:
            taken.setdefault(slot_of(trial), trial)
    return taken


def _valued(trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    return [t for t in trials if state_of(t) == "complete" and end_of(t).get("value") is not None]


def _best(trials: Iterable[FrozenTrial]) -> FrozenTrial | None:
    """Return the complete attempt with the lowest value; of equals, the first."""
    return min(_valued(trials), key=lambda t: (end_of(t)["value"], slot_of(t)), default=None)


def _is_alive(trial: FrozenTrial) -> bool:
    """Whether somebody may still work on a running attempt.

    Of one on another machine nothing is known here: a database's heartbeats end it.
    """
    holder = trial.user_attrs.get(_holder_of(trial.number))
    if holder is None:  # it was taken a moment ago, or by a process that died at that moment
        began = trial.datetime_start
        # a clock that was set back makes the beginning lie ahead
        return began is not None and abs(time.time() - began.timestamp()) < _BEGINNING_SECONDS
    on_this_machine = process_lock.is_on_this_machine(holder)
    return not on_this_machine or process_lock.is_another_living_process(holder)


def _holder_of(number: int) -> str:
    """Return the attribute with an attempt's process; a retry inherits the one before, too."""
    return f"holder of {number}"


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
        seed: of the sampler, which is drawn for each slot from (seed, slot): what is sampled does
            not depend on the process that does it.
    """

    def __init__(self, study: Study, facts: StudyFacts, seed: int) -> None:
        self.study = study
        self.facts = facts
        self.plan = facts.plan
        self.seed = seed

    def attempts(self) -> list[FrozenTrial]:
        """Return every attempt, in Optuna's order."""
        return [t for t in self.study.get_trials(deepcopy=False) if "slot" in t.user_attrs]

    def records(self) -> list[FrozenTrial]:
        """Return the attempt that counts of each slot that has one, in the slots' order."""
        return [trial for _, trial in sorted(_by_slot(self.attempts()).items())]

    def best(self) -> FrozenTrial | None:
        """Return the complete trial with the lowest error; of equals, the first."""
        return _best(self.records())

    def front(self, convention: str) -> list[FrozenTrial]:
        """Return the trials that no other beats in both error and FLOPs, the cheapest first."""

        def cost(trial: FrozenTrial) -> tuple[int, float, int]:
            flops = int((end_of(trial).get("flops") or {}).get(convention, 0))
            return flops, end_of(trial)["value"], slot_of(trial)

        front: list[FrozenTrial] = []
        for trial in sorted(_valued(self.records()), key=cost):
            if not front or end_of(trial)["value"] < end_of(front[-1])["value"]:
                front.append(trial)
        return front

    def unfinished(self) -> bool:
        """Some slot has no result yet."""
        return self._current(_by_slot(self.attempts())) is not None

    def queue(self) -> bool:
        """Let a trial wait for `Study.ask`, if one can be made now.

        Returns:
            False while other processes make all that could be made, or where all is done.

        Raises:
            LvloraError: a stage cannot begin because no trial before it has a result.
        """
        trials = self.attempts()
        taken = _by_slot(trials)
        stage = self._current(taken)
        if stage is None:
            return False
        waiting = [slot_of(t) for t in trials if t.state.name == "WAITING"]
        free = waiting or [s for s in self.plan.slots(stage) if s not in taken]
        if not free:
            return False
        if not waiting:
            self._queue(free[0], trials, taken)
        self.study.sampler = self._sampler_of(free[0])
        return True

    def claim(self, trial: Trial) -> Claim | None:
        """Take the slot of a trial; None where another process was faster."""
        slot = trial.user_attrs.get("slot")
        earlier = _by_slot(t for t in self.attempts() if t.number < trial.number)
        if slot is None or slot in earlier:
            return None
        trial.set_user_attr(_holder_of(trial.number), process_lock.this_process())
        index = self.plan.stage_of(slot)
        return Claim(trial, slot, index, self._space_of(index).suggest(trial))

    def end(
        self, claim: Claim, outcome: State, value: float | None, facts: Mapping[str, Any]
    ) -> None:
        """Record a result, complete, pruned or failed, before Optuna is told of it."""
        claim.trial.set_user_attr("end", {**facts, "outcome": outcome, "value": value})

    def recover(self) -> list[int]:
        """Fail the attempts of processes that died here; returns their slots.

        Those whose heartbeats a database misses fail as well.
        """
        from optuna.storages import fail_stale_trials
        from optuna.trial import TrialState

        dead = [t for t in self.attempts() if state_of(t) == "running" and not _is_alive(t)]
        for trial in dead:
            self.study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
        with _experimental():
            fail_stale_trials(self.study)
        return [slot_of(trial) for trial in dead]

    def _queue(
        self, slot: int, trials: Sequence[FrozenTrial], taken: Mapping[int, FrozenTrial]
    ) -> None:
        """Queue a slot: again as it was, or with the parameters that are decided already."""
        from optuna.storages import RetryHeartbeatStaleTrialCallback

        lost = [t for t in trials if slot_of(t) == slot]
        if lost:
            with _experimental():
                RetryHeartbeatStaleTrialCallback()(self.study, lost[0])
            return
        index = self.plan.stage_of(slot)
        stage = self.plan.stages[index]
        fixed: Params = {}
        if stage.follows:
            fixed |= self._best_before(index, taken).params
        if stage.points is not None:
            fixed |= stage.points[slot - self.plan.slots(index).start]
        self.study.enqueue_trial(fixed, {"slot": slot})

    def _current(self, taken: Mapping[int, FrozenTrial]) -> int | None:
        """Return the first stage that is not over."""
        for index in range(len(self.plan.stages)):
            slots = self.plan.slots(index)
            if any(s not in taken or state_of(taken[s]) not in OVER for s in slots):
                return index
        return None

    def _space_of(self, index: int) -> Space:
        """Return all dimensions of a trial of this stage: its own and those it inherits."""
        stages = self.plan.stages
        first = 0 if stages[index].follows else index
        return merged([stage.space for stage in stages[first : index + 1]])

    def _best_before(self, index: int, taken: Mapping[int, FrozenTrial]) -> FrozenTrial:
        for earlier in reversed(range(index)):
            best = _best([taken[s] for s in self.plan.slots(earlier) if s in taken])
            if best is not None:
                return best
        raise LvloraError(
            f"stage {self.plan.stages[index].name}: no trial before it has a result to go on from",
            "lvlora sweep --status shows why they failed; a smaller --learning-rate may help.",
        )

    def _sampler_of(self, slot: int) -> BaseSampler:
        from optuna.samplers import RandomSampler, TPESampler

        seed = int(np.random.SeedSequence([self.seed, slot]).generate_state(1)[0])
        if self.facts.sampler == "tpe":
            startup = min(10, max(4, self.plan.n_trials // 3))
            return TPESampler(seed=seed, n_startup_trials=startup, constant_liar=True)
        return RandomSampler(seed=seed)


def pruner(name: str) -> BasePruner:
    """Return Optuna's pruner of that name; its resource is counted in thousandths (`REACH`)."""
    from optuna.pruners import HyperbandPruner, NopPruner, SuccessiveHalvingPruner

    # rungs at a sixth, a third, two thirds: a little before the validations of a default run,
    # which come after each quarter of its steps
    least = REACH // 6
    if name == "halving":
        return SuccessiveHalvingPruner(min_resource=least, reduction_factor=2)
    if name == "hyperband":
        return HyperbandPruner(min_resource=least, max_resource=REACH, reduction_factor=2)
    return NopPruner()


@contextmanager
def _experimental() -> Iterator[None]:
    """Use what Optuna calls experimental without its warnings."""
    from optuna.exceptions import ExperimentalWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield
