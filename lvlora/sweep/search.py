"""The verb: a study is found or made, its plan kept within the limits, and its trials are made."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lvlora.answers import Estimate
from lvlora.errors import BudgetError, SettingsError, meant
from lvlora.flops.budget import NOTHING, Budget
from lvlora.flops.ledger import FILE_NAME, Ledger
from lvlora.forecast.estimate import REPORT_SECONDS
from lvlora.model.catalogue import resolve
from lvlora.model.loading import has_weights
from lvlora.series.dataset import Dataset
from lvlora.settings.training import SweepSettings
from lvlora.sweep import answers, facts, storage
from lvlora.sweep.loop import TrialLoop
from lvlora.sweep.narrator import Silent, SweepNarrator
from lvlora.sweep.plan import SearchPlan, make_plan, points_to_price
from lvlora.sweep.results import answer_of, limit_of, plan_answer, shared_settings
from lvlora.sweep.space import Space, with_params
from lvlora.sweep.space_file import read_space
from lvlora.sweep.stages import Stage, sampler_of, stages_of
from lvlora.sweep.study import SharedStudy, pruner
from lvlora.sweep.trial import cost_of, plan_trial
from lvlora.sweep.workers import parent_of_this_worker, share
from lvlora.train import validation
from lvlora.train.estimate import estimate_run
from lvlora.train.loop import load_run
from lvlora.train.plan import Plan
from lvlora.train.trackers import check_installed

if TYPE_CHECKING:
    from optuna import Study

_SAID = ("flag", "python")
"""Sources of a value that was given with this very call."""


@dataclass(frozen=True)
class _Asked:
    """A search that could begin: its data and plan, and its study, if there is one already."""

    dataset: Dataset
    facts: Mapping[str, Any]
    study: Study | None
    plan: SearchPlan
    sampler: str


def run_search(
    settings: SweepSettings,
    read: Callable[[], Dataset],
    *,
    sources: Mapping[str, str],
    narrator: SweepNarrator,
    space: Space | None = None,
    named: bool = True,
) -> answers.Sweep:
    """Make the trials that are left of a study, which is made first if there is none.

    Args:
        read: gives the data; asked once, after all that can be refused without them was.
        sources: setting → where its value came from: flag, environment, config, default, python.
        space: what is searched, instead of what the settings name.
        named: the data are those that the settings name.

    Raises:
        SettingsError: settings contradict each other, or the study is about something else.
        BudgetError: the plan does not fit into the limits; nothing was made or spent. (A limit that
            is reached later ends the search with its answer, whose ``refusal`` says so.)
        RunStopped: a signal came; everything is saved.
    """
    found = _ask(settings, read, sources, narrator, space)
    study, parent = found.study, parent_of_this_worker()
    if study is None:
        study = storage.make(settings, found.plan, found.facts, pruner(settings.pruner))
    study.pruner = pruner(settings.pruner)
    # its plan, not ours: another process may have made the study just now
    shared = SharedStudy(study, facts.plan_in(study), found.sampler, settings.seed)
    refusal: BudgetError | None = None
    with storage.storage_errors(settings):
        if not shared.unfinished():
            narrator.note(f"Study {settings.study} is finished; nothing is left to do.")
        elif settings.workers > 1:
            refusal = share(settings, shared, narrator)
        else:
            loop = TrialLoop(
                settings,
                shared_settings(settings, shared.plan),
                shared,
                found.dataset,
                sources,
                limit_of(shared, settings),
                narrator,
                parent,
            )
            refusal = loop.refusal if loop.run() == "limit" else None
        answer = answer_of(shared, settings, draw=parent is None, named=named)
    return answer.of(settings, refusal)


def plan_search(
    settings: SweepSettings,
    read: Callable[[], Dataset],
    *,
    sources: Mapping[str, str],
    narrator: SweepNarrator,
) -> answers.SweepPlan:
    """What `run_search` would do at most, and how long it would take here; nothing is made.

    One trial is measured, where there are weights; the others take as much time a FLOP.
    """
    found = _ask(settings, read, sources, narrator, None)
    estimate: Estimate | None = None
    if has_weights(resolve(settings.model, settings.revision)):
        estimate = _measured(found, settings)
    else:
        narrator.note("The weights are not here, so time and memory were not measured.")
    return answers.SweepPlan(
        study=settings.study,
        plan=plan_answer(found.plan, settings),
        estimate=estimate,
    )


def _measured(found: _Asked, settings: SweepSettings) -> Estimate:
    """Time and memory of all trials, one after the other, from a few steps of the largest.

    Raises:
        ModelError: its weights are broken.
    """
    plan, begin = found.plan, time.perf_counter()
    loaded = load_run(largest_trial(plan, settings, found.dataset))
    loading = time.perf_counter() - begin
    most = loaded.plan.at_most().executed
    one = estimate_run(loaded)
    trials = one.seconds * plan.at_most.executed / most + loading * plan.n_trials
    return Estimate(
        seconds=trials + REPORT_SECONDS, peak_bytes=one.peak_bytes, probe_flops=one.probe_flops
    )


def laid_out(
    settings: SweepSettings, read: Callable[[], Dataset], *, sources: Mapping[str, str]
) -> SearchPlan:
    """The plan of a study, which need not be there yet; nobody is told, nothing is made.

    Raises:
        LvloraError: as `run_search`, before its first trial.
    """
    return _ask(settings, read, sources, Silent(), None).plan


def largest_trial(plan: SearchPlan, settings: SweepSettings, dataset: Dataset) -> Plan:
    """The run of a sweep that takes the most memory."""
    base = shared_settings(settings, plan)
    planned = [
        (with_params(base, point), plan.allotments[i])
        for i in range(len(plan.stages))
        for point in points_to_price(plan.stages[: i + 1])[0]
    ]
    largest, allotment = max(planned, key=lambda t: (t[0].batch_size * t[0].seq_len, t[0].rank))
    return plan_trial(largest, dataset, allotment)


def search_status(settings: SweepSettings) -> answers.Sweep:
    """The study as it is; nothing is made or spent, no model is loaded.

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
    with storage.storage_errors(settings), storage.damage(settings):
        stored = facts.settings_in(study, settings)
        sampler = facts.facts_in(study)["sampler"]
        shared = SharedStudy(study, facts.plan_in(study), sampler, stored.seed)
        return answer_of(shared, stored, draw=False)


def _ask(
    settings: SweepSettings,
    read: Callable[[], Dataset],
    sources: Mapping[str, str],
    narrator: SweepNarrator,
    space: Space | None,
) -> _Asked:
    """Find the study, or plan one; who narrates is told the plan, unless this is a worker."""
    check_installed(settings.tracker)
    stages, sampler = _what_is_searched(settings, sources, space)
    dataset = read()
    n_held_out = validation.held_out_steps(settings, dataset)
    told = settings.model_copy(update={"validation_steps": n_held_out})
    about = facts.facts_of(told, stages, sampler, dataset.sha256())
    study = storage.find(settings)
    if study is None:
        note = resolve(settings.model, settings.revision).note
        if note:
            narrator.note(note)
        base = shared_settings(settings, None)
        plan = make_plan(stages, settings, base, _limits(settings), lambda s: cost_of(s, dataset))
    else:
        facts.check_same(study, about)
        plan = facts.plan_in(study)
    if parent_of_this_worker() is None:
        narrator.planned(plan, settings)
    return _Asked(dataset, about, study, plan, sampler)


def _what_is_searched(
    settings: SweepSettings,
    sources: Mapping[str, str],
    space: Space | None,
) -> tuple[tuple[Stage, ...], str]:
    """The stages and the search method; what contradicts itself is refused."""
    if not settings.validation:
        raise SettingsError(
            "--no-validation: a sweep compares trials by their validation error",
            "Leave it out; --validation-series makes validation cheaper.",
        )
    own = space is not None or settings.space is not None
    if own and sources.get("preset") in _SAID:
        raise SettingsError("--preset and --space both say what is searched.", "Give one of them.")
    if settings.workers > 1 and settings.data == Path("-"):
        raise SettingsError(
            "--workers: several processes cannot read one standard input.", "Name a file."
        )
    if space is None and settings.space is not None:
        space = read_space(settings.space)
    stages = stages_of(settings, space)
    for name in dict.fromkeys(n for stage in stages for n in stage.space.dimensions):
        if sources.get(name) in _SAID:
            raise SettingsError(
                f"--{name.replace('_', '-')}: is searched, so one value means nothing",
                "Leave it out, or give a --space without it.",
            )
    return stages, sampler_of(settings, stages[0].space)


def _limits(settings: SweepSettings) -> dict[str, int]:
    """Convention → FLOPs that may be spent, by --max-flops and by what the project has left."""
    limits: dict[str, int] = {}
    if settings.max_flops is not None:
        limits[settings.convention] = settings.max_flops
    budget, charged = None, NOTHING
    if (settings.runs / FILE_NAME).exists():
        with Ledger.for_runs(settings.runs) as ledger:
            budget, charged = ledger.budget(), ledger.charged()
    if settings.budget is not None:
        budget = Budget.after(settings.budget, settings.convention)
    if budget is not None:
        left = budget.flops - charged.of(budget.convention)
        if left <= 0:
            raise BudgetError(
                f"the project's budget of {budget.flops:,} FLOPs ({budget.convention}), "
                f"{budget.origin}, is spent",
                "lvlora flops --ledger shows by what; --budget sets another, --budget none lifts "
                "it.",
            )
        limits[budget.convention] = min(left, limits.get(budget.convention, left))
    return limits
