"""Trial after trial until the plan is done or a limit is reached; however each one ends."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

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
from lvlora.sweep.attempts import Attempt
from lvlora.sweep.narrator import SweepNarrator
from lvlora.sweep.results import trial_of
from lvlora.sweep.space import with_params
from lvlora.sweep.storage import folder_of
from lvlora.sweep.study import Claim, SharedStudy, heartbeat
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
from lvlora.train.answers import Train
from lvlora.train.loaded import Loaded, load_run
from lvlora.train.process import StopRequest
from lvlora.train.run import Run
from lvlora.train.trackers.tracked import tracked

_SECONDS_BETWEEN_LOOKS = 1.0

Ending = Literal["done", "limit"]


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
                for dead in self.study.recover(self._charge):
                    self.narrator.recovered(dead.slot)
                claim = self.study.claim()
                if claim is None:
                    self._wait()
                    continue
                try:
                    if not self._make(claim):
                        return "limit"
                except BaseException as error:
                    self._give_back(claim, error)
                    raise
                self._stop_if_asked()
        return "done"

    def _make(self, claim: Claim) -> bool:
        """One trial; False if it would pass a limit, and was not begun."""
        from lvlora.report.run.page import draw_run

        stage = self.study.plan.stages[claim.stage]
        allotment = self.study.plan.allotments[claim.stage]
        self.narrator.began(claim.slot, stage.name, claim.params)
        convention = self.settings.convention
        loaded: Loaded | None = None
        run: Run | None = None
        folder = trial_folder(folder_of(self.settings), claim.slot)
        done: int | None = None
        try:
            plan = plan_trial(with_params(self.base, claim.params), self.dataset, allotment)
            if folder.state.exists():  # only its weights tell whether it can go on
                loaded = load_run(plan)
                done = steps_done(loaded, folder)
            price = plan.at_most(done or 0, whole=done is None)
            self.study.price(claim, price, run=folder.name)
            if not self._fits(claim, price):
                self.study.give_back(claim, NOTHING)
                return False
            if loaded is None:
                loaded = load_run(plan)
            self._check_base(loaded)
            self._stop_if_asked()
            watch = Watch(
                tracked(self.narrator.observer(), loaded, folder),
                claim.trial if self._prunes(claim.stage) else None,
                max(1, allotment.at_most.of(convention)),
                self.parent,
                self.settings.objective,
            )
            sources = sources_of(plan.settings, claim.params, self.sources)
            run = open_run(loaded, folder, watch, sources, resume=done is not None)
            if run.progress.step:
                watch.replay(folder.read_metrics(), convention)
            with heartbeat(claim.trial):
                result = run.train()
            draw_run(folder.path)
        except BudgetError as error:
            if run is not None and done is None:
                folder.remove_if_nothing_was_done()
            self.study.give_back(claim, NOTHING)  # the ledger refuses before a run begins
            self.refusal = error
            return False
        except Exception as error:
            if not isinstance(error, (NumericalError, SettingsError)) and not is_out_of_memory(
                error
            ):
                raise
            spent = NOTHING if run is None else spent_by(run)
            self._fail(claim, spent, error)
        else:
            self._succeed(claim, run, result, watch.pruned)
        # a model at a time: the next one is loaded when this one is gone
        del loaded, run
        gc.collect()
        tell(self.narrator, self.study, self.settings, claim.slot)
        return True

    def _succeed(self, claim: Claim, run: Run, result: Train, pruned: bool) -> None:
        found = result.validation
        value = None if found is None else found.mae
        if found is not None and (value is None or self.settings.objective == "loss"):
            value = found.loss
        facts = _facts(result)
        if value is None or not math.isfinite(value):
            reason = {"reason": "the validation error is not a number"}
            self.study.finish(claim, "failed", None, spent_by(run), {**facts, **reason})
        else:
            outcome: Literal["pruned", "complete"] = "pruned" if pruned else "complete"
            cost = getattr(result.flops, self.settings.convention) if self.settings.pareto else None
            self.study.finish(claim, outcome, float(value), spent_by(run), facts, cost)

    def _fail(self, claim: Claim, spent: Price, error: Exception) -> None:
        self.study.finish(claim, "failed", None, spent, {"reason": reason_of(error)})

    def _give_back(self, claim: Claim, error: BaseException) -> None:
        """Whatever ended the attempt: its slot must not stay taken by it."""
        attempt = next((a for a in self.study.attempts() if a.number == claim.trial.number), None)
        if attempt is not None and attempt.state == "running":
            self.study.give_back(claim, self._charge(attempt) or NOTHING)
        if isinstance(error, RunStopped):
            raise RunStopped(
                f"study {self.settings.study}: stopped in trial {claim.slot}; everything is saved",
                "The same command goes on.",
            ) from None

    def _fits(self, claim: Claim, price: Price) -> bool:
        if self.limit is None:
            return True
        convention = self.settings.convention
        spent = self.study.committed(claim.trial.number).of(convention)
        wanted = price.of(convention)
        if spent + wanted <= self.limit:
            return True
        self.refusal = BudgetError(
            f"study {self.settings.study}: trial {claim.slot} may cost {wanted:,} FLOPs "
            f"({convention}), {max(0, self.limit - spent):,} of {self.limit:,} are left",
            "The same command with a larger --max-flops goes on.",
        )
        return False

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

    def _charge(self, attempt: Attempt) -> Price | None:
        """What the ledger says of an attempt whose process is gone; None if it knows nothing."""
        run = trial_folder(folder_of(self.settings), attempt.slot).name
        with Ledger.for_runs(self.settings.runs) as ledger:
            rows = [row for row in ledger.rows() if row.run == run]
            if any(row.status == "open" for row in rows):
                ledger.close(run)
                rows = [row for row in ledger.rows() if row.run == run]
        if not rows:
            # it was never begun, as far as this ledger knows; one that began has a price
            return None if "price" in attempt.start else NOTHING
        charged = sum((row.charged for row in rows), NOTHING)
        earlier = self.study.spent_on(attempt.slot, attempt.number)
        return (charged - earlier) | NOTHING

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


def tell(narrator: SweepNarrator, study: SharedStudy, settings: SweepSettings, slot: int) -> None:
    """Say how a trial ended."""
    record = next(attempt for attempt in study.records() if attempt.slot == slot)
    best = study.best()
    is_best = best is not None and best.slot == slot
    narrator.ended(trial_of(study, record, settings), best=is_best)


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
