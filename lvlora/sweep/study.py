"""An Optuna study as its plan counts it: slots, and the attempts at each.

A sweep has a fixed number of *slots*, the trials as people count them. Optuna's trials are
*attempts* at a slot. One that was interrupted or killed is a failed trial without a reason, and its
slot is queued again with the same parameters. Of two attempts at one slot the later gives way, so
any number of processes may share a study. The ledger has the FLOPs of all and keeps the limit.
"""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from lvlora.errors import LvloraError, SettingsError
from lvlora.flops import process_lock
from lvlora.settings.base import differences
from lvlora.sweep.plan import SearchPlan, Stage
from lvlora.sweep.settings import SweepSettings
from lvlora.sweep.space import Params, merged

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
        changed = differences(self.settings, now)
        if [stage.subject for stage in self.plan.stages] != [stage.subject for stage in stages]:
            changed.append("what is searched")
        if self.data_sha256 != data_sha256:
            changed.append("the data")
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


def end_of(trial: FrozenTrial) -> dict[str, Any]:
    """Return the result of an attempt: value, FLOPs, …, or the reason of a failure."""
    end: dict[str, Any] = trial.user_attrs.get("end", {})
    return end


def state_of(trial: FrozenTrial) -> State | None:
    """Return the state in which an attempt takes its slot; None where it was lost or gave way."""
    if trial.state.name == "FAIL":
        return "failed" if "reason" in end_of(trial) else None
    states: dict[str, State] = {
        **{"WAITING": "waiting", "RUNNING": "running"},
        **{"PRUNED": "pruned", "COMPLETE": "complete"},
    }
    return states[trial.state.name]


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

    def by_slot(self) -> dict[int, FrozenTrial]:
        """Return slot → the first attempt that takes it, in the slots' order."""
        taken: dict[int, FrozenTrial] = {}
        for trial in self.attempts():
            if state_of(trial) is not None:
                taken.setdefault(slot_of(trial), trial)
        return dict(sorted(taken.items()))

    def best(self) -> FrozenTrial | None:
        """Return the complete trial with the lowest error; of equals, the first."""
        return _best(self.by_slot().values())

    def unfinished(self) -> bool:
        """Some slot has no result yet."""
        return self._stage(self.by_slot()) is not None

    def queue(self) -> bool:
        """Let a trial wait for `Study.ask`, if one can be made now.

        Returns:
            False while other processes make all that could be made, or where all is done.

        Raises:
            LvloraError: a stage cannot begin because no trial before it has a result.
        """
        taken = self.by_slot()
        stage = self._stage(taken)
        if stage is None:
            return False
        if any(state_of(trial) == "waiting" for trial in taken.values()):
            return True
        slot = next((s for s in self.plan.slots(stage) if s not in taken), None)
        if slot is None:
            return False
        params: Params = {}
        if self.plan.stages[stage].follows:
            params |= self._best_before(stage, taken).params
        points = self.plan.stages[stage].points
        if points is not None:
            params |= points[slot - self.plan.slots(stage).start]
        for attempt in self.attempts():  # what was drawn for a lost one
            params |= attempt.params if slot_of(attempt) == slot else {}
        self.study.enqueue_trial(params, {"slot": slot})
        return True

    def claim(self, trial: Trial) -> bool:
        """Take the slot of a trial and draw its parameters; False where another attempt has it."""
        slot = trial.user_attrs.get("slot")
        if slot is None or self.by_slot()[slot].number != trial.number:
            return False
        trial.set_user_attr("process", process_lock.this_process())
        self.study.sampler = self._sampler(slot)
        stages, index = self.plan.stages, self.plan.stage_of(slot)
        first = 0 if stages[index].follows else index
        merged(stage.space for stage in stages[first : index + 1]).suggest(trial)
        return True

    def recover(self) -> list[int]:
        """Fail the attempts of processes that died here; returns their slots.

        Those whose heartbeats a database misses fail as well.
        """
        from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
        from optuna.storages import fail_stale_trials
        from optuna.trial import TrialState

        dead = [t for t in self.attempts() if state_of(t) == "running" and not _is_alive(t)]
        for trial in dead:
            with contextlib.suppress(UpdateFinishedTrialError):  # by another process
                self.study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            fail_stale_trials(self.study)
        return [slot_of(trial) for trial in dead]

    def _stage(self, taken: Mapping[int, FrozenTrial]) -> int | None:
        """Return the first stage that is not over."""
        for index in range(len(self.plan.stages)):
            slots = self.plan.slots(index)
            if any(s not in taken or state_of(taken[s]) not in OVER for s in slots):
                return index
        return None

    def _best_before(self, stage: int, taken: Mapping[int, FrozenTrial]) -> FrozenTrial:
        for earlier in reversed(range(stage)):
            best = _best(taken[slot] for slot in self.plan.slots(earlier))
            if best is not None:
                return best
        raise LvloraError(
            f"stage {self.plan.stages[stage].name}: no trial before it has a result to go on from",
            "lvlora sweep --status shows why they failed; a smaller --learning-rate may help.",
        )

    def _sampler(self, slot: int) -> BaseSampler:
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


def _best(trials: Iterable[FrozenTrial]) -> FrozenTrial | None:
    complete = [trial for trial in trials if state_of(trial) == "complete"]
    return min(complete, key=lambda t: (end_of(t)["value"], slot_of(t)), default=None)


def _is_alive(trial: FrozenTrial) -> bool:
    """Whether somebody may still work on a running attempt.

    Of one on another machine nothing is known here: a database's heartbeats end it.
    """
    process = trial.user_attrs.get("process")
    if process is None:  # it was taken a moment ago, or by a process that died at that moment
        began = trial.datetime_start
        # a clock that was set back makes the beginning lie ahead
        return began is not None and abs(time.time() - began.timestamp()) < _BEGINNING_SECONDS
    return not process_lock.is_on_this_machine(process) or process_lock.is_another_living_process(
        process
    )
