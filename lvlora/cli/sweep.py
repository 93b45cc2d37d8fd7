"""`lvlora sweep`: many trainings under one FLOP budget, and the best of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lvlora import numbers
from lvlora.cli.program.advice import next_command
from lvlora.cli.program.completion import studies
from lvlora.cli.program.configuration import Resolved, as_toml
from lvlora.cli.program.context import CommandContext
from lvlora.cli.program.from_settings import examples, settings_command
from lvlora.cli.program.inputs import load_dataset
from lvlora.cli.program.root import app
from lvlora.errors import BudgetError, LvloraError, RunStopped, SettingsError, meant
from lvlora.settings import EvaluateSettings, SweepSettings, TrainSettings

if TYPE_CHECKING:
    from lvlora.series.dataset import Dataset
    from lvlora.sweep.plan import Plan
    from lvlora.sweep.stages import Stage
    from lvlora.sweep.study import Board

EXAMPLES = examples(
    ("lvlora sweep data.h5 --max-steps 100", "learning rate by rank, a hundred steps a trial"),
    (
        "lvlora sweep data.h5 --preset coursework --max-flops 1e14 --dry-run",
        "what the seed's search would be for that price",
    ),
    ("lvlora sweep data.h5 --space space.toml --trials 30", "search what a file names"),
    ("lvlora sweep --status", "how far the study is"),
)


@settings_command(app, SweepSettings, name="sweep", epilog=EXAMPLES)
def sweep(settings: SweepSettings, context: CommandContext) -> None:
    """Search the best settings that a FLOP budget can buy, by many trainings.

    Each trial is a run in a folder of its own; all are charged to one ledger. The same command
    started again goes on where it was stopped, and several processes may share a study.
    """
    from lvlora.cli.sweep_report import show_plan
    from lvlora.cli.sweep_workers import parent_of_this_worker
    from lvlora.cli.terminal.plans import show_sweep_plan
    from lvlora.sweep import storage as sweep_storage
    from lvlora.sweep.study import Board, pruner
    from lvlora.train.trackers.tracked import check_installed

    if settings.status:
        _show_status(settings, context)
        return
    output = context.output
    check_installed(settings.tracker)
    stages, sampler = _search(settings, context)
    dataset = load_dataset(settings, output)
    facts = sweep_storage.facts_of(settings, stages, sampler, dataset.sha256())
    study = sweep_storage.find(settings, context.output.note)
    if study is None:
        plan = _plan(settings, stages, dataset, context)
    else:
        sweep_storage.check_same(study, facts)
        plan = sweep_storage.plan_in(study)
    worker_of = parent_of_this_worker()
    if worker_of is None:
        show_plan(plan, settings, settings.max_flops, output)
    if context.dry_run:
        show_sweep_plan(plan, settings, _base(settings, plan), dataset, context)
        return
    if study is None:
        study = sweep_storage.make(settings, plan, facts, pruner(settings.pruner), output.note)
    study.pruner = pruner(settings.pruner)
    board = Board(study, sweep_storage.plan_in(study), sampler, settings.seed)
    base = _base(settings, board.plan)  # another process may have made the study just now
    refusal: BudgetError | None = None
    with sweep_storage.storage_errors(settings):
        if not board.unfinished():
            output.note(f"Study {settings.study} is finished; nothing is left to do.")
        elif settings.workers > 1:
            refusal = _share(settings, board, context)
        else:
            refusal = _work(settings, base, board, dataset, context, worker_of)
        _report(settings, board, context, draw=worker_of is None)
    if refusal is not None:
        raise refusal


def _search(settings: SweepSettings, context: CommandContext) -> tuple[tuple[Stage, ...], str]:
    """The stages and the search method; what contradicts itself is refused."""
    from lvlora.cli.space_file import read_space
    from lvlora.sweep.stages import incomparable, sampler_of, stages_of

    if not settings.validation:
        raise SettingsError(
            "--no-validation: a sweep compares trials by their validation error",
            "Leave it out; --validation-series makes validation cheaper.",
        )
    if settings.space is not None and context.sources.get("preset") == "flag":
        raise SettingsError("--preset and --space both say what is searched.", "Give one of them.")
    if settings.workers > 1 and settings.data == Path("-"):
        raise SettingsError(
            "--workers: several processes cannot read one standard input.", "Name a file."
        )
    own = None if settings.space is None else read_space(settings.space)
    stages = stages_of(settings, own)
    for name in dict.fromkeys(n for stage in stages for n in stage.space.dimensions):
        if context.sources.get(name) == "flag":
            raise SettingsError(
                f"--{name.replace('_', '-')}: is searched, so one value means nothing",
                "Leave it out, or give a --space without it.",
            )
    doubtful = incomparable(stages) if settings.objective == "loss" else []
    if doubtful:
        context.output.warning(
            f"losses of different {' and '.join(doubtful)} are means over different tokens; "
            "--objective error compares what they forecast."
        )
    return stages, sampler_of(settings, stages[0].space)


def _base(settings: SweepSettings, plan: Plan | None) -> TrainSettings:
    """What all trials share, the plan's series to score among it; limits and steps are not."""
    shared = settings.model_dump(include=set(TrainSettings.model_fields))
    series = settings.validation_series if plan is None else plan.validations.series
    return TrainSettings(
        **{**shared, "max_flops": None, "max_steps": None, "validation_series": series}
    )


def _plan(
    settings: SweepSettings,
    stages: tuple[Stage, ...],
    dataset: Dataset,
    context: CommandContext,
) -> Plan:
    from lvlora.model.catalogue import resolve
    from lvlora.sweep.plan import make_plan
    from lvlora.sweep.trial import cost_of

    note = resolve(settings.model, settings.revision).note
    if note:
        context.output.note(note)
    base = _base(settings, None)
    return make_plan(stages, settings, base, _limits(settings), lambda s: cost_of(s, dataset))


def _limits(settings: SweepSettings) -> dict[str, int]:
    """Convention → FLOPs that may be spent, by --max-flops and by what the project has left."""
    from lvlora.flops.budget import NOTHING
    from lvlora.flops.ledger import FILE_NAME, Ledger
    from lvlora.flops.limits import asked

    limits: dict[str, int] = {}
    if settings.max_flops is not None:
        limits[settings.convention] = settings.max_flops
    budget, charged = None, NOTHING
    if (settings.runs / FILE_NAME).exists():
        with Ledger.for_runs(settings.runs) as ledger:
            budget, charged = ledger.budget(), ledger.charged()
    if settings.budget is not None:
        budget = asked(settings.budget, settings.convention)
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


def _work(
    settings: SweepSettings,
    base: TrainSettings,
    board: Board,
    dataset: Dataset,
    context: CommandContext,
    parent: int | None,
) -> BudgetError | None:
    """Make trials in this process; returns the refusal of a limit, if one ended it."""
    from lvlora.cli.sweep_teller import Teller
    from lvlora.sweep.search import Sweep
    from lvlora.sweep.storage import folder_of, limit_in

    limit = limit_in(board.study) if settings.max_flops is None else settings.max_flops
    work = Sweep(
        settings,
        base,
        board.plan,
        board,
        dataset,
        folder_of(settings),
        limit,
        Teller(context, board),
        parent,
    )
    return work.refusal if work.run() == "limit" else None


def _share(settings: SweepSettings, board: Board, context: CommandContext) -> BudgetError | None:
    """Let several processes make the trials; returns the refusal of a limit, if one ended it."""
    from lvlora import durable
    from lvlora.cli.sweep_teller import sentence
    from lvlora.cli.sweep_workers import EXPECTED, cores, run_workers
    from lvlora.errors import EXIT_BUDGET, EXIT_STOPPED
    from lvlora.sweep.storage import folder_of
    from lvlora.train.stopping import StopRequest

    output, folder = context.output, folder_of(settings)
    threads = settings.threads or max(1, cores() // settings.workers)
    theirs = settings.model_copy(update={"workers": 1, "threads": threads, "storage": None})
    config = folder / "worker.toml"
    durable.write_text(config, as_toml("sweep", Resolved(theirs, {})))
    output.note(f"{settings.workers} workers with {threads} threads each; logs in {folder}")
    told = {a.number for a in board.records() if a.state in ("complete", "pruned", "failed")}

    def look() -> None:
        for record in board.records():
            if record.number not in told and record.state in ("complete", "pruned", "failed"):
                told.add(record.number)
                best = board.best()
                output.note(sentence(record, best is not None and best.slot == record.slot))

    with StopRequest() as stop:
        ended = run_workers(
            config,
            settings.workers,
            threads,
            settings.storage,
            folder,
            look,
            lambda: stop.requested,
        )
    codes = [code for code, _ in ended]
    if board.unfinished() and EXIT_STOPPED in codes:
        raise RunStopped(
            f"study {settings.study}: all workers have stopped; everything is saved",
            "The same command goes on.",
        )
    for code, log in ended:
        if code not in EXPECTED:
            message = f"{log}: a worker ended with {code}"
            if board.unfinished():
                raise LvloraError(
                    message, "The log's last lines say why; the same command goes on."
                )
            output.warning(f"{message}; the others made its trials.")
    if board.unfinished() and EXIT_BUDGET in codes:
        return BudgetError(
            f"study {settings.study}: the next trial does not fit into the limit",
            "The same command with a larger --max-flops (or --budget) goes on.",
        )
    return None


def _report(settings: SweepSettings, board: Board, context: CommandContext, *, draw: bool) -> None:
    from lvlora.cli import sweep_report
    from lvlora.sweep.space import with_params
    from lvlora.sweep.storage import folder_of, limit_in

    output, folder, best = context.output, folder_of(settings), board.best()
    limit = limit_in(board.study) if settings.max_flops is None else settings.max_flops
    rows = sweep_report.table_rows(board, folder, settings.convention)
    command = ""
    if best is not None:
        # a longer run may well be validated more thoroughly than its trial was
        best_settings = with_params(_base(settings, None), best.params)
        command = sweep_report.command_of(best_settings)
    written = sweep_report.draw(board, settings, rows, folder, command) if draw else []
    payload = sweep_report.payload_of(board, settings, rows, limit)
    payload |= {"command": command or None, "files": [str(path) for path in written]}
    left = sweep_report.eta(board)
    payload["seconds_left"] = left

    def human() -> None:
        if rows:
            sweep_report.show_table(rows, best, output, front=settings.pareto)
        spent = board.committed().of(settings.convention)
        of_limit = f" of {numbers.flops(limit)} ({numbers.share(spent / limit)})" if limit else ""
        done = sum(row["state"] in ("complete", "pruned", "failed") for row in rows)
        output.line(
            f"{done} of {board.plan.n_trials} trials, {numbers.flops(spent)} FLOPs{of_limit}, "
            f"{settings.convention}"
        )
        if left is not None:
            output.line(f"about {numbers.duration(left)} of training left, by one process")
        if written:
            output.line(f"report  {written[-1]}")

    output.report(payload, human)
    if best is not None:
        output.hint(f"Train with the best settings: {command}")
        trial = str(folder / f"trial-{best.slot:04d}")
        scored = next_command(
            "evaluate", EvaluateSettings, best_settings, "--adapter", trial, without=("model",)
        )
        output.hint(f"Score trial {best.slot} beside its rivals: {scored}")


def _show_status(settings: SweepSettings, context: CommandContext) -> None:
    """The study as it is; nothing is made or spent, no model is loaded."""
    from lvlora.sweep import storage as sweep_storage
    from lvlora.sweep.study import Board

    study = sweep_storage.find(settings, context.output.note)
    if study is None:
        raise SettingsError(
            f"--status: there is no study {settings.study} in {settings.runs}",
            f"{meant(settings.study, studies('', settings.runs))}--study names another, --runs "
            "another folder; --storage if it is kept elsewhere.",
        )
    with sweep_storage.storage_errors(settings), sweep_storage.damage(settings):
        stored = sweep_storage.settings_in(study, settings)
        facts = sweep_storage.facts_in(study)
        board = Board(study, sweep_storage.plan_in(study), facts["sampler"], stored.seed)
        _report(stored, board, context, draw=False)
