"""The verb: open a study or make one, keep its plan within the limits, and make its trials."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from lvlora import durable
from lvlora.answers import Estimate
from lvlora.data.dataset import Dataset
from lvlora.errors import (
    EXIT_BUDGET,
    EXIT_DONE,
    EXIT_STOPPED,
    BudgetError,
    LvloraError,
    RunStopped,
    SettingsError,
    meant,
)
from lvlora.flops.budget import Budget
from lvlora.flops.ledger import FILE_NAME, Ledger
from lvlora.forecast.estimate import REPORT_SECONDS
from lvlora.model.catalogue import resolve
from lvlora.model.devices import cores
from lvlora.model.loading import has_weights
from lvlora.narrator import Narrator
from lvlora.report.page import PAGE, write_page
from lvlora.settings.configuration import to_toml
from lvlora.sweep import storage
from lvlora.sweep.document import document
from lvlora.sweep.plan import SearchPlan, Stage, make_plan, points_to_price, sampler_of, stages_of
from lvlora.sweep.record import Sweep, SweepPlan, limit_of, plan_summary, record_of, shared_settings
from lvlora.sweep.settings import SweepSettings
from lvlora.sweep.space import Space, read_space, with_params
from lvlora.sweep.storage import folder_of
from lvlora.sweep.study import OVER, SharedStudy, StudyFacts, compared, state_of
from lvlora.sweep.trial import TrialLoop, cost_of, outcome_of, plan_trial
from lvlora.train import validation
from lvlora.train.fine_tune import estimate_run
from lvlora.train.loop import load_run
from lvlora.train.plan import Plan
from lvlora.train.process import StopRequest
from lvlora.train.record import Observer
from lvlora.train.trackers import check_installed

_EXPLICIT = ("flag", "python")
"""Sources of a value that belongs to this very call."""


@dataclass(frozen=True)
class _Prepared:
    """A search that could begin: its data, its subject, and its study, if there is one already."""

    dataset: Dataset
    facts: StudyFacts
    study: SharedStudy | None


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
    prepared = _prepare(settings, read, sources, narrator, space)
    parent = parent_of_this_worker()
    if show_plan is not None and parent is None:
        summary = plan_summary(prepared.facts.plan, settings)
        show_plan(SweepPlan(study=settings.study, plan=summary, estimate=None))
    # its plan may not be ours: another process may have made the study just now
    study = prepared.study or storage.make(settings, prepared.facts)
    refusal: BudgetError | None = None
    with storage.storage_errors(settings):
        if not study.unfinished():
            narrator.note(f"Study {settings.study} is finished; nothing is left to do.")
        elif settings.workers > 1:
            refusal = share(settings, study, narrator)
        else:
            loop = TrialLoop(
                settings,
                shared_settings(settings, study.plan),
                study,
                prepared.dataset,
                sources,
                limit_of(study, settings),
                narrator,
                observer,
                parent,
            )
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
    prepared = _prepare(settings, read, sources, narrator, None)
    estimate: Estimate | None = None
    if has_weights(resolve(settings.model, settings.revision)):
        estimate = _measured(prepared, settings)
    else:
        narrator.note("The weights are not here, so time and memory were not measured.")
    return SweepPlan(
        study=settings.study,
        plan=plan_summary(prepared.facts.plan, settings),
        estimate=estimate,
    )


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


def laid_out(
    settings: SweepSettings,
    read: Callable[[], Dataset],
    narrator: Narrator,
    *,
    sources: Mapping[str, str],
) -> SearchPlan:
    """Return the plan of a study, which need not be there yet; nothing is made.

    Raises:
        LvloraError: as `run_search`, before its first trial.
    """
    return _prepare(settings, read, sources, narrator, None).facts.plan


def _measured(prepared: _Prepared, settings: SweepSettings) -> Estimate:
    """Measure time and memory of all trials, one after the other, by steps of the largest."""
    plan, begin = prepared.facts.plan, time.perf_counter()
    loaded = load_run(_largest_trial(plan, settings, prepared.dataset))
    loading = time.perf_counter() - begin
    most = loaded.plan.at_most().executed
    one = estimate_run(loaded)
    trials = one.seconds * plan.at_most.executed / most + loading * plan.n_trials
    return Estimate(
        seconds=trials + REPORT_SECONDS, peak_bytes=one.peak_bytes, probe_flops=one.probe_flops
    )


def _largest_trial(plan: SearchPlan, settings: SweepSettings, dataset: Dataset) -> Plan:
    """Return the run of a sweep that takes the most memory."""
    base = shared_settings(settings, plan)
    planned = [
        (with_params(base, point), plan.allotments[i])
        for i in range(len(plan.stages))
        for point in points_to_price(plan.stages[: i + 1])[0]
    ]
    largest, allotment = max(planned, key=lambda t: (t[0].batch_size * t[0].seq_len, t[0].rank))
    return plan_trial(largest, dataset, allotment)


def _prepare(
    settings: SweepSettings,
    read: Callable[[], Dataset],
    sources: Mapping[str, str],
    narrator: Narrator,
    space: Space | None,
) -> _Prepared:
    """Find the study, or plan one."""
    check_installed(settings.tracker)
    stages = _stages(settings, sources, space)
    dataset = read()
    sha256 = dataset.sha256()
    n_held_out = validation.held_out_steps(settings, dataset)
    resolved = settings.model_copy(update={"validation_steps": n_held_out})
    study = storage.find(settings)
    if study is not None:
        study.facts.check(settings.study, compared(resolved), stages, sha256)
        return _Prepared(dataset, study.facts, study)
    note = resolve(settings.model, settings.revision).note
    if note:
        narrator.note(note)
    limits, first_entry = _limits(settings)
    base = shared_settings(settings, None)
    plan = make_plan(stages, settings, base, limits, lambda s: cost_of(s, dataset))
    facts = StudyFacts(
        settings=compared(resolved),
        data=None if settings.data is None else str(settings.data),
        data_sha256=sha256,
        sampler=sampler_of(settings, stages[0].space),
        max_flops=settings.max_flops,
        first_entry=first_entry,
        plan=plan,
    )
    return _Prepared(dataset, facts, None)


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


PARENT_VARIABLE = "SWEEP_PARENT_OF_LVLORA"
"""Tells a process that it is a worker, and of whom; a worker whose parent died stops by itself."""

_SECONDS_BETWEEN_LOOKS = 0.5


def parent_of_this_worker() -> int | None:
    """Return the process that started this one as a worker, if one did."""
    parent = os.environ.get(PARENT_VARIABLE, "")
    return int(parent) if parent.isdigit() else None


def share(settings: SweepSettings, study: SharedStudy, narrator: Narrator) -> BudgetError | None:
    """Let several processes make the trials; returns the refusal of a limit, if one ended it.

    Raises:
        RunStopped: Ctrl-C came, and all have stopped.
        LvloraError: one failed, and trials are left.
    """
    folder = folder_of(settings)
    threads = settings.threads or max(1, cores() // settings.workers)
    logs = [folder / f"worker-{number + 1}.log" for number in range(settings.workers)]
    narrator.note(f"{settings.workers} workers with {threads} threads each; logs in {folder}")
    seen = {trial.number for trial in study.records() if state_of(trial) in OVER}
    with StopRequest() as stop, ExitStack() as streams:
        workers = [_start(settings, threads, log, streams) for log in logs]
        was_stopped = False
        try:
            while any(worker.poll() is None for worker in workers):
                if stop.requested and not was_stopped:
                    was_stopped = True
                    _signal(workers, signal.SIGINT)
                for trial in study.records():
                    if trial.number not in seen and state_of(trial) in OVER:
                        seen.add(trial.number)
                        narrator.note(outcome_of(study, settings, trial))
                time.sleep(_SECONDS_BETWEEN_LOOKS)
        except BaseException:
            _signal(workers, signal.SIGKILL)
            raise
        codes = [worker.wait() for worker in workers]
    return _refusal(settings, study, dict(zip(logs, codes, strict=True)), narrator)


def _start(
    settings: SweepSettings, threads: int, log: Path, streams: ExitStack
) -> subprocess.Popen[bytes]:
    """Start a worker that writes into a log."""
    config = log.with_name("worker.toml")
    changes = {"workers": 1, "threads": threads, "storage": None}
    durable.write_text(config, to_toml("sweep", settings.model_copy(update=changes)))
    environment = {k: v for k, v in os.environ.items() if not k.startswith("LVLORA_")}
    environment |= {
        PARENT_VARIABLE: str(os.getpid()),
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        # the same package, however this process imported it
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
    }
    if settings.storage is not None:  # where no list of processes and no file shows its password
        environment["LVLORA_STORAGE"] = settings.storage
    return subprocess.Popen(
        [sys.executable, "-m", "lvlora", "sweep", "--config", str(config), "--json"],
        stdin=subprocess.DEVNULL,
        stdout=streams.enter_context(log.open("wb")),
        stderr=subprocess.STDOUT,
        env=environment,
        start_new_session=True,  # Ctrl-C reaches it once, through this process
    )


def _refusal(
    settings: SweepSettings, study: SharedStudy, codes: dict[Path, int], narrator: Narrator
) -> BudgetError | None:
    unfinished = study.unfinished()
    if unfinished and EXIT_STOPPED in codes.values():
        raise RunStopped(
            f"study {settings.study}: all workers have stopped; everything is saved",
            "The same command goes on.",
        )
    for log, code in codes.items():
        if code in (EXIT_DONE, EXIT_BUDGET, EXIT_STOPPED):
            continue
        message = f"{log}: a worker ended with {code}"
        if unfinished:
            raise LvloraError(message, "The log's last lines say why; the same command goes on.")
        narrator.warning(f"{message}; the others made its trials.")
    if unfinished and EXIT_BUDGET in codes.values():
        return BudgetError(
            f"study {settings.study}: the next trial does not fit into the limit",
            "The same command with a larger --max-flops (or --budget) goes on.",
        )
    return None


def _signal(workers: Sequence[subprocess.Popen[bytes]], number: signal.Signals) -> None:
    for worker in workers:
        if worker.poll() is None:
            worker.send_signal(number)
