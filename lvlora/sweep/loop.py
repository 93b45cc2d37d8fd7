"""Trial after trial until the plan is done or a limit is reached; however each one ends."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from lvlora.errors import (
    BudgetError,
    LvloraError,
    NumericalError,
    RunStopped,
    SettingsError,
    is_out_of_memory,
)
from lvlora.flops.budget import NOTHING, Price
from lvlora.flops.ledger import Ledger
from lvlora.series.dataset import Dataset
from lvlora.settings.training import SweepSettings, TrainSettings
from lvlora.sweep.narrator import SweepNarrator
from lvlora.sweep.results import trial_of
from lvlora.sweep.space import with_params
from lvlora.sweep.storage import folder_of
from lvlora.sweep.study import OVER, Claim, SharedStudy, slot_of, state_of
from lvlora.sweep.trial import (
    Watch,
    open_run,
    plan_trial,
    reason_of,
    sources_of,
    spent_by,
    steps_done,
    trial_folder,
)
from lvlora.train.loop import Loaded, load_run
from lvlora.train.process import StopRequest
from lvlora.train.record import Train
from lvlora.train.run import Run
from lvlora.train.trackers import tracked

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.trial import FrozenTrial

_SECONDS_BETWEEN_LOOKS = 1.0

Ending = Literal["done", "limit"]


class _NoResult(Exception):
    """A trial failed, was not begun, or gave way: Optuna is told so, and the search goes on."""


@dataclass
class TrialLoop:
    """What one process does for a study.

    Attributes:
        base: the settings that all trials share.
        sources: setting → where its value came from, for the trials' folders.
        limit: FLOPs that all trials together may spend, in the settings' convention.
        parent: the process that started this one as a worker.
        refusal: which limit the next trial would pass, if that is why `run` ended.
    """

    settings: SweepSettings
    base: TrainSettings
    study: SharedStudy
    dataset: Dataset
    sources: Mapping[str, str]
    limit: int | None
    narrator: SweepNarrator
    parent: int | None = None
    stop: StopRequest | None = None
    refusal: BudgetError | None = None

    def run(self) -> Ending:
        """Make trials until there are none left or the next would pass a limit.

        Raises:
            RunStopped: a signal came; the trial is saved and its slot is free.
        """
        with StopRequest() as self.stop:
            while self.study.unfinished():
                for slot in self.study.recover(self._charge):
                    self.narrator.recovered(slot)
                if not self.study.queue():
                    self._wait()
                    continue
                # Optuna beats the heart of the trial, and fails those whose hearts stopped
                self.study.study.optimize(
                    self._objective,
                    n_trials=1,
                    catch=(_NoResult,),
                    callbacks=[self._tell],
                    gc_after_trial=True,  # the next model is loaded when this one is gone
                )
                if self.refusal is not None:
                    return "limit"
                self._stop_if_asked()
        return "done"

    def _objective(self, trial: Trial) -> float | list[float]:
        """Make the trial that Optuna asked for.

        Raises:
            TrialPruned, _NoResult: it is over without a value.
            RunStopped: a signal came. (Or anything unforeseen; the slot is free again.)
        """
        claim = self.study.claim(trial)
        if claim is None:
            raise _NoResult
        try:
            return self._make(claim)
        except BaseException as error:
            if "end" not in trial.user_attrs:
                spent = NOTHING if isinstance(error, BudgetError) else self._charge_of(claim)
                self.study.lose(trial.number, spent)
            if isinstance(error, BudgetError):
                self.refusal = error
                raise _NoResult from None
            if isinstance(error, RunStopped):
                raise RunStopped(
                    f"study {self.settings.study}: stopped in trial {claim.slot}; everything is "
                    "saved",
                    "The same command goes on.",
                ) from None
            raise

    def _make(self, claim: Claim) -> float | list[float]:
        """Train, and return what Optuna is to have the least of.

        Raises:
            BudgetError: it would pass a limit, and was not begun.
            TrialPruned, _NoResult: it ended early, or failed.
        """
        from optuna import TrialPruned

        stage = self.study.plan.stages[claim.stage]
        self.narrator.began(claim.slot, stage.name, claim.params)
        run: Run | None = None
        try:
            run, watch, resumed = self._open(claim)
            result = self._train(claim, run, resumed)
        except Exception as error:
            foreseen = isinstance(error, (NumericalError, SettingsError))
            if not foreseen and not is_out_of_memory(error):
                raise
            spent = NOTHING if run is None else spent_by(run)
            self.study.end(claim, "failed", None, spent, {"reason": reason_of(error)})
            raise _NoResult from None
        validation = result.validation
        value = None if validation is None else validation.mae
        if validation is not None and value is None:
            value = validation.loss
        facts, spent = _facts(result), spent_by(run)
        if value is None or not math.isfinite(value):
            reason = {"reason": "the validation error is not a number"}
            self.study.end(claim, "failed", None, spent, {**facts, **reason})
            raise _NoResult
        outcome: Literal["pruned", "complete"] = "pruned" if watch.pruned else "complete"
        self.study.end(claim, outcome, float(value), spent, facts)
        if watch.pruned:
            raise TrialPruned
        if self.settings.pareto:
            return [float(value), float(getattr(result.flops, self.settings.convention))]
        return float(value)

    def _open(self, claim: Claim) -> tuple[Run, Watch, bool]:
        """Open the run of a trial that fits into the limit; whether it goes on from a checkpoint.

        Raises:
            BudgetError: it does not fit, and nothing was opened.
        """
        allotment = self.study.plan.allotments[claim.stage]
        convention = self.settings.convention
        folder = trial_folder(folder_of(self.settings), claim.slot)
        plan = plan_trial(with_params(self.base, claim.params), self.dataset, allotment)
        loaded: Loaded | None = None
        done: int | None = None
        if folder.state.exists():  # only its weights tell whether it can go on
            loaded = load_run(plan)
            done = steps_done(loaded, folder)
        price = plan.at_most(done or 0, whole=done is None)
        self.study.price(claim, price, run=folder.name)
        self._check_limit(claim, price)
        loaded = loaded or load_run(plan)
        self._check_base(loaded)
        self._stop_if_asked()
        watch = Watch(
            tracked(self.narrator.observer(), loaded, folder),
            claim.trial if self._prunes(claim.stage) else None,
            max(1, allotment.at_most.of(convention)),
            self.parent,
        )
        sources = sources_of(plan.settings, claim.params, self.sources)
        run = open_run(loaded, folder, watch, sources, resume=done is not None)
        if run.progress.step:
            watch.replay(folder.read_metrics(), convention)
        return run, watch, done is not None

    def _train(self, claim: Claim, run: Run, resumed: bool) -> Train:
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
            tell(self.narrator, self.study, self.settings, trial)

    def _charge_of(self, claim: Claim) -> Price:
        """What the ledger says of the attempt that this process made."""
        own = [t for t in self.study.attempts() if t.number == claim.trial.number]
        return sum((self._charge(trial) or NOTHING for trial in own), NOTHING)

    def _check_limit(self, claim: Claim, price: Price) -> None:
        """BudgetError where the study's limit does not allow a trial beside all others."""
        convention = self.settings.convention
        spent = self.study.committed(claim.trial.number).of(convention)
        if self.limit is not None and spent + price.of(convention) > self.limit:
            raise BudgetError(
                f"study {self.settings.study}: trial {claim.slot} may cost "
                f"{price.of(convention):,} FLOPs ({convention}), "
                f"{max(0, self.limit - spent):,} of {self.limit:,} are left",
                "The same command with a larger --max-flops goes on.",
            )

    def _prunes(self, stage: int) -> bool:
        """Only the search is pruned: later stages have too few trials to judge one by."""
        return self.settings.pruner != "none" and stage == 0

    def _check_base(self, loaded: Loaded) -> None:
        study = self.study.study
        was = study.user_attrs.get("base_sha256")
        if was is None:
            study.set_user_attr("base_sha256", loaded.base.sha256)
        elif was != loaded.base.sha256:
            raise LvloraError(
                f"study {self.settings.study}: {loaded.base.name} is not the base model that its "
                "trials started from",
                "Name that model with --model, or start another --study.",
            )

    def _charge(self, trial: FrozenTrial) -> Price | None:
        """What the ledger says of an attempt whose process is gone; None if it knows nothing."""
        slot = slot_of(trial)
        run = trial_folder(folder_of(self.settings), slot).name
        with Ledger.for_runs(self.settings.runs) as ledger:
            rows = [row for row in ledger.rows() if row.run == run]
            if any(row.status == "open" for row in rows):
                ledger.close(run)
                rows = [row for row in ledger.rows() if row.run == run]
        if not rows:
            # it was never begun, as far as this ledger knows; one that began has a price
            return None if "price" in trial.user_attrs.get("start", {}) else NOTHING
        charged = sum((row.charged for row in rows), NOTHING)
        return (charged - self.study.spent_on(slot, trial.number)) | NOTHING

    def _stop_if_asked(self) -> None:
        if self.stop is not None and self.stop.requested:
            raise RunStopped(
                f"study {self.settings.study}: stopped between two trials; everything is saved",
                "The same command goes on.",
            )

    def _wait(self) -> None:
        self._stop_if_asked()
        self.narrator.waiting()
        time.sleep(_SECONDS_BETWEEN_LOOKS)


def tell(
    narrator: SweepNarrator, study: SharedStudy, settings: SweepSettings, trial: FrozenTrial
) -> None:
    """Say how a trial ended."""
    best = study.best()
    is_best = best is not None and best.number == trial.number
    narrator.ended(trial_of(study, trial, settings), best=is_best)


def _facts(result: Train) -> Mapping[str, Any]:
    facts = result.model_dump(mode="json")
    validation = facts.pop("validation") or {}
    zero_shot = facts.pop("zero_shot") or {}
    flops = {c: str(n) for c, n in facts.pop("flops").items()}
    return {
        "mae": validation.get("mae"),
        "loss": validation.get("loss"),
        "mae_before": zero_shot.get("mae"),
        "loss_before": zero_shot.get("loss"),
        "flops": flops,
        **{k: facts[k] for k in ("steps", "best_step", "seconds", "tokens", "adapter")},
        "trainable_parameters": facts["trainable_parameters"],
    }
