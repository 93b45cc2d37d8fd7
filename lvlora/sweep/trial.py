"""One trial of a sweep: a training run in its own folder, watched for its study."""

from __future__ import annotations

import math
import os
import shutil
import signal
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lvlora import folders
from lvlora.data.dataset import Dataset
from lvlora.errors import LvloraError, SettingsError, is_out_of_memory
from lvlora.flops.ledger import Limits
from lvlora.sweep.plan import Allotment
from lvlora.sweep.space import ALPHA_PER_RANK, Params
from lvlora.sweep.study import REACH
from lvlora.train import checkpoint
from lvlora.train.loop import Loaded
from lvlora.train.observer import EndRun, Observer, RunPlan, StepRecord, ValidationRecord
from lvlora.train.plan import Plan, plan_run
from lvlora.train.run import Run
from lvlora.train.run_folder import RunFolder
from lvlora.train.schedule import USUAL, Cost, steps_between_validations
from lvlora.train.settings import TrainSettings

if TYPE_CHECKING:
    from optuna import Trial

_SAVES = 10
"""Checkpoints of a trial at least: what a killed one repeats is a tenth of it."""


@dataclass(frozen=True)
class TrialFolder(RunFolder):
    """A run's folder inside a study's; the ledger knows it by both names."""

    @property
    def name(self) -> str:
        """STUDY/trial-0003."""
        return f"{self.path.parent.name}/{self.path.name}"


def trial_folder(study_folder: Path, slot: int) -> TrialFolder:
    """Return the folder of the ``slot``-th trial."""
    return TrialFolder(study_folder / f"trial-{slot:04d}")


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
        parent: the process that started this one; when it is gone, the run stops, saved.
    """

    def __init__(
        self,
        inner: Observer,
        trial: Trial | None,
        dearest: int,
        parent: int | None = None,
    ) -> None:
        self.inner = inner
        self.trial = trial
        self.dearest = dearest
        self.parent = parent
        self.pruned = False
        self._spent = 0
        self._steps = 0
        self._reported: set[int] = set()

    def replay(self, rows: list[dict[str, object]], convention: str) -> None:
        """Report the validations that a resumed run had made before."""
        key = "flops" if convention == "executed" else "flops_coursework"
        for row in rows:
            validation = row.get("validation")
            price = validation.get(key) if isinstance(validation, dict) else row.get(key)
            self._spent += price if isinstance(price, int) else 0
            if isinstance(validation, dict) and validation["step"]:
                self._report(validation["mae"], validation["loss"])

    def started(self, plan: RunPlan) -> None:
        """Pass it on."""
        self._steps = plan.steps
        self.inner.started(plan)

    def step(self, record: StepRecord) -> None:
        """Pass it on; stop where nobody waits for the result."""
        self._spent = record.total_flops
        self.inner.step(record)
        if self.parent is not None and os.getppid() != self.parent:
            os.kill(os.getpid(), signal.SIGTERM)  # as if asked to stop: the run saves itself
            self.parent = None

    def validated(self, record: ValidationRecord) -> None:
        """Pass it on; end a trial that is worse than its rivals were for the same FLOPs."""
        self._spent += record.flops
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

    def _report(self, mae: float | None, loss: float) -> None:
        score = loss if mae is None else mae
        reached = REACH * self._spent // self.dearest
        if self.trial is None or not math.isfinite(score) or reached in self._reported:
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
