"""One training run from its first step to its last: loop, validation, saves, ledger, signals."""

from __future__ import annotations

import bisect
import contextlib
from collections.abc import Iterator

import safetensors.torch
import torch
from pydantic import ValidationError

from lvlora.answers import NOTHING, Price
from lvlora.errors import EXIT_STOPPED, BudgetError, DataError, NumericalError, RunStopped
from lvlora.flops.ledger import Ledger, Limits, Wanted
from lvlora.flops.rows import Row, Spender
from lvlora.model.adapters import is_whole
from lvlora.narrator import Narrator, Silent
from lvlora.train.loop import Loaded
from lvlora.train.process import ALONE, FailedElsewhere, ProcessLost, Ranks, StopRequest
from lvlora.train.record import (
    Observer,
    Progress,
    RunPlan,
    Spending,
    StepRecord,
    Train,
    ValidationRecord,
)
from lvlora.train.run_folder import RunFolder, latest_state, restore_tensors, save_state, tensors_of
from lvlora.train.validation import gain_in


class Run:
    """A loaded run and its folder, which the caller holds until the run is over.

    Args:
        resume: go on from the folder's newest valid state; a `DataError` if it is another run's.
        limits: in the ledger, the run's own over all its processes; default: the settings'.
        ranks: the processes that make it together, of which this is the first.
    """

    def __init__(
        self,
        loaded: Loaded,
        folder: RunFolder,
        observer: Observer,
        narrator: Narrator | None = None,
        *,
        resume: bool = False,
        limits: Limits | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        self.loaded, self.plan, self.folder = loaded, loaded.plan, folder
        self.observer, self.narrator, self.ranks = observer, narrator or Silent(), ranks
        settings = self.plan.settings
        self.limits = limits or Limits(settings.max_flops, settings.budget, settings.convention)
        # the limit of a study is not that of each trial
        self.limit = None if self.limits.study else self.limits.max_flops
        self.progress = self._restored() if resume else Progress()
        if resume and self._is_over:
            self.narrator.note(f"{folder.path}: the run is finished already.")
        elif self.progress.step:
            step, n_steps = self.progress.step, self.plan.n_steps
            self.narrator.note(f"Going on after step {step} of {n_steps}.")
        self._entries: dict[str, Row] = {}
        self._before = dict(self.progress.spending)
        self._charged: dict[str, Spending] = {}

    def _restored(self) -> Progress:
        """Put the newest valid state into the model and the optimisers."""
        loaded, folder = self.loaded, self.folder
        folder.remove_leftovers()
        state, warnings = latest_state(folder.state)
        for warning in warnings:
            self.narrator.warning(warning)
        if state is None:
            self.narrator.note(f"{folder.path}: no checkpoint yet; starting from step 0")
            folder.keep_metrics_until(-1)
            return Progress()
        try:
            changed = loaded.changes_since(state.facts["identity"])
            progress = Progress.model_validate(state.facts["progress"])
        except (KeyError, TypeError, AttributeError, ValidationError) as error:
            raise DataError(
                f"{state.folder}: was written by another version of lvlora ({error!r})",
                "Go on with that version, or start a new run.",
            ) from None
        if changed:
            raise DataError(
                f"{folder.path}: cannot go on, changed since: {', '.join(changed)}",
                "Resume with the same data, settings and base model, or start a new run.",
            )
        restore_tensors(state.tensors, state.folder, loaded.parameters, loaded.optimizers)
        if progress.validation is not None and not is_whole(folder.adapter):
            # it stands beside the checkpoints, which cannot bring it back
            self.narrator.warning(
                f"{folder.adapter}: the best adapter, of step {progress.best_step}, is "
                "damaged or gone; the best of the steps to come takes its place"
            )
            progress.validation, progress.best_step, progress.stale = None, None, 0
        folder.keep_metrics_until(state.step)
        return progress

    def train(self) -> Train:
        """Train to the end; whatever stops it, the state before the unfinished step is saved.

        Raises:
            BudgetError: a limit would be passed; nothing was spent.
            RunStopped, NumericalError, ProcessLost: what stopped it.
        """
        plan, loaded, progress = self.plan, self.loaded, self.progress
        save_every = plan.settings.save_every
        with Ledger.for_runs(plan.settings.runs) as ledger, StopRequest(self.narrator.note) as stop:
            with self.ranks.together():
                last = self._reserve(ledger)
            try:
                if self.ranks.size > 1:
                    tensors = tensors_of(loaded.parameters, loaded.optimizers)
                    tensors["steps"] = torch.tensor([progress.step, last])
                    self.ranks.broadcast(safetensors.torch.save(tensors))
                if not self._is_over:
                    self.observer.started(self._run_plan(last))
                if plan.part is not None and progress.zero_shot is None:
                    self._validate(trained=False)
                    self._charge(ledger)
                steps = loaded.steps(progress.step, last, self.ranks)
                while self._goes_on(last, stop):
                    with self._in_flight("train", plan.cost.per_step):
                        step = next(steps)
                    self._record(step)
                    if plan.part is not None and progress.step in plan.validate_at:
                        self._validate()
                    self._charge(ledger)
                    if save_every and progress.step % save_every == 0:
                        self._save()
                return self._finish()
            except (NumericalError, ProcessLost):
                self._save()
                raise
            finally:
                self.observer.finished()
                self._charge(ledger, done=True)

    @property
    def _is_over(self) -> bool:
        return self.progress.ended or self.progress.step >= self.plan.n_steps

    def _reserve(self, ledger: Ledger) -> int:
        """Promise what this process may spend; return the last step that the limit allows.

        A fresh run is laid out to fit; one that repeats steps after a kill may not reach its end.
        """
        name, settings = self.folder.name, self.plan.settings
        rows = [row for row in ledger.rows() if row.run == name]
        if any(row.status == "open" for row in rows):
            ledger.close(name)  # left by a killed process: it stays charged
            rows = [row for row in ledger.rows() if row.run == name]
        if self._is_over:
            return self.plan.n_steps
        # a ledger that was lost or is another one does not make the run cheaper
        charged = sum((row.charged for row in rows), NOTHING) | self.progress.spent
        last = self._last_step(charged.of(settings.convention))
        base = self.loaded.base
        units = {"train": self.plan.cost.per_step, "validation": self.plan.cost.per_validation}
        wanted = {
            phase: Wanted(bound, units[phase])
            for phase, bound in self._bounds(last).items()
            if bound != NOTHING
        }
        spender = Spender(
            command="train",
            settings_hash=self.plan.settings_sha256,
            model=base.name,
            model_hash=base.sha256,
            device=base.placement.device.type,
            dtype=base.placement.dtype_name,
        )
        self._entries = ledger.reserve(name, wanted, spender, self.limits)
        return last

    def _last_step(self, spent: int) -> int:
        planned, done = self.plan.n_steps, self.progress.step
        if self.limit is None:
            return planned
        convention = self.plan.settings.convention
        cost = self._flops_until
        steps = range(done, planned + 1)  # each costs more than the one before
        last = done + bisect.bisect_right(steps, self.limit - spent, key=cost) - 1
        if last <= done:
            raise BudgetError(
                f"run {self.folder.name}: {spent:,} FLOPs spent, the next step may cost "
                f"{cost(done + 1):,}, --max-flops {self.limit:,} ({convention})",
                f"To its end it needs --max-flops {spent + cost(planned):,}.",
            )
        return last

    def _flops_until(self, last: int) -> int:
        return sum(self._bounds(last).values(), NOTHING).of(self.plan.settings.convention)

    def _bounds(self, last: int) -> dict[str, Price]:
        """Return the most that each phase can cost from here to the step ``last``."""
        untrained = self.progress.zero_shot is None
        return self.plan.bounds(self.progress.step, last, untrained=untrained)

    def _run_plan(self, last: int) -> RunPlan:
        plan, first, untrained = self.plan, self.progress.step, self.progress.zero_shot is None
        return RunPlan(
            run=self.folder.name,
            steps=plan.n_steps,
            tokens_per_step=plan.tokens_per_step,
            flops_at_most=self._flops_until(last),
            max_flops=self.limit,
            first_step=first,
            validations=plan.n_validations(first, last, untrained=untrained),
            convention=plan.settings.convention,
        )

    def _goes_on(self, last: int, stop: StopRequest) -> bool:
        """Return whether there is a step to make; a signal to any process saves and stops."""
        progress = self.progress
        is_done = progress.step >= last or progress.ended
        is_done, is_stopped = self.ranks.any_of(is_done, stop.requested)
        if is_stopped and not is_done:
            self._save()
            self.ranks.wait()
            raise RunStopped(
                f"stopped after step {progress.step} of {self.plan.n_steps}; everything is saved",
                f"Go on with: {self.folder.resume_command}",
            )
        return not is_done

    @contextlib.contextmanager
    def _in_flight(self, phase: str, bound: Price) -> Iterator[None]:
        """Charge interrupted work in full: nobody knows how far it was."""
        try:
            yield
        except BaseException:
            self.progress.spending[phase] += Spending(price=bound)
            raise

    def _record(self, step: StepRecord) -> None:
        progress, price = self.progress, self.plan.trained.step(step.shapes)
        progress.step, progress.loss = step.step, step.loss
        progress.spending["train"] += Spending(
            price=price, seconds=step.seconds, tokens=step.tokens, tokens_padded=step.tokens_padded
        )
        counts = {
            "flops": price.executed,
            "flops_coursework": price.coursework,
            "total_flops": progress.spent.executed,
            "total_flops_coursework": progress.spent.coursework,
        }
        record = step.model_copy(update=counts)
        self.folder.append(record.model_dump(mode="json"))
        self.observer.step(record)

    def _validate(self, *, trained: bool = True) -> None:
        """Score the model, keep the adapter if it is the best, and decide if the run ends."""
        plan, progress = self.plan, self.progress
        assert plan.part is not None
        with self._in_flight("validation", plan.cost.per_validation):
            scoring = self.loaded.validate(trained=trained)
        progress.spending["validation"] += scoring.spending
        errors, best, helps = scoring.errors, False, True
        if not trained:
            progress.zero_shot, progress.zero_shot_maes = errors, scoring.maes
        else:
            before, earlier = progress.zero_shot, progress.validation
            best = earlier is None or errors.score < earlier.score
            helps = best and (before is None or errors.score < before.score)
            progress.stale += 1
        if best:
            progress.validation, progress.best_maes = errors, scoring.maes
            progress.best_step, progress.stale = progress.step, 0
            self.loaded.save_adapter(self.folder.adapter, {**self._facts(), "helps": helps})
        record = ValidationRecord(
            step=progress.step,
            seconds=round(scoring.spending.seconds, 6),
            flops=scoring.spending.price.executed,
            flops_coursework=scoring.spending.price.coursework,
            loss=errors.loss,
            mae=errors.mae,
            best=best,
            helps=helps,
        )
        line = record.model_dump(mode="json")
        self.folder.append({"validation": line, "total_flops": progress.spent.executed})
        self.observer.validated(record)
        is_stale = 0 < plan.settings.patience <= progress.stale
        progress.ended = is_stale and progress.step < plan.n_steps

    def _finish(self) -> Train:
        plan, progress, folder = self.plan, self.progress, self.folder
        self._save()
        self.loaded.save_adapter(folder.last_adapter, self._facts())
        if progress.validation is None:
            self.loaded.save_adapter(folder.adapter, self._facts())
        return Train(
            run=folder.name,
            steps=progress.step,
            planned_steps=plan.n_steps,
            loss=progress.loss,
            zero_shot=progress.zero_shot,
            validation=progress.validation,
            gain=gain_in(
                progress.zero_shot_maes,
                progress.best_maes,
                "windows" if plan.part and plan.part.n_held_out else "series",
            ),
            best_step=progress.best_step,
            stopped_early=progress.ended,
            stopped_by_limit=not self._is_over,
            flops=progress.spent,
            validation_flops=progress.spending["validation"].price,
            flops_at_most=plan.at_most(),
            validations=plan.n_validations(),
            seconds=progress.spending["train"].seconds,
            tokens=progress.spending["train"].tokens,
            trainable_parameters=plan.trained.n_parameters,
            adapter=str(folder.adapter),
            folder=str(folder.path),
            files=[],
        )

    def _facts(self) -> dict[str, object]:
        return {
            "run": self.folder.name,
            "step": self.progress.step,
            "steps": self.plan.n_steps,
            "flops": self.progress.spent.to_dict(),
        }

    def _save(self) -> None:
        """Save a state; the ones before are intact if it cannot be."""
        loaded, progress = self.loaded, self.progress
        facts = {"identity": loaded.identity(), "progress": progress.model_dump(mode="json")}
        self.folder.sync_metrics()
        save_state(self.folder.state, progress.step, loaded.parameters, loaded.optimizers, facts)

    def _charge(self, ledger: Ledger, *, done: bool = False) -> None:
        """Write this process's progress into its entries; ``done`` ends their promises."""
        for phase, entry in self._entries.items():
            spent = self.progress.spending[phase] - self._before[phase]
            if not done and spent == self._charged.get(phase):
                continue  # each entry costs two writes to the disk
            self._charged[phase] = spent
            ledger.record(
                entry,
                spent.price,
                seconds=spent.seconds,
                tokens_useful=spent.tokens,
                tokens_padded=spent.tokens_padded,
                done=done,
            )


def follow(loaded: Loaded, ranks: Ranks) -> None:
    """Make the share of every step that falls to a process that is not the first.

    Raises:
        FailedElsewhere: the run was stopped, or a loss was not finite; the first process says so.
    """
    with ranks.together():
        pass  # the first opens the run
    with ranks.together():
        pass  # and reserves its price
    tensors = safetensors.torch.load(ranks.broadcast(b""))
    restore_tensors(tensors, "the first process", loaded.parameters, loaded.optimizers)
    first, last = tensors["steps"].tolist()
    steps = loaded.steps(first, last, ranks)
    with StopRequest() as stop:
        while True:
            is_done, is_stopped = ranks.any_of(False, stop.requested)
            if is_done:
                return
            if is_stopped:
                ranks.wait()  # until all is saved
                raise FailedElsewhere(0, EXIT_STOPPED)
            try:
                next(steps)
            except NumericalError as error:
                raise FailedElsewhere(0, error.exit_code) from None
