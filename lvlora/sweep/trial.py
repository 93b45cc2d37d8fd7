"""The trials of a sweep: one after the other, each a training run that its study watches."""

from __future__ import annotations

import math
import os
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
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
from lvlora.settings.base import Convention
from lvlora.sweep.plan import Allotment
from lvlora.sweep.record import trial_of
from lvlora.sweep.settings import SweepSettings
from lvlora.sweep.space import ALPHA_PER_RANK, Params, show, with_params
from lvlora.sweep.storage import TrialFolder, folder_of, trial_folder
from lvlora.sweep.study import OVER, REACH, Claim, SharedStudy, State, state_of
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
)
from lvlora.train.run import Run
from lvlora.train.schedule import USUAL, Cost, steps_between_validations
from lvlora.train.settings import TrainSettings
from lvlora.train.trackers import tracked

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.trial import FrozenTrial

_SAVES = 10
"""Checkpoints of a trial at least: what a killed one repeats is a tenth of it."""


def cost_of(settings: TrainSettings, dataset: Dataset) -> Cost:
    """Return the price of a step and of a validation with these settings, without weights.

    Raises:
        SettingsError: there would be no validation to compare trials by.
    """
    return _cost(plan_run(_unlimited(settings, 1), dataset))


def plan_trial(settings: TrainSettings, dataset: Dataset, allotment: Allotment) -> Plan:
    """Return the plan of a run with as many steps as the sweep's plan gives it."""
    plan = plan_run(_unlimited(settings, 1), dataset)
    times = allotment.validations.times
    n_steps = allotment.steps_of(settings, replace(_cost(plan), times=times))
    if n_steps < 1:
        raise SettingsError(
            "not one step of it fits into what the plan gives a trial",
            "A larger --max-flops, fewer --trials or smaller settings help.",
        )
    changes: dict[str, int] = {}
    if settings.save_every:
        changes["save_every"] = min(settings.save_every, max(1, n_steps // _SAVES))
    if settings.validate_every is None and times != USUAL.times:
        # the run's own settings must say it: it can be repeated, and goes on, without its study
        changes["validate_every"] = steps_between_validations(settings, n_steps, times)
    return plan.lasting(n_steps, **changes)


def can_resume(loaded: Loaded, folder: TrialFolder) -> bool:
    """Whether the folder has a checkpoint of this very run."""
    if not folder.state.exists() or not folder.config.is_file():
        return False
    state, _ = checkpoint.latest(folder.state)
    return state is not None and not loaded.changes_since(state.facts.get("identity", {}))


def open_run(
    loaded: Loaded,
    folder: TrialFolder,
    observer: Observer,
    sources: Mapping[str, str],
    within: Limits,
    *,
    resume: bool,
) -> Run:
    """Return the trial's run: going on from its last checkpoint, or in an empty folder.

    Args:
        sources: setting → where its value came from, which a new folder says.
        within: the limits of the study.
    """
    if resume:
        return Run(loaded, folder, observer, resume=True, within=within)
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
    folder.write_settings(loaded.plan, sources)
    return Run(loaded, folder, observer, within=within)


def sources_of(
    settings: TrainSettings, params: Params, sources: Mapping[str, str]
) -> dict[str, str]:
    """Return where each setting of a trial came from.

    Args:
        params: the searched settings; sources: where the sweep's own settings came from.
    """
    planned = {*params, "max_steps", "max_flops", "save_every"}
    for name in ("validation_series", "validate_every"):
        if sources.get(name, "default") == "default" and getattr(settings, name) is not None:
            planned.add(name)
    if ALPHA_PER_RANK in planned:
        planned.add("alpha")
    return {
        name: "sweep" if name in planned else sources.get(name, "default")
        for name in TrainSettings.model_fields
    }


class Watch(Observer):
    """An observer that tells the study how a trial does, and ends it when the study says so.

    Args:
        inner: who draws.
        trial: Optuna's; None: nothing is reported and nothing pruned.
        dearest: FLOPs of the stage's dearest trial, in ``convention``: the pruner's whole.
        convention: of the sweep's limits.
        parent: the process that started this one; when it is gone, the run stops, saved.
    """

    def __init__(
        self,
        inner: Observer,
        trial: Trial | None,
        dearest: int,
        convention: Convention = "executed",
        parent: int | None = None,
    ) -> None:
        self.inner = inner
        self.convention = convention
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
            self._spent += record.price.of(self.convention)
            if isinstance(record, ValidationRecord) and record.step:
                self._report(record.mae, record.loss)

    def started(self, plan: RunPlan) -> None:
        """Pass it on."""
        self._steps = plan.steps
        self.inner.started(plan)

    def step(self, record: StepRecord) -> None:
        """Pass it on; stop where nobody waits for the result."""
        self._spent = record.spent.of(self.convention)
        self.inner.step(record)
        if self.parent is not None and os.getppid() != self.parent:
            os.kill(os.getpid(), signal.SIGTERM)  # as if asked to stop: the run saves itself
            self.parent = None

    def validated(self, record: ValidationRecord) -> None:
        """Pass it on; end a trial that is worse than its rivals were for the same FLOPs."""
        self._spent += record.price.of(self.convention)
        self.inner.validated(record)
        if 0 < record.step < self._steps:
            self._report(record.mae, record.loss)
            if self.pruned:
                raise EndRun

    def note(self, message: str) -> None:
        """Pass it on."""
        self.inner.note(message)

    def finished(self) -> None:
        """Pass it on."""
        self.inner.finished()

    def _report(self, mae: float | None, loss: float | None) -> None:
        score = loss if mae is None else mae
        reached = REACH * self._spent // self.dearest
        if self.trial is None or score is None or reached in self._reported:
            return
        self._reported.add(reached)
        self.trial.report(score, reached)
        self.pruned = self.trial.should_prune()


def _unlimited(settings: TrainSettings, n_steps: int) -> TrainSettings:
    """The sweep keeps the limits; the project's budget is kept by the ledger all the same."""
    return settings.model_copy(update={"max_steps": n_steps, "max_flops": None})


def _cost(plan: Plan) -> Cost:
    if plan.part is None:
        raise SettingsError(
            "a sweep compares trials by their validation error, and there is no validation",
            "Leave out --no-validation; the data needs at least a few series.",
        )
    return plan.cost


def reason_of(error: BaseException) -> str:
    """Return why a trial failed, in one line."""
    if isinstance(error, LvloraError):
        return error.message
    return "there was not enough memory" if is_out_of_memory(error) else str(error)


_SECONDS_BETWEEN_LOOKS = 1.0


class _NoResult(Exception):
    """A trial failed, was not begun, or gave way: Optuna is told so, and the search goes on."""


@dataclass
class TrialLoop:
    """The work of one process on a study.

    Attributes:
        base: the settings that all trials share.
        sources: setting → where its value came from, for the trials' folders.
        limit: FLOPs that all trials together may spend, in the settings' convention.
        observer: gives who watches the run of a trial.
        parent: the process that started this one as a worker.
    """

    settings: SweepSettings
    base: TrainSettings
    study: SharedStudy
    dataset: Dataset
    sources: Mapping[str, str]
    limit: int | None
    narrator: Narrator
    observer: Callable[[], Observer]
    parent: int | None = None
    stop: StopRequest | None = None
    refusal: BudgetError | None = None
    waiting: bool = False

    def run(self) -> BudgetError | None:
        """Make trials until there are none left.

        Returns:
            which limit the next trial would pass, if that ended the search.

        Raises:
            RunStopped: a signal came; the trial is saved and its slot is free.
        """
        with StopRequest() as self.stop:
            while self.study.unfinished() and self.refusal is None:
                for slot in self.study.recover():
                    self.narrator.note(f"Trial {slot} was left unfinished; it is made again.")
                if not self.study.queue():
                    self._wait()
                    continue
                self.waiting = False
                # Optuna beats the heart of the trial, and fails those whose hearts stopped
                self.study.study.optimize(
                    self._objective,
                    n_trials=1,
                    catch=(_NoResult,),
                    callbacks=[self._tell],
                    gc_after_trial=True,  # the next model is loaded when this one is gone
                )
                if self.refusal is None:
                    self._stop_if_requested()
        return self.refusal

    def _objective(self, trial: Trial) -> float:
        """Make the trial that Optuna asked for.

        Raises:
            TrialPruned, _NoResult: it is over without a value.
            RunStopped: a signal came; the slot is free again, as after anything unforeseen.
        """
        claim = self.study.claim(trial)
        if claim is None:
            raise _NoResult
        try:
            return self._make(claim)
        except BudgetError as error:
            self.refusal = error
            raise _NoResult from None
        except RunStopped:
            raise self._stopped(f"in trial {claim.slot}") from None

    def _make(self, claim: Claim) -> float:
        """Train, and return the value that Optuna minimises.

        Raises:
            BudgetError: it would pass a limit, and was not begun.
            TrialPruned, _NoResult: it ended early, or failed.
        """
        from optuna import TrialPruned

        stage = self.study.plan.stages[claim.stage]
        chosen = ", ".join(f"{n.replace('_', ' ')} {show(v)}" for n, v in claim.params.items())
        self.narrator.note(f"Trial {claim.slot} ({stage.name}): {chosen}")
        try:
            run, watch, resumed = self._open(claim)
            result = self._train(run, resumed)
        except Exception as error:
            foreseen = isinstance(error, (NumericalError, SettingsError))
            if not foreseen and not is_out_of_memory(error):
                raise
            self.study.end(claim, "failed", None, {"reason": reason_of(error)})
            raise _NoResult from None
        validation = result.validation
        value = None
        if validation is not None:
            value = validation.loss if validation.mae is None else validation.mae
        facts = _facts(result)
        if value is None or not math.isfinite(value):
            reason = {"reason": "the validation error is not a number"}
            self.study.end(claim, "failed", None, {**facts, **reason})
            raise _NoResult
        outcome: State = "pruned" if watch.pruned else "complete"
        self.study.end(claim, outcome, float(value), facts)
        if watch.pruned:
            raise TrialPruned
        return float(value)

    def _open(self, claim: Claim) -> tuple[Run, Watch, bool]:
        """Open the run of a trial; whether it goes on from a checkpoint."""
        allotment = self.study.plan.allotments[claim.stage]
        settings, convention = self.settings, self.settings.convention
        folder = trial_folder(folder_of(settings), claim.slot)
        plan = plan_trial(with_params(self.base, claim.params), self.dataset, allotment)
        loaded = load_run(plan)
        resumes = can_resume(loaded, folder)  # as only its weights tell
        self._check_base(loaded.base.sha256, loaded.base.name)
        self._stop_if_requested()
        # later stages have too few trials to judge one by
        is_judged = settings.pruner != "none" and claim.stage == 0
        watch = Watch(
            tracked(self.observer(), loaded, folder),
            claim.trial if is_judged else None,
            max(1, allotment.at_most.of(convention)),
            convention,
            self.parent,
        )
        sources = sources_of(plan.settings, claim.params, self.sources)
        within = Limits(
            self.limit, settings.budget, convention, settings.study, self.study.facts.first_entry
        )
        run = open_run(loaded, folder, watch, sources, within, resume=resumes)
        if run.progress.step:
            watch.replay(folder.read_metrics())
        return run, watch, resumes

    def _train(self, run: Run, resumed: bool) -> Train:
        from lvlora.train.document import draw_run

        try:
            result = run.train()
        except BudgetError:  # the ledger refuses before a run begins
            if not resumed:
                run.folder.remove_if_nothing_was_done()
            raise
        draw_run(run.folder.path)
        return result

    def _tell(self, study: object, trial: FrozenTrial) -> None:
        if "slot" in trial.user_attrs and state_of(trial) in OVER:
            self.narrator.note(outcome_of(self.study, self.settings, trial))

    def _check_base(self, sha256: str, name: str) -> None:
        study = self.study.study
        before = study.user_attrs.get("base_sha256")
        if before is None:
            study.set_user_attr("base_sha256", sha256)
        elif before != sha256:
            raise LvloraError(
                f"study {self.settings.study}: {name} is not the base model that its trials "
                "started from",
                "Name that model with --model, or start another --study.",
            )

    def _stop_if_requested(self) -> None:
        if self.stop is not None and self.stop.requested:
            raise self._stopped("between two trials")

    def _stopped(self, where: str) -> RunStopped:
        return RunStopped(
            f"study {self.settings.study}: stopped {where}; everything is saved",
            "The same command goes on.",
        )

    def _wait(self) -> None:
        self._stop_if_requested()
        if not self.waiting:
            self.waiting = True
            self.narrator.note("Waiting for the trials of other processes.")
        time.sleep(_SECONDS_BETWEEN_LOOKS)


def outcome_of(study: SharedStudy, settings: SweepSettings, attempt: FrozenTrial) -> str:
    """Return the result of a trial as a sentence."""
    trial, best = trial_of(study, attempt, settings), study.best()
    if trial.state == "failed":
        return f"Trial {trial.trial} failed: {trial.reason}"
    name = "MAE" if trial.value == trial.mae else "loss"
    early = "ended early, " if trial.state == "pruned" else ""
    is_best = best is not None and best.number == attempt.number
    value = "–" if trial.value is None else f"{trial.value:.4g}"
    return (
        f"Trial {trial.trial}: {early}validation {name} {value}"
        f"{'  (best so far)' if is_best else ''}"
    )


def _facts(result: Train) -> Mapping[str, Any]:
    facts = result.model_dump(mode="json")
    before, best = facts["zero_shot"] or {}, facts["validation"] or {}
    names = ("flops", "steps", "best_step", "seconds", "tokens", "adapter", "trainable_parameters")
    return {
        "mae": best.get("mae"),
        "loss": best.get("loss"),
        "mae_before": before.get("mae"),
        "loss_before": before.get("loss"),
        **{name: facts[name] for name in names},
    }
