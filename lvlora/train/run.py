"""One training run from its first step to its last: loop, validation, saves, ledger, signals."""

from __future__ import annotations

import bisect
import json
import math
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import safetensors.torch

from lvlora import durable
from lvlora.answers import NOTHING, Price
from lvlora.errors import BudgetError, NumericalError, RunStopped
from lvlora.flops.ledger import Ledger, Limits, Wanted
from lvlora.flops.rows import Row, Spender
from lvlora.train import checkpoint
from lvlora.train.checkpoint import Progress
from lvlora.train.loop import Loaded, settings_hash
from lvlora.train.observer import EndRun, Observer, RunPlan, StepRecord, ValidationRecord
from lvlora.train.process import StopRequest
from lvlora.train.ranks import ALONE, ProcessLost, Ranks
from lvlora.train.record import Train
from lvlora.train.run_folder import RunFolder
from lvlora.train.validation import Scoring, keep_forecasts


def charged(ledger: Ledger, run: str) -> Price:
    """Spending and reservation of all processes of a run."""
    return sum((row.charged for row in ledger.rows() if row.run == run), NOTHING)


class Charges:
    """Open entries of this process: at most one of training, and one of validation.

    Args:
        start: the run's progress when they were made; only what comes after is theirs.
    """

    def __init__(self, ledger: Ledger, held: Mapping[str, Row], start: Progress) -> None:
        self.ledger, self.held, self.start = ledger, held, start

    def record(self, now: Progress, *, done: bool = False) -> None:
        """Write down progress.

        Args:
            done: replace the promises by what was spent; else these stay charged.
        """
        before = self.start
        if "train" in self.held:
            self.ledger.record(
                self.held["train"],
                now.training_spent - before.training_spent,
                seconds=now.seconds - before.seconds,
                tokens_useful=now.tokens - before.tokens,
                tokens_padded=now.tokens_padded - before.tokens_padded,
                done=done,
            )
        if "validation" in self.held:
            self.ledger.record(
                self.held["validation"],
                now.validation_spent - before.validation_spent,
                seconds=now.validation_seconds - before.validation_seconds,
                tokens_useful=now.validation_tokens - before.validation_tokens,
                done=done,
            )


class Run:
    """A loaded run and its folder, which is this process's until the run is over.

    Args:
        resume: go on from the folder's newest valid checkpoint.
        limit: FLOPs that the run may spend, over all its processes; default: the settings'.
        ranks: the processes that make it together, of which this is the first.
        held: the lock on the folder where it was taken already, and what else ends with the run.
        within: limits in the ledger, where they are not those of the settings.

    Attributes:
        resumed: it goes on from a checkpoint, or was to.
        progress: how far the run is.
        at_start: how far it was when this process began to spend.

    Raises:
        LvloraError: another process works on it.
        DataError: it belongs to other data, settings or weights.
    """

    def __init__(
        self,
        loaded: Loaded,
        folder: RunFolder,
        observer: Observer,
        *,
        resume: bool = False,
        limit: int | None = None,
        ranks: Ranks = ALONE,
        held: ExitStack | None = None,
        within: Limits | None = None,
    ) -> None:
        self.loaded = loaded
        self.plan = loaded.plan
        self.folder = folder
        self.observer = observer
        self.ranks = ranks
        self.limit = self.plan.settings.max_flops if limit is None else limit
        self.within = within
        self.progress = Progress()
        self._in_flight: tuple[str, Price] | None = None
        self.resumed = resume
        with held or ExitStack() as own:
            if held is None:
                own.enter_context(folder.held())
            folder.keep_name()
            if resume:
                self.progress = checkpoint.restore_run(loaded, folder, observer)
                self._say_where_it_is()
            self._held = own.pop_all()
        self.at_start = replace(self.progress)

    def train(self) -> Train:
        """Train to the end.

        Raises:
            BudgetError: a limit would be passed; nothing was spent.
            RunStopped: a signal came; the state is saved.
            NumericalError: a loss was not finite; the state before that step is saved.
            ProcessLost: another process of the run is gone; the state before that step is saved.
        """
        p, loaded, progress = self.plan, self.loaded, self.progress
        settings = p.settings
        with (
            self._held,
            Ledger.for_runs(settings.runs) as ledger,
            StopRequest(self.observer.note) as stop,
        ):
            with self.ranks.heard():
                if any(r.run == self.folder.name and r.status == "open" for r in ledger.rows()):
                    ledger.close(self.folder.name)  # left by a killed process: it stays charged
                last = self._last_step(ledger)
                charges = self._reserve(ledger, last)
            try:
                if self.ranks.size > 1:
                    tensors = checkpoint.tensors_of(loaded.parameters, loaded.optimizers)
                    start = {"step": progress.step, "last": last}
                    self.ranks.say(start, safetensors.torch.save(tensors))
                if not self._is_over:
                    self.observer.started(self._plan(last))
                if loaded.validator and progress.zero_shot is None:
                    self._validate_untrained()
                    charges.record(progress)
                steps = loaded.steps(progress.step, last, self.ranks)
                while self._goes_on(last, stop):
                    self._in_flight = ("train", p.per_step)
                    step = next(steps)
                    self._in_flight = None
                    self._record_step(step)
                    if progress.step in p.validate_at and loaded.validator:
                        progress.ended = self._validate()
                    charges.record(progress)
                    if settings.save_every and progress.step % settings.save_every == 0:
                        self._save_state()
                return self._finish()
            except NumericalError:
                self._save_state()
                self._record_failure()
                raise
            except ProcessLost:
                self._save_state()
                raise
            finally:
                self.observer.finished()
                self._charge_in_flight()
                charges.record(self.progress, done=True)

    def _wanted(self, last: int) -> dict[str, Wanted]:
        """The most that this process may spend on each phase, up to the step ``last``."""
        p, validations = self.plan, self._validations_left(last)
        return {
            "train": Wanted((last - self.progress.step) * p.per_step, p.per_step),
            "validation": Wanted(validations * p.per_validation, p.per_validation),
        }

    def _validations_left(self, last: int) -> int:
        """How many are made up to the step ``last``, the one before the first step included."""
        p, progress = self.plan, self.progress
        left = sum(progress.step < s <= last for s in p.validate_at)
        return left + (p.part is not None and progress.zero_shot is None)

    def _last_step(self, ledger: Ledger) -> int:
        """The last step that fits into the limit beside what killed processes spent.

        A fresh run is laid out to fit; one that repeats steps after a kill may not reach its end.

        Raises:
            BudgetError: not one more step fits.
        """
        done, planned = self.progress.step, self.plan.n_steps
        if self.limit is None or self._is_over:
            return planned
        convention = self.plan.settings.convention
        # a ledger that was lost or is another one does not make the run cheaper
        spent = (charged(ledger, self.folder.name) | self.progress.spent).of(convention)

        def cost(last: int) -> int:
            return sum(w.at_most.of(convention) for w in self._wanted(last).values())

        steps = range(done, planned + 1)  # of which each costs more than the one before
        fitting = done + bisect.bisect_right(steps, self.limit - spent, key=cost) - 1
        if fitting <= done:
            raise BudgetError(
                f"run {self.folder.name}: {spent:,} FLOPs spent, the next step may cost "
                f"{cost(done + 1):,}, --max-flops {self.limit:,} ({convention})",
                f"To its end it needs --max-flops {spent + cost(planned):,}.",
            )
        return fitting

    def _reserve(self, ledger: Ledger, last: int) -> Charges:
        base, settings = self.loaded.base, self.plan.settings
        wanted = {} if self._is_over else self._wanted(last)
        priced = {phase: one for phase, one in wanted.items() if one.at_most != NOTHING}
        spender = Spender(
            command="train",
            settings_hash=settings_hash(settings),
            model=base.name,
            model_hash=base.sha256,
            device=base.placement.device.type,
            dtype=str(base.placement.dtype).removeprefix("torch."),
        )
        limits = self.within or Limits(self.limit, settings.budget, settings.convention)
        held = ledger.reserve(self.folder.name, priced, spender, limits) if priced else {}
        return Charges(ledger, held, replace(self.progress))

    @property
    def _is_over(self) -> bool:
        return self.progress.ended or self.progress.step >= self.plan.n_steps

    def _plan(self, last: int) -> RunPlan:
        p = self.plan
        convention = p.settings.convention
        most = sum(wanted.at_most.of(convention) for wanted in self._wanted(last).values())
        return RunPlan(
            run=self.folder.name,
            steps=p.n_steps,
            tokens_per_step=p.tokens_per_step,
            flops_at_most=most,
            max_flops=self.limit,
            first_step=self.progress.step,
            validations=self._validations_left(last),
        )

    def _say_where_it_is(self) -> None:
        if self._is_over:
            self.observer.note(f"{self.folder.path}: the run is finished already.")
        elif self.progress.step:
            self.observer.note(f"Going on after step {self.progress.step} of {self.plan.n_steps}.")

    def _goes_on(self, last: int, stop: StopRequest) -> bool:
        """Whether there is a step to make.

        Raises:
            RunStopped: a signal came to one of the processes; the state is saved.
        """
        progress = self.progress
        is_done = progress.step >= last or progress.ended
        is_done, is_stopped = self.ranks.agreed(is_done, stop.requested)
        if is_stopped and not is_done:
            self._save_state()
            self.ranks.wait()
            name = self.folder.resume_name(self.plan.settings.runs)
            raise RunStopped(
                f"stopped after step {progress.step} of {self.plan.n_steps}; everything is saved",
                f"Go on with: lvlora train --resume {name}",
            )
        return not is_done

    def _validate_untrained(self) -> None:
        scoring = self._measure(trained=False)
        self.progress.zero_shot = scoring.errors
        self._record_validation(scoring, best=True, kept=False)

    def _measure(self, *, trained: bool = True) -> Scoring:
        assert self.loaded.validator is not None
        self._in_flight = ("validation", self.plan.per_validation)
        scoring = self.loaded.validator.run(trained=trained)
        self._in_flight = None
        progress = self.progress
        progress.spent += scoring.price
        progress.validation_spent += scoring.price
        progress.validation_seconds += scoring.seconds
        progress.validation_tokens += scoring.tokens
        return scoring

    def _charge_in_flight(self) -> None:
        """Charge an interrupted phase in full: nobody knows how far it was."""
        if self._in_flight is not None:
            phase, price = self._in_flight
            self.progress.spent += price
            if phase == "validation":
                self.progress.validation_spent += price
            self._in_flight = None

    def _record_step(self, step: StepRecord) -> None:
        """The file first, then the observer."""
        progress, price = self.progress, self.plan.trained.step(step.shapes)
        progress.spent += price
        progress.step = step.step
        progress.seconds += step.seconds
        progress.tokens += step.tokens
        progress.tokens_padded += step.tokens_padded
        progress.loss = step.loss
        convention = self.plan.settings.convention
        record = replace(step, price=price, spent=progress.spent, convention=convention)
        self.folder.append(record.row())
        self.observer.step(record)

    def _record_validation(self, scoring: Scoring, *, best: bool, kept: bool) -> None:
        """The files first, then the observer.

        Args:
            best: no validation was better, not even the one before the first step; kept: its
                adapter is the best so far.

        Raises:
            EndRun: the observer wants the run to end.
        """
        progress = self.progress
        record = ValidationRecord(
            step=progress.step,
            loss=math.nan if scoring.errors.loss is None else scoring.errors.loss,
            mae=scoring.errors.mae,
            seconds=scoring.seconds,
            price=scoring.price,
            spent=progress.spent,
            best=best,
            kept=kept,
            convention=self.plan.settings.convention,
        )
        self.folder.append(record.row())
        if self.plan.part is not None and scoring.point is not None and (kept or not progress.step):
            keep_forecasts(
                self.folder.validation,
                self.plan.part.scored,
                scoring.point,
                "kept" if kept else "before",
                progress.step,
            )
        self.observer.validated(record)

    def _record_failure(self) -> None:
        """Record the series of the step that failed, for whoever looks for the cause."""
        windows, n = self.plan.windows, self.plan.settings.accumulation
        batches = [windows.origins(self.progress.step * n + i) for i in range(n)]
        failure = {
            "step": self.progress.step + 1,
            "batches": [
                [{"series": name, "first_step": first} for name, first in batch]
                for batch in batches
            ],
        }
        durable.write_text(self.folder.failure, json.dumps(failure, indent=1) + "\n")

    def _validate(self) -> bool:
        """Score, keep the adapter if it is the best so far; whether the run ends here."""
        p, progress = self.plan, self.progress
        scoring = self._measure()
        score = scoring.errors.score
        kept = progress.best is None or score < progress.best
        before = progress.zero_shot
        best = kept and (before is None or score < before.score)
        if kept:
            progress.best, progress.best_step, progress.stale = score, progress.step, 0
            progress.validation = scoring.errors
            self.loaded.save_adapter(self.folder.adapter, {**self._facts(), "helps": best})
        else:
            progress.stale += 1
        try:
            self._record_validation(scoring, best=best, kept=kept)
        except EndRun:
            return True
        return progress.step < p.n_steps and 0 < p.settings.patience <= progress.stale

    def _facts(self) -> dict[str, Any]:
        spent = self.progress.spent
        return {
            "run": self.folder.name,
            "step": self.progress.step,
            "steps": self.plan.n_steps,
            "flops": spent.to_dict(),
        }

    def _finish(self) -> Train:
        p, progress = self.plan, self.progress
        self._save_state()
        self.loaded.save_adapter(self.folder.last_adapter, self._facts())
        if progress.best is None:
            self.loaded.save_adapter(self.folder.adapter, self._facts())
        self.folder.failure.unlink(missing_ok=True)
        return Train(
            run=self.folder.name,
            steps=progress.step,
            planned_steps=p.n_steps,
            loss=progress.loss,
            zero_shot=progress.zero_shot,
            validation=progress.validation,
            gain=None,
            best_step=progress.best_step,
            stopped_early=progress.ended,
            stopped_by_limit=not self._is_over,
            flops=progress.spent,
            validation_flops=progress.validation_spent,
            flops_at_most=p.at_most(),
            validations=p.n_validations,
            seconds=progress.seconds,
            tokens=progress.tokens,
            trainable_parameters=p.trained.n_parameters,
            adapter=str(self.folder.adapter),
            folder=str(self.folder.path),
            files=[],
        )

    def _save_state(self) -> None:
        checkpoint.save_run(self.loaded, self.folder, self.progress)
