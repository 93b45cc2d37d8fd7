"""The verb: open a study or make one, keep its plan within the limits, and make its trials."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from lvlora import numbers
from lvlora.answers import Estimate
from lvlora.data.dataset import Dataset
from lvlora.errors import (
    BudgetError,
    NumericalError,
    RunStopped,
    SettingsError,
    is_out_of_memory,
    meant,
)
from lvlora.flops import ledger
from lvlora.flops.ledger import Limits
from lvlora.flops.rows import Budget, charged
from lvlora.forecast.estimate import REPORT_SECONDS
from lvlora.model.catalogue import resolve
from lvlora.model.loading import has_weights
from lvlora.narrator import Narrator
from lvlora.report.page import PAGE, write_page
from lvlora.sweep.document import document
from lvlora.sweep.plan import SearchPlan, Stage, make_plan, points_to_price, stages_of
from lvlora.sweep.record import Sweep, SweepPlan, limit_of, record_of, shared_settings
from lvlora.sweep.settings import SweepSettings
from lvlora.sweep.space import Space, merged, read_space, show, with_params
from lvlora.sweep.study import JOURNAL, SharedStudy, StudyFacts, folder_of, slot_of, trial_folder
from lvlora.train import validation
from lvlora.train.fine_tune import estimate_run
from lvlora.train.loop import load_run
from lvlora.train.plan import USUAL, Plan, plan_run, steps_between_validations
from lvlora.train.process import StopRequest
from lvlora.train.record import Observer, Train
from lvlora.train.run import Run
from lvlora.train.run_folder import latest_state
from lvlora.train.settings import TrainSettings
from lvlora.train.trackers import Tracked, check_installed

if TYPE_CHECKING:
    from optuna import Trial

_EXPLICIT = ("flag", "python")
"""Sources of a value that belongs to this very call."""
_SAVES = 10
"""Checkpoints of a trial at least: what a killed one repeats is a tenth of it."""
_SECONDS_BETWEEN_LOOKS = 1.0


def run_search(
    settings: SweepSettings,
    read: Callable[[], Dataset],
    *,
    sources: Mapping[str, str],
    narrator: Narrator,
    observer: Callable[[], Observer] = Observer,
    space: Space | None = None,
    in_file: bool = True,
) -> Sweep:
    """Make the trials that are left of a study, which is made first if there is none.

    Args:
        read: gives the data; called once, after all that can be refused without them was.
        sources: setting → where its value came from: flag, environment, config, default, python.
        observer: gives who watches the run of a trial.
        space: the space to search, instead of that of the settings.
        in_file: the data are in the file that the settings name.

    Raises:
        SettingsError: settings contradict each other, or the study is about something else.
        BudgetError: the plan does not fit into the limits; nothing was made or spent. (A limit that
            is reached later ends the search with its answer, whose ``stopped_by`` names it.)
        RunStopped: a signal came; everything is saved.
    """
    dataset, facts = prepare(settings, read, sources, narrator, space)
    # its plan may not be ours: another process may have made the study just now
    study = SharedStudy.find(settings) or SharedStudy.make(settings, facts)
    stopped_by: str | None = None
    if study.open_slots():
        most = numbers.flops(study.plan.flops_at_most.of(settings.convention))
        narrator.note(f"{study.plan.trials} trials, at most {most} FLOPs ({settings.convention}).")
        try:
            _Search(settings, study, dataset, narrator, observer).run()
        except BudgetError as refusal:
            stopped_by = refusal.message
    else:
        narrator.note(f"Study {settings.study} is finished; nothing is left to do.")
    record = record_of(study, settings, in_file=in_file, stopped_by=stopped_by)
    folder = folder_of(settings)
    page, *pictures = write_page(folder / PAGE, document(record), folder / "figures")
    return record.model_copy(update={"files": [str(file) for file in (*pictures, page)]})


def plan_search(
    settings: SweepSettings,
    read: Callable[[], Dataset],
    *,
    sources: Mapping[str, str],
    narrator: Narrator,
) -> SweepPlan:
    """Return what `run_search` would do at most, and its time here; nothing is made.

    One trial is measured, where there are weights; the others take as much time a FLOP.
    """
    dataset, facts = prepare(settings, read, sources, narrator, None)
    is_measured = has_weights(resolve(settings.model, settings.revision))
    if not is_measured:
        narrator.note("The weights are not here, so time and memory were not measured.")
    estimate = _measured(facts.plan, settings, dataset) if is_measured else None
    return SweepPlan(study=settings.study, plan=facts.plan, estimate=estimate)


def search_status(settings: SweepSettings) -> Sweep:
    """Return the study as it is; nothing is made or spent, no model is loaded."""
    study = SharedStudy.find(settings)
    if study is None:
        names = sorted(journal.parent.name for journal in settings.runs.glob(f"*/{JOURNAL}"))
        raise SettingsError(
            f"--status: there is no study {settings.study} in {settings.runs}",
            f"{meant(settings.study, names)}--study names another, --runs another folder.",
        )
    return record_of(study, study.original)


def _measured(plan: SearchPlan, settings: SweepSettings, dataset: Dataset) -> Estimate:
    """Measure time and memory of all trials, one after the other, by steps of the largest."""
    base = shared_settings(settings, plan)
    trials = [
        (with_params(base, point), stage)
        for number, stage in enumerate(plan.stages, 1)
        for point in points_to_price(plan.stages[:number])
    ]
    largest, stage = max(trials, key=lambda t: (t[0].batch_size * t[0].seq_len, t[0].rank))
    begin = time.perf_counter()
    loaded = load_run(plan_trial(largest, dataset, stage, plan.validations))
    loading = time.perf_counter() - begin
    one = estimate_run(loaded)
    seconds = one.seconds * plan.flops_at_most.executed / loaded.plan.at_most().executed
    return Estimate(
        seconds=seconds + loading * plan.trials + REPORT_SECONDS,
        peak_bytes=one.peak_bytes,
        probe_flops=one.probe_flops,
    )


def prepare(
    settings: SweepSettings,
    read: Callable[[], Dataset],
    sources: Mapping[str, str],
    narrator: Narrator,
    space: Space | None,
) -> tuple[Dataset, StudyFacts]:
    """Return the data and the subject of a study, which may be there already; nothing is made."""
    check_installed(settings.tracker)
    stages = _stages(settings, sources, space)
    dataset = read()
    sha256 = dataset.sha256()
    n_held_out = validation.held_out_steps(settings, dataset)
    subject = settings.model_copy(update={"validation_steps": n_held_out}).model_dump(mode="json")
    study = SharedStudy.find(settings)
    if study is not None:
        study.facts.check(settings.study, subject, stages, sha256)
        return dataset, study.facts
    note = resolve(settings.model, settings.revision).note
    if note:
        narrator.note(note)
    limits, first_entry = _limits(settings)
    base = shared_settings(settings, None)
    plan = make_plan(stages, settings, base, limits, lambda s: plan_step(s, dataset).cost)
    return dataset, StudyFacts(
        settings=subject, data_sha256=sha256, first_entry=first_entry, plan=plan
    )


def _stages(
    settings: SweepSettings, sources: Mapping[str, str], space: Space | None
) -> list[Stage]:
    """Return the stages to search; settings that contradict each other are refused."""
    if not settings.validation:
        raise SettingsError(
            "--no-validation: a sweep compares trials by their validation error",
            "Leave it out; --validation-series makes validation cheaper.",
        )
    if space is None and settings.space is not None:
        space = read_space(settings.space)
    if space is not None and sources.get("preset") in _EXPLICIT:
        raise SettingsError("--preset and --space both say what is searched.", "Give one of them.")
    stages = stages_of(settings, space)
    for name in merged(stage.space for stage in stages).root:
        if sources.get(name) in _EXPLICIT:
            raise SettingsError(
                f"--{name.replace('_', '-')}: is searched, so one value means nothing",
                "Leave it out, or give a --space without it.",
            )
    return stages


def _limits(settings: SweepSettings) -> tuple[dict[str, int], int]:
    """Return the FLOPs that may be spent, by convention, and the id of the ledger's next entry."""
    limits: dict[str, int] = {}
    if settings.max_flops is not None:
        limits[settings.convention] = settings.max_flops
    rows, budget = ledger.read(settings.runs)
    if settings.budget is not None:
        budget = Budget.after(settings.budget, settings.convention)
    if budget is not None:
        remaining = max(0, budget.flops - charged(rows).of(budget.convention))
        limits[budget.convention] = min(remaining, limits.get(budget.convention, remaining))
    return limits, 1 + max((row.id for row in rows), default=0)


def plan_step(settings: TrainSettings, dataset: Dataset) -> Plan:
    """Return the plan of a trial of one step, whose prices hold for any number of steps.

    The sweep keeps the limits; the ledger keeps the project's budget all the same.
    """
    plan = plan_run(settings.model_copy(update={"max_steps": 1, "max_flops": None}), dataset)
    if plan.part is None:
        raise SettingsError(
            "a sweep compares trials by their validation error, and there is no validation",
            "Leave out --no-validation; the data needs at least a few series.",
        )
    return plan


def plan_trial(
    settings: TrainSettings, dataset: Dataset, stage: Stage, validations: int | None
) -> Plan:
    """Return the plan of a run with the steps and ``validations`` of the sweep's plan.

    Without ``validations`` the settings say how often.
    """
    plan, times = plan_step(settings, dataset), validations or USUAL.times
    n_steps = stage.steps_of(settings, replace(plan.cost, times=times))
    if n_steps < 1:
        raise SettingsError(
            "not one step of it fits into what the plan gives a trial",
            "A larger --max-flops, fewer --trials or smaller settings help.",
        )
    changes: dict[str, int] = {}
    if settings.save_every:
        changes["save_every"] = min(settings.save_every, max(1, n_steps // _SAVES))
    if times != USUAL.times:
        # the run's own settings must say it: it can be repeated, and goes on, without its study
        changes["validate_every"] = steps_between_validations(settings, n_steps, times)
    return plan.lasting(n_steps, **changes)


@dataclass
class _Search:
    """The work of one process on a study."""

    settings: SweepSettings
    study: SharedStudy
    dataset: Dataset
    narrator: Narrator
    observer: Callable[[], Observer]
    stop: StopRequest = field(default_factory=StopRequest)

    def run(self) -> None:
        """Make trials until there are none left; after a signal the slot of the last is free."""
        is_waiting = False
        with self.stop:
            while self.study.open_slots():
                self._check_stop()
                with ExitStack() as held:
                    trial = self.study.claim(held)
                    if trial is not None:
                        self._make(trial)
                        gc.collect()  # the next model is loaded when this one is gone
                        continue
                if not is_waiting:
                    self.narrator.note("Waiting for the trials of other processes.")
                    is_waiting = True
                time.sleep(_SECONDS_BETWEEN_LOOKS)

    def _make(self, trial: Trial) -> None:
        """Make a trial and tell the study its end; anything unforeseen sets its slot free."""
        slot = slot_of(trial)
        stage = self.study.plan.stages[self.study.plan.stage_of(slot)]
        chosen = ", ".join(f"{n.replace('_', ' ')} {show(v)}" for n, v in trial.params.items())
        self.narrator.note(f"Trial {slot} ({stage.stage}): {chosen}")
        end: dict[str, Any] = {}
        try:
            end = _end_of(self._train(trial, stage))
        except RunStopped:
            self.stop.requested = True
            self._check_stop()
        except Exception as error:
            if is_out_of_memory(error):
                end = {"reason": "there was not enough memory"}
            elif isinstance(error, NumericalError | SettingsError):
                end = {"reason": error.message}
            else:
                raise
        finally:
            self.study.tell(trial, end)
        if "reason" in end:
            self.narrator.note(f"Trial {slot} failed: {end['reason']}")
            return
        metric, best = "loss" if end["mae"] is None else "MAE", self.study.best()
        suffix = "  (best so far)" if best is not None and slot_of(best) == slot else ""
        self.narrator.note(f"Trial {slot}: validation {metric} {end['value']:.4g}{suffix}")

    def _train(self, trial: Trial, stage: Stage) -> Train:
        """Make the run of a trial, or the rest of it."""
        from lvlora.train.document import draw_run

        settings, study = self.settings, self.study
        folder = trial_folder(settings, slot_of(trial))
        trial_settings = with_params(shared_settings(settings, study.plan), trial.params)
        plan = plan_trial(trial_settings, self.dataset, stage, study.plan.validations)
        loaded = load_run(plan)
        self._check_stop()
        state = latest_state(folder.state)[0] if folder.config.is_file() else None
        # only its weights tell whether it is of this very run
        resumes = state is not None and not loaded.changes_since(state.facts.get("identity", {}))
        begin, budget = study.facts.first_entry, settings.budget
        limits = Limits(
            limit_of(study, settings), budget, settings.convention, settings.study, begin
        )
        with ExitStack() as begun:
            if not resumes:
                folder.clear()
                begun.enter_context(folder.begun(plan))
            watcher = Tracked(self.observer(), loaded, folder, self.narrator)
            run = Run(loaded, folder, watcher, self.narrator, resume=resumes, limits=limits)
            result = run.train()
        draw_run(folder.path)
        return result

    def _check_stop(self) -> None:
        if self.stop.requested:
            raise RunStopped(
                f"study {self.settings.study}: stopped; everything is saved",
                "The same command goes on.",
            )


def _end_of(result: Train) -> dict[str, Any]:
    """Return the end of an attempt, as a study keeps it."""
    best = result.validation
    end: dict[str, Any] = {
        "flops": result.flops.to_dict(),
        "seconds": result.seconds,
        "steps": result.steps,
        "mae": best and best.mae,
        "loss": best and best.loss,
    }
    if best is None or not math.isfinite(best.score):
        return {**end, "value": None, "reason": "the validation error is not a number"}
    return {**end, "value": best.score}
