"""The trials of a sweep: one after the other, each a training run that its study watches."""

from __future__ import annotations

import math
import os
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lvlora import folders
from lvlora.data.dataset import Dataset
from lvlora.errors import (
    BudgetError,
    LvloraError,
    NumericalError,
    RunStopped,
    SettingsError,
    is_out_of_memory,
)
from lvlora.flops.ledger import Limits
from lvlora.narrator import Narrator
from lvlora.sweep.plan import Stage
from lvlora.sweep.record import limit_of, outcome_of, shared_settings
from lvlora.sweep.settings import SweepSettings
from lvlora.sweep.space import Params, show, with_params
from lvlora.sweep.storage import TrialFolder, folder_of, trial_folder
from lvlora.sweep.study import OVER, REACH, SharedStudy, state_of
from lvlora.train import checkpoint
from lvlora.train.loop import Loaded, load_run
from lvlora.train.plan import Plan, plan_run
from lvlora.train.process import StopRequest
from lvlora.train.record import (
    EndRun,
    Observer,
    RunPlan,
    StepRecord,
    Train,
    ValidationRecord,
    read_metrics,
)
from lvlora.train.run import Run
from lvlora.train.schedule import USUAL, steps_between_validations
from lvlora.train.settings import TrainSettings
from lvlora.train.trackers import tracked

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.trial import FrozenTrial

_SAVES = 10
"""Checkpoints of a trial at least: what a killed one repeats is a tenth of it."""
_SECONDS_BETWEEN_LOOKS = 1.0


def plan_step(settings: TrainSettings, dataset: Dataset) -> Plan:
    """Return the plan of a trial of one step, whose prices hold for any number of steps.

    The sweep keeps the limits; the ledger keeps the project's budget all the same.

    Raises:
        SettingsError: there would be no validation to compare trials by.
    """
    plan = plan_run(settings.model_copy(update={"max_steps": 1, "max_flops": None}), dataset)
    if plan.part is None:
        raise SettingsError(
            "a sweep compares trials by their validation error, and there is no validation",
            "Leave out --no-validation; the data needs at least a few series.",
        )
    return plan


def plan_trial(settings: TrainSettings, dataset: Dataset, stage: Stage) -> Plan:
    """Return the plan of a run with as many steps as the sweep's plan gives it."""
    plan = plan_step(settings, dataset)
    n_steps = stage.steps_of(settings, plan.cost)
    if n_steps < 1:
        raise SettingsError(
            "not one step of it fits into what the plan gives a trial",
            "A larger --max-flops, fewer --trials or smaller settings help.",
        )
    changes: dict[str, int] = {}
    if settings.save_every:
        changes["save_every"] = min(settings.save_every, max(1, n_steps // _SAVES))
    times = stage.validations.times
    if settings.validate_every is None and times != USUAL.times:
        # the run's own settings must say it: it can be repeated, and goes on, without its study
        changes["validate_every"] = steps_between_validations(settings, n_steps, times)
    return plan.lasting(n_steps, **changes)


class Watch(Observer):
    """An observer that tells the study how a trial does, and ends it when the study says so.

    Args:
        inner: who draws.
        trial: Optuna's; None: nothing is reported and nothing pruned.
        dearest: executed FLOPs of the stage's dearest trial: the pruner's whole.
        parent: the process that started this one; when it is gone, the run stops, saved.
    """

    def __init__(
        self, inner: Observer, trial: Trial | None, dearest: int, parent: int | None = None
    ) -> None:
        self.inner = inner
        self.trial = trial
        self.dearest = dearest
        self.parent = parent
        self.pruned = False
        self._spent = 0
        self._steps = 0
        self._reported: set[int] = set()

    def replay(self, records: list[StepRecord | ValidationRecord]) -> None:
        """Report the validations that a resumed run had made before."""
        for record in records:
            self._spent += record.flops
            if isinstance(record, ValidationRecord) and record.step:
                self._report(record)

    def started(self, plan: RunPlan) -> None:
        """Pass it on."""
        self._steps = plan.steps
        self.inner.started(plan)

    def step(self, record: StepRecord) -> None:
        """Pass it on; stop where nobody waits for the result."""
        self._spent += record.flops
        self.inner.step(record)
        if self.parent is not None and os.getppid() != self.parent:
            os.kill(os.getpid(), signal.SIGTERM)  # as if asked to stop: the run saves itself
            self.parent = None

    def validated(self, record: ValidationRecord) -> None:
        """Pass it on; end a trial that is worse than its rivals were for the same FLOPs."""
        self._spent += record.flops
        self.inner.validated(record)
        if 0 < record.step < self._steps:
            self._report(record)
            if self.pruned:
                raise EndRun

    def note(self, message: str) -> None:
        """Pass it on."""
        self.inner.note(message)

    def finished(self) -> None:
        """Pass it on."""
        self.inner.finished()

    def _report(self, record: ValidationRecord) -> None:
        score = record.loss if record.mae is None else record.mae
        reached = REACH * self._spent // self.dearest
        if self.trial is None or score is None or reached in self._reported:
            return
        self._reported.add(reached)
        self.trial.report(score, reached)
        self.pruned = self.trial.should_prune()


class _NoResult(Exception):
    """A trial failed or gave way: Optuna is told so, and the search goes on."""


@dataclass
class TrialLoop:
    """The work of one process on a study.

    Attributes:
        sources: setting → where its value came from, for the trials' folders.
        observer: gives who watches the run of a trial.
        parent: the process that started this one as a worker.
    """

    settings: SweepSettings
    study: SharedStudy
    dataset: Dataset
    sources: Mapping[str, str]
    narrator: Narrator
    observer: Callable[[], Observer]
    parent: int | None = None
    stop: StopRequest = field(default_factory=StopRequest)

    def run(self) -> BudgetError | None:
        """Make trials until there are none left.

        Returns:
            which limit the next trial would pass, if that ended the search.

        Raises:
            RunStopped: a signal came; the trial is saved and its slot is free.
        """
        is_waiting = False
        with self.stop:
            while self.study.unfinished():
                self._check_stop()
                for slot in self.study.recover():
                    self.narrator.note(f"Trial {slot} was left unfinished; it is made again.")
                if not self.study.queue():
                    if not is_waiting:
                        self.narrator.note("Waiting for the trials of other processes.")
                    is_waiting = True
                    time.sleep(_SECONDS_BETWEEN_LOOKS)
                    continue
                is_waiting = False
                try:
                    # Optuna beats the heart of the trial, and fails those whose hearts stopped
                    self.study.study.optimize(
                        self._objective,
                        n_trials=1,
                        catch=(_NoResult,),
                        callbacks=[self._tell],
                        gc_after_trial=True,  # the next model is loaded when this one is gone
                    )
                except BudgetError as refusal:
                    return refusal
        return None

    def _objective(self, trial: Trial) -> float:
        """Train, and return the value that Optuna minimises.

        Raises:
            BudgetError: it would pass a limit, and was not begun.
            TrialPruned, _NoResult: it ended early, or failed, or another process has its slot.
            RunStopped: a signal came; the slot is free again, as after anything unforeseen.
        """
        from optuna import TrialPruned

        if not self.study.claim(trial):
            raise _NoResult
        slot = int(trial.user_attrs["slot"])
        stage = self.study.plan.stages[self.study.plan.stage_of(slot)]
        chosen = ", ".join(f"{n.replace('_', ' ')} {show(v)}" for n, v in trial.params.items())
        self.narrator.note(f"Trial {slot} ({stage.name}): {chosen}")
        end: dict[str, Any] = {}
        try:
            result, is_pruned = self._train(trial, slot)
        except RunStopped:
            raise self._stopped() from None
        except Exception as error:
            if is_out_of_memory(error):
                end["reason"] = "there was not enough memory"
            elif isinstance(error, NumericalError | SettingsError):
                end["reason"] = error.message
            else:
                raise
        else:
            best = result.validation
            end |= {"flops": result.flops.to_dict(), "seconds": result.seconds}
            end |= {"steps": result.steps, "mae": best and best.mae, "loss": best and best.loss}
            end["value"] = end["loss"] if end["mae"] is None else end["mae"]
            if end["value"] is None or not math.isfinite(end["value"]):
                end |= {"value": None, "reason": "the validation error is not a number"}
        trial.set_user_attr("end", end)
        if "reason" in end:
            raise _NoResult
        if is_pruned:
            raise TrialPruned
        return float(end["value"])

    def _train(self, trial: Trial, slot: int) -> tuple[Train, bool]:
        """Make the run of a trial, or the rest of it; whether the pruner ended it."""
        from lvlora.train.document import draw_run

        settings, study = self.settings, self.study
        index = study.plan.stage_of(slot)
        stage = study.plan.stages[index]
        folder = trial_folder(folder_of(settings), slot)
        params: Params = dict(trial.params)
        plan = plan_trial(
            with_params(shared_settings(settings, study.plan), params), self.dataset, stage
        )
        loaded = load_run(plan)
        self._check_base(loaded)
        self._check_stop()
        watch = Watch(
            tracked(self.observer(), loaded, folder),
            # later stages have too few trials to judge one by
            trial if settings.pruner != "none" and index == 0 else None,
            max(1, stage.at_most.executed),
            self.parent,
        )
        within = Limits(
            limit_of(study, settings),
            settings.budget,
            settings.convention,
            settings.study,
            study.facts.first_entry,
        )
        resumes = _has_checkpoint_of(loaded, folder)
        if not resumes:
            _make_anew(folder)
            sources = {
                name: "sweep"
                if name in params or getattr(settings, name, value) != value
                else self.sources.get(name, "default")
                for name, value in plan.settings
            }
            folder.write_settings(plan, sources)
        run = Run(loaded, folder, watch, resume=resumes, within=within)
        if run.progress.step:
            watch.replay(read_metrics(folder.metrics))
        try:
            result = run.train()
        except BudgetError:  # the ledger refuses before a run begins
            if not resumes:
                folder.remove_if_nothing_was_done()
            raise
        draw_run(folder.path)
        return result, watch.pruned

    def _tell(self, study: object, trial: FrozenTrial) -> None:
        if "slot" in trial.user_attrs and state_of(trial) in OVER:
            self.narrator.note(outcome_of(self.study, self.settings, trial))

    def _check_base(self, loaded: Loaded) -> None:
        study, base = self.study.study, loaded.base
        if "base_sha256" not in study.user_attrs:
            study.set_user_attr("base_sha256", base.sha256)
        elif study.user_attrs["base_sha256"] != base.sha256:
            raise LvloraError(
                f"study {self.settings.study}: {base.name} is not the base model that its trials "
                "started from",
                "Name that model with --model, or start another --study.",
            )

    def _check_stop(self) -> None:
        if self.stop.requested:
            raise self._stopped()

    def _stopped(self) -> RunStopped:
        return RunStopped(
            f"study {self.settings.study}: stopped; everything is saved",
            "The same command goes on.",
        )


def _has_checkpoint_of(loaded: Loaded, folder: TrialFolder) -> bool:
    """Whether the folder has a checkpoint of this very run, as only its weights tell."""
    if not folder.state.exists() or not folder.config.is_file():
        return False
    state, _ = checkpoint.latest(folder.state)
    return state is not None and not loaded.changes_since(state.facts.get("identity", {}))


def _make_anew(folder: TrialFolder) -> None:
    """Make the folder of a trial, in the place of an earlier attempt's."""
    if folder.path.exists():
        stranger = folders.stranger_in(folder.path)
        if stranger is not None:
            raise SettingsError(
                f"{folder.path}: lvlora did not write its {stranger}, so it is not replaced",
                "Move it elsewhere and run again.",
            )
        shutil.rmtree(folder.path)
    folder.path.mkdir(parents=True)
    folder.mark()
