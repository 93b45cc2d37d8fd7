"""Trial after trial until the plan is done or a limit is reached; however each one ends."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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
from lvlora.sweep.results import trial_of
from lvlora.sweep.settings import SweepSettings
from lvlora.sweep.space import show, with_params
from lvlora.sweep.storage import folder_of
from lvlora.sweep.study import OVER, Claim, SharedStudy, State, state_of
from lvlora.sweep.trial import (
    Watch,
    can_resume,
    open_run,
    plan_trial,
    reason_of,
    sources_of,
    trial_folder,
)
from lvlora.train.loop import load_run
from lvlora.train.observer import Observer
from lvlora.train.process import StopRequest
from lvlora.train.record import Train
from lvlora.train.run import Run
from lvlora.train.settings import TrainSettings
from lvlora.train.trackers import tracked

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.trial import FrozenTrial

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

    def _objective(self, trial: Trial) -> float | list[float]:
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

    def _make(self, claim: Claim) -> float | list[float]:
        """Train, and return the values that Optuna minimises.

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
        if self.settings.pareto:
            return [float(value), float(getattr(result.flops, self.settings.convention))]
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
            self.parent,
        )
        sources = sources_of(plan.settings, claim.params, self.sources)
        within = Limits(
            self.limit, settings.budget, convention, settings.study, self.study.facts.first_entry
        )
        run = open_run(loaded, folder, watch, sources, within, resume=resumes)
        if run.progress.step:
            watch.replay(folder.read_metrics(), convention)
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
