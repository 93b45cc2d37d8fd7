"""One training run from its first step to its last: loop, validation, saves, ledger, signals.

Knows: the order of things, and what must be on disk when. Does not know: terminals, figures.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from typing import Any

from lvlora.errors import LvloraError, RunStopped
from lvlora.flops.budget import NOTHING, Price
from lvlora.flops.ledger import Ledger, Reservation
from lvlora.train import checkpoint, loop
from lvlora.train.observer import EndRun, Observer, RunPlan, StepRecord, ValidationRecord
from lvlora.train.run_folder import RunFolder
from lvlora.train.setup import Prepared, settings_hash
from lvlora.train.stopping import StopRequest
from lvlora.train.validation import Validation


@dataclass
class Progress:
    """How far a run is; everything in it is saved with a checkpoint.

    Attributes:
        step: optimiser steps that are done.
        spent: by the run's whole history, in both conventions.
        best: the lowest validation score, at ``best_step``; ``stale`` validations since.
        zero_shot: the validation before the first step, for comparison.
    """

    step: int = 0
    spent: Price = NOTHING
    seconds: float = 0.0
    tokens: int = 0
    tokens_padded: int = 0
    best: float | None = None
    best_step: int | None = None
    stale: int = 0
    loss: float | None = None
    zero_shot: dict[str, Any] | None = None
    validation: dict[str, Any] | None = None

    def to_facts(self) -> dict[str, Any]:
        """For a manifest; FLOPs as text, they pass 2^53."""
        facts = asdict(self)
        facts["spent"] = [str(self.spent.executed), str(self.spent.coursework)]
        return facts

    @classmethod
    def from_facts(cls, facts: dict[str, Any]) -> Progress:
        """The inverse of `to_facts`."""
        executed, coursework = facts["spent"]
        return cls(**{**facts, "spent": Price(int(executed), int(coursework))})


@dataclass(frozen=True)
class Result:
    """What a finished run has to say."""

    run: str
    steps: int
    loss: float | None
    zero_shot: dict[str, Any] | None
    validation: dict[str, Any] | None
    best_step: int | None
    stopped_early: bool
    flops: dict[str, int]
    seconds: float
    tokens: int
    trainable_parameters: int
    adapter: str


class Run:
    """A prepared run and its folder.

    Args:
        resume: go on from the folder's newest valid checkpoint.

    Raises:
        LvloraError: there is nothing to resume, or it belongs to other data, settings or weights.
    """

    def __init__(
        self, prepared: Prepared, folder: RunFolder, observer: Observer, *, resume: bool = False
    ) -> None:
        self.prepared = prepared
        self.folder = folder
        self.observer = observer
        self.progress = Progress()
        self.at_start = Progress()
        if resume:
            self._restore()

    def train(self) -> Result:
        """Train to the end.

        Raises:
            BudgetError: a limit would be passed; nothing was spent.
            RunStopped: a signal came; the state is saved.
            NumericalError: a loss was not finite; the last state is kept.
        """
        p, settings = self.prepared, self.prepared.settings
        remaining = p.most(self.progress.step)
        if self.progress.zero_shot is None and p.validator:
            remaining += p.per_validation
        limit = settings.max_flops
        with Ledger.for_runs(settings.runs) as ledger, StopRequest() as stop:
            reservation = self._reserve(ledger, remaining, limit)
            self.at_start = replace(self.progress)
            begin = time.perf_counter()
            try:
                self.observer.started(self._plan(limit))
                return self._steps(ledger, reservation, stop)
            finally:
                self.observer.finished()
                self._settle(ledger, reservation, time.perf_counter() - begin)

    def _reserve(self, ledger: Ledger, price: Price, limit: int | None) -> Reservation:
        p, settings = self.prepared, self.prepared.settings
        opened = ledger.resume(self.folder.name)
        unit = p.per_step + p.per_validation
        if opened is not None:  # a killed run: what it may have spent stays charged
            ledger.settle(
                opened, executed=opened.spent.executed, coursework=opened.spent.coursework,
                seconds=opened.seconds, tokens_useful=opened.tokens_useful,
                tokens_padded=opened.tokens_padded,
            )  # fmt: skip
        return ledger.reserve(
            run=self.folder.name, phase="train", command="train",
            executed=price.executed, coursework=price.coursework,
            settings_hash=settings_hash(settings), model=p.base.name, model_hash=p.base.sha256,
            device=str(p.base.placement.device.type), dtype=str(p.base.placement.dtype)[6:],
            unit_executed=unit.executed, unit_coursework=unit.coursework,
            max_flops=limit, budget=settings.budget, convention=settings.convention,
        )  # fmt: skip

    def _settle(self, ledger: Ledger, reservation: Reservation, seconds: float) -> None:
        ledger.settle(reservation, **{**self._since_start(), "seconds": seconds})

    def _since_start(self) -> dict[str, Any]:
        """What this process has spent, for the ledger."""
        now, before = self.progress, self.at_start
        spent = now.spent - before.spent
        return {
            "executed": spent.executed,
            "coursework": spent.coursework,
            "seconds": now.seconds - before.seconds,
            "tokens_useful": now.tokens - before.tokens,
            "tokens_padded": now.tokens_padded - before.tokens_padded,
        }

    def _plan(self, limit: int | None) -> RunPlan:
        p = self.prepared
        return RunPlan(
            run=self.folder.name,
            steps=p.n_steps,
            tokens_per_step=p.settings.batch_size * p.settings.accumulation * p.windows.width,
            flops_per_step=p.per_step.of(p.settings.convention),
            max_flops=limit,
            first_step=self.progress.step,
        )

    def _steps(self, ledger: Ledger, reservation: Reservation, stop: StopRequest) -> Result:
        p, settings, progress = self.prepared, self.prepared.settings, self.progress
        if p.validator and progress.zero_shot is None:
            found = p.validator.run()
            self._count(found.price)
            progress.zero_shot = {"loss": found.loss, "mae": found.mae}
            self._record_validation(found, best=False)
        stopped_early = False
        done = loop.steps(
            list(p.parameters.values()), p.optimizers, p.objective.loss_sum, p.windows,
            p.learning_rate, first=progress.step, last=p.n_steps,
            accumulation=settings.accumulation, clip_norm=settings.clip_norm, seed=settings.seed,
        )  # fmt: skip
        for step in done:
            self._record_step(step)
            if progress.step in p.validate_at and p.validator:
                stopped_early = self._validate()
            ledger.update(reservation, **self._since_start())
            if progress.step == p.n_steps or stopped_early:
                break
            if stop.requested:
                self._save_state()
                raise RunStopped(
                    f"stopped after step {progress.step} of {p.n_steps}; everything is saved",
                    f"Go on with: lvlora train --resume {self._resume_name()}",
                )
            if settings.save_every and progress.step % settings.save_every == 0:
                self._save_state()
        return self._finish(stopped_early)

    def _count(self, price: Price) -> None:
        self.progress.spent += price

    def _record_step(self, step: loop.Step) -> None:
        progress, convention = self.progress, self.prepared.settings.convention
        price = self.prepared.step_price(step.shapes)
        self._count(price)
        progress.step = step.step + 1
        progress.seconds += step.seconds
        progress.tokens += step.n_targets
        progress.tokens_padded += step.n_tokens - step.n_targets
        progress.loss = step.loss
        self.folder.append(
            {
                "step": progress.step, "loss": step.loss, "learning_rate": step.learning_rate,
                "grad_norm": step.grad_norm, "seconds": round(step.seconds, 6),
                "tokens": step.n_targets, "flops": price.executed,
                "flops_coursework": price.coursework, "total_flops": progress.spent.executed,
            }
        )  # fmt: skip
        self.observer.step(
            StepRecord(
                step=progress.step,
                loss=step.loss,
                learning_rate=step.learning_rate,
                grad_norm=step.grad_norm,
                seconds=step.seconds,
                tokens=step.n_targets,
                flops=price.of(convention),
                total_flops=progress.spent.of(convention),
            )
        )

    def _validate(self) -> bool:
        """Score, keep the adapter if it is the best so far; whether patience is at its end."""
        p, progress = self.prepared, self.progress
        assert p.validator is not None
        found = p.validator.run()
        self._count(found.price)
        score = found.loss if found.mae is None else found.mae
        best = progress.best is None or score < progress.best
        if best:
            progress.best, progress.best_step, progress.stale = score, progress.step, 0
            progress.validation = {"loss": found.loss, "mae": found.mae}
            p.save_adapter(self.folder.adapter, self._facts(progress.step))
        else:
            progress.stale += 1
        try:
            self._record_validation(found, best)
        except EndRun:
            return True
        return 0 < p.settings.patience <= progress.stale

    def _record_validation(self, found: Validation, best: bool) -> None:
        convention = self.prepared.settings.convention
        step = self.progress.step
        self.folder.append(
            {
                "validation": {
                    "step": step, "loss": found.loss, "mae": found.mae,
                    "seconds": round(found.seconds, 6), "flops": found.price.executed,
                    "flops_coursework": found.price.coursework, "best": best,
                },
                "total_flops": self.progress.spent.executed,
            }
        )  # fmt: skip
        self.observer.validated(
            ValidationRecord(
                step, found.loss, found.mae, found.seconds, found.price.of(convention), best
            )
        )

    def _facts(self, step: int) -> dict[str, Any]:
        spent = self.progress.spent
        return {
            "run": self.folder.name, "step": step, "steps": self.prepared.n_steps,
            "flops": {"executed": spent.executed, "coursework": spent.coursework},
        }  # fmt: skip

    def _finish(self, stopped_early: bool) -> Result:
        p, progress = self.prepared, self.progress
        self._save_state()
        facts = self._facts(progress.step)
        p.save_adapter(self.folder.last_adapter, facts)
        if progress.best is None:
            p.save_adapter(self.folder.adapter, facts)
        return Result(
            run=self.folder.name,
            steps=progress.step,
            loss=progress.loss,
            zero_shot=progress.zero_shot,
            validation=progress.validation,
            best_step=progress.best_step,
            stopped_early=stopped_early,
            flops={"executed": progress.spent.executed, "coursework": progress.spent.coursework},
            seconds=progress.seconds,
            tokens=progress.tokens,
            trainable_parameters=sum(q.numel() for q in p.parameters.values()),
            adapter=str(self.folder.adapter),
        )

    def _save_state(self) -> None:
        p = self.prepared
        facts = {"identity": p.identity(), "progress": self.progress.to_facts()}
        checkpoint.save(self.folder.state, self.progress.step, p.parameters, p.optimizers, facts)

    def _restore(self) -> None:
        p = self.prepared
        state, warnings = checkpoint.latest(self.folder.state)
        for warning in warnings:
            self.observer.note(warning)
        if state is None:
            self.observer.note(f"{self.folder.path}: no checkpoint yet; starting from step 0")
            self.folder.keep_metrics_until(-1)
            return
        saved, now = state.facts["identity"], p.identity()
        changed = [key.removesuffix("_sha256") for key in now if saved.get(key) != now[key]]
        if changed:
            raise LvloraError(
                f"{self.folder.path}: cannot go on, changed since: {', '.join(changed)}",
                "Resume with the same data, settings and base model, or start a new run.",
            )
        checkpoint.restore(state, p.parameters, p.optimizers)
        self.progress = Progress.from_facts(state.facts["progress"])
        self.folder.keep_metrics_until(state.step)
        self.observer.note(f"Going on after step {state.step} of {p.n_steps}.")

    def _resume_name(self) -> str:
        runs = self.prepared.settings.runs
        inside = self.folder.path.parent.resolve() == runs.resolve()
        return self.folder.name if inside else str(self.folder.path)
