"""The verb: open a study or make one, keep its plan within the limits, and make its trials."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from lvlora.answers import Estimate
from lvlora.data.dataset import Dataset
from lvlora.errors import BudgetError, SettingsError, meant
from lvlora.flops.budget import Budget
from lvlora.flops.ledger import FILE_NAME, Ledger
from lvlora.forecast.estimate import REPORT_SECONDS
from lvlora.model.catalogue import resolve
from lvlora.model.loading import has_weights
from lvlora.narrator import Narrator
from lvlora.report.page import PAGE, write_page
from lvlora.sweep import storage
from lvlora.sweep.document import document
from lvlora.sweep.plan import SearchPlan, Stage, make_plan, points_to_price, sampler_of, stages_of
from lvlora.sweep.record import Sweep, SweepPlan, plan_summary, record_of, shared_settings
from lvlora.sweep.settings import SweepSettings
from lvlora.sweep.space import Space, read_space, with_params
from lvlora.sweep.study import SharedStudy, StudyFacts, compared
from lvlora.sweep.trial import TrialLoop, plan_step, plan_trial
from lvlora.sweep.workers import parent_of_this_worker, share
from lvlora.train import validation
from lvlora.train.fine_tune import estimate_run
from lvlora.train.loop import load_run
from lvlora.train.record import Observer
from lvlora.train.trackers import check_installed

_EXPLICIT = ("flag", "python")
"""Sources of a value that belongs to this very call."""


def run_search(
    settings: SweepSettings,
    read: Callable[[], Dataset],
    *,
    sources: Mapping[str, str],
    narrator: Narrator,
    observer: Callable[[], Observer] = Observer,
    show_plan: Callable[[SweepPlan], None] | None = None,
    space: Space | None = None,
    in_file: bool = True,
) -> Sweep:
    """Make the trials that are left of a study, which is made first if there is none.

    Args:
        read: gives the data; called once, after all that can be refused without them was.
        sources: setting → where its value came from: flag, environment, config, default, python.
        observer: gives who watches the run of a trial.
        show_plan: gets the plan before anything is spent.
        space: the space to search, instead of that of the settings.
        in_file: the data are in the file that the settings name.

    Raises:
        SettingsError: settings contradict each other, or the study is about something else.
        BudgetError: the plan does not fit into the limits; nothing was made or spent. (A limit that
            is reached later ends the search with its answer, whose ``stopped_by`` names it.)
        RunStopped: a signal came; everything is saved.
    """
    dataset, facts, study = prepare(settings, read, sources, narrator, space)
    parent = parent_of_this_worker()
    if show_plan is not None and parent is None:
        summary = plan_summary(facts.plan, settings)
        show_plan(SweepPlan(study=settings.study, plan=summary, estimate=None))
    # its plan may not be ours: another process may have made the study just now
    study = study or storage.make(settings, facts)
    refusal: BudgetError | None = None
    with storage.storage_errors(settings):
        if not study.unfinished():
            narrator.note(f"Study {settings.study} is finished; nothing is left to do.")
        elif settings.workers > 1:
            refusal = share(settings, study, narrator)
        else:
            loop = TrialLoop(settings, study, dataset, sources, narrator, observer, parent)
            refusal = loop.run()
        stopped_by = None if refusal is None else refusal.message
        record = record_of(study, settings, in_file=in_file, stopped_by=stopped_by)
    if parent is not None:
        return record
    folder = storage.folder_of(settings)
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
    dataset, facts, _ = prepare(settings, read, sources, narrator, None)
    estimate: Estimate | None = None
    if has_weights(resolve(settings.model, settings.revision)):
        estimate = _measured(facts.plan, settings, dataset)
    else:
        narrator.note("The weights are not here, so time and memory were not measured.")
    summary = plan_summary(facts.plan, settings)
    return SweepPlan(study=settings.study, plan=summary, estimate=estimate)


def search_status(settings: SweepSettings) -> Sweep:
    """Return the study as it is; nothing is made or spent, no model is loaded.

    Raises:
        SettingsError: there is no such study.
    """
    study = storage.find(settings)
    if study is None:
        near = meant(settings.study, storage.studies_in(settings.runs))
        raise SettingsError(
            f"--status: there is no study {settings.study} in {settings.runs}",
            f"{near}--study names another, --runs another folder; --storage if it is kept "
            "elsewhere.",
        )
    with storage.storage_errors(settings, reading=True):
        return record_of(study, study.facts.settings_as(settings))


def _measured(plan: SearchPlan, settings: SweepSettings, dataset: Dataset) -> Estimate:
    """Measure time and memory of all trials, one after the other, by steps of the largest."""
    base = shared_settings(settings, plan)
    trials = [
        (with_params(base, point), stage)
        for i, stage in enumerate(plan.stages)
        for point in points_to_price(plan.stages[: i + 1])[0]
    ]
    largest, stage = max(trials, key=lambda t: (t[0].batch_size * t[0].seq_len, t[0].rank))
    begin = time.perf_counter()
    loaded = load_run(plan_trial(largest, dataset, stage))
    loading = time.perf_counter() - begin
    one = estimate_run(loaded)
    seconds = one.seconds * plan.at_most.executed / loaded.plan.at_most().executed
    return Estimate(
        seconds=seconds + loading * plan.n_trials + REPORT_SECONDS,
        peak_bytes=one.peak_bytes,
        probe_flops=one.probe_flops,
    )


def prepare(
    settings: SweepSettings,
    read: Callable[[], Dataset],
    sources: Mapping[str, str],
    narrator: Narrator,
    space: Space | None,
) -> tuple[Dataset, StudyFacts, SharedStudy | None]:
    """Return the data, the subject of a study, and the study if it is there; nothing is made.

    Raises:
        LvloraError: as `run_search`, before its first trial.
    """
    check_installed(settings.tracker)
    stages = _stages(settings, sources, space)
    dataset = read()
    sha256 = dataset.sha256()
    n_held_out = validation.held_out_steps(settings, dataset)
    subject = compared(settings.model_copy(update={"validation_steps": n_held_out}))
    study = storage.find(settings)
    if study is not None:
        study.facts.check(settings.study, subject, stages, sha256)
        return dataset, study.facts, study
    note = resolve(settings.model, settings.revision).note
    if note:
        narrator.note(note)
    limits, first_entry = _limits(settings)
    base = shared_settings(settings, None)
    plan = make_plan(stages, settings, base, limits, lambda s: plan_step(s, dataset).cost)
    facts = StudyFacts(
        settings=subject,
        data=None if settings.data is None else str(settings.data),
        data_sha256=sha256,
        sampler=sampler_of(settings, stages[0].space),
        max_flops=settings.max_flops,
        first_entry=first_entry,
        plan=plan,
    )
    return dataset, facts, None


def _stages(
    settings: SweepSettings, sources: Mapping[str, str], space: Space | None
) -> tuple[Stage, ...]:
    """Return the stages to search.

    Raises:
        SettingsError: settings contradict each other.
    """
    if not settings.validation:
        raise SettingsError(
            "--no-validation: a sweep compares trials by their validation error",
            "Leave it out; --validation-series makes validation cheaper.",
        )
    has_space = space is not None or settings.space is not None
    if has_space and sources.get("preset") in _EXPLICIT:
        raise SettingsError("--preset and --space both say what is searched.", "Give one of them.")
    if settings.workers > 1 and settings.data == Path("-"):
        raise SettingsError(
            "--workers: several processes cannot read one standard input.", "Name a file."
        )
    if space is None and settings.space is not None:
        space = read_space(settings.space)
    stages = stages_of(settings, space)
    for name in dict.fromkeys(n for stage in stages for n in stage.space.dimensions):
        if sources.get(name) in _EXPLICIT:
            raise SettingsError(
                f"--{name.replace('_', '-')}: is searched, so one value means nothing",
                "Leave it out, or give a --space without it.",
            )
    return stages


def _limits(settings: SweepSettings) -> tuple[dict[str, int], int]:
    """Return the FLOPs that may be spent: --max-flops, and the rest of the budget.

    Returns:
        convention → FLOPs, and the next entry of the ledger.
    """
    limits: dict[str, int] = {}
    if settings.max_flops is not None:
        limits[settings.convention] = settings.max_flops
    budget, rows = None, []
    if (settings.runs / FILE_NAME).exists():
        with Ledger.for_runs(settings.runs) as ledger:
            budget, rows = ledger.budget(), ledger.rows()
    if settings.budget is not None:
        budget = Budget.after(settings.budget, settings.convention)
    if budget is not None:
        remaining = budget.flops - sum(row.charged.of(budget.convention) for row in rows)
        if remaining <= 0:
            raise BudgetError(
                f"the project's budget of {budget.flops:,} FLOPs ({budget.convention}), "
                f"{budget.origin}, is spent",
                "lvlora flops --ledger shows by what; --budget sets another, --budget none lifts "
                "it.",
            )
        limits[budget.convention] = min(remaining, limits.get(budget.convention, remaining))
    return limits, 1 + max((row.id for row in rows), default=0)
