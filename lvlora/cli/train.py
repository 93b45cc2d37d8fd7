"""`lvlora train`: fine-tune a base model with LoRA on trajectories."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from lvlora import numbers
from lvlora.cli.program.advice import next_command
from lvlora.cli.program.configuration import resolve
from lvlora.cli.program.context import CommandContext
from lvlora.cli.program.from_settings import examples, settings_command
from lvlora.cli.program.root import app
from lvlora.cli.program.runs import NEWEST, find_run
from lvlora.cli.terminal.loss_chart import show_losses
from lvlora.cli.terminal.output import Output
from lvlora.cli.terminal.plans import judged, reconciled
from lvlora.cli.train_ranks import prepare_together, said_settings
from lvlora.errors import DataError, SettingsError
from lvlora.settings import EvaluateSettings, ForecastSettings, TrainSettings

if TYPE_CHECKING:
    from lvlora.train.loaded import Loaded
    from lvlora.train.ranks import Ranks
    from lvlora.train.run import Result
    from lvlora.train.run_folder import RunFolder

EXAMPLES = examples(
    ("lvlora train --rank 8", "train on data simulated on the spot"),
    (
        "lvlora train data.h5 --max-steps 300 --learning-rate 2e-3",
        "train on a file's trajectories",
    ),
    (
        "lvlora train data.h5 --max-flops 1e13 --dry-run",
        "what a run of that price would be, without doing it",
    ),
)

_FIXED = TrainSettings.affecting("result", "placement", "limit", "output") - {"max_flops"}
"""What can't be said anew when a run goes on. Data and model can: they are known by content."""


@settings_command(app, TrainSettings, name="train", epilog=EXAMPLES)
def train(settings: TrainSettings, context: CommandContext) -> None:
    """Fine-tune a base model with LoRA on trajectories.

    Writes a run folder with the adapter (in PEFT's layout), the metrics of every step, the
    settings, figures and a report, and charges the ledger.
    """
    from lvlora.train.ranks import FailedElsewhere, joined

    try:
        with joined(settings.device) as ranks:
            if ranks.is_first:
                _train(settings, context, ranks)
            else:
                _help_to_train(context, ranks)
    except FailedElsewhere as error:
        raise SystemExit(error.exit_code) from None


def _train(settings: TrainSettings, context: CommandContext, ranks: Ranks) -> None:
    """All of a run; where several processes make it, this is the first of them."""
    from lvlora.cli.terminal.progress import observer
    from lvlora.train.fine_tune import begin, carry_out
    from lvlora.train.run import Run
    from lvlora.train.run_folder import RunFolder, check_out
    from lvlora.train.trackers.tracked import check_installed, tracked

    output = context.output
    folder: RunFolder | None = None
    limit = settings.max_flops
    with ranks.heard():
        if settings.resume is not None:
            folder = RunFolder(_stopped_run(settings))
            settings = _stored_settings(folder, settings, context)
            limit = max(limit or 0, settings.max_flops or 0) or None
        else:
            check_out(settings)
        check_installed(settings.tracker)
        said = said_settings(settings, ranks)
    ranks.say({"settings": said})
    loaded = prepare_together(settings, output, ranks)
    for note in loaded.plan.notes:
        output.note(note)
    for warning in loaded.plan.warnings:
        output.warning(warning)
    output.detail(f"{loaded.base.name}: {loaded.base.placement.reason}")
    if context.dry_run:
        _show_plan(loaded, ranks, time.perf_counter() - context.began, context)
        return
    with ranks.heard():
        if folder is not None:
            watcher = tracked(observer(output), loaded, folder)
            run = Run(loaded, folder, watcher, resume=True, limit=limit, ranks=ranks)
        else:
            run = begin(loaded, context.sources, observer(output), ranks)
    finished = carry_out(run)
    result, folder = finished.result, finished.folder
    if finished.note:
        output.warning(finished.note)
    if result.stopped_by_limit:
        output.note(
            f"--max-flops is reached after step {result.steps} of {result.planned_steps}; "
            f"lvlora train --resume {folder.resume_name(settings.runs)} with a larger one goes on."
        )
    output.report(finished.payload, lambda: _show(result, loaded, folder, context))
    helped, judgement = judged(result, folder.validation)
    if judgement:
        output.note(judgement)
    output.hint(f"Next: {_next(loaded, folder if helped else None)}")


def _next(loaded: Loaded, folder: RunFolder | None) -> str:
    """The command that forecasts a series that was not trained on, with the adapter or without."""
    settings, split = loaded.plan.settings, loaded.plan.split
    adapter = "none" if folder is None else str(folder.path)
    # an adapter knows its model; without one it must be named
    without = () if folder is None else ("model", "revision")
    if settings.data is None:
        return next_command(
            "evaluate",
            EvaluateSettings,
            settings,
            "--limit",
            "4",
            "--adapter",
            adapter,
            without=without,
        )
    series = [*split.test, *split.validation, *split.train][0]
    which = ["--series", series] if len(loaded.plan.dataset) > 1 else []
    return next_command(
        "forecast",
        ForecastSettings,
        settings,
        *which,
        "--adapter",
        adapter,
        without=without,
        also=() if folder else ("decimals", "number_format"),
    )


def _help_to_train(context: CommandContext, ranks: Ranks) -> None:
    """What another process than the first does: its share of each step."""
    from lvlora.train.following import follow

    told, _ = ranks.hear()
    # the first one speaks for all
    loaded = prepare_together(TrainSettings(**told["settings"]), Output(verbosity=-1), ranks)
    if not context.dry_run:
        follow(loaded, ranks)


def _stopped_run(settings: TrainSettings) -> Path:
    """The run that --resume means."""
    from lvlora.train.run_folder import newest_unfinished

    if settings.resume != NEWEST:
        return find_run(settings.resume, settings.runs, "--resume")
    path = newest_unfinished(settings.runs)
    if path is None:
        raise SettingsError(
            f"--resume: there is no stopped run in {settings.runs}",
            "Name one: lvlora train --resume RUN.",
        )
    return path


def _stored_settings(
    folder: RunFolder, given: TrainSettings, context: CommandContext
) -> TrainSettings:
    """The run's own settings; what decides its result can't be changed half-way."""
    stored = resolve(
        "train", TrainSettings, flags={}, environment={}, config=str(folder.config), commands={}
    ).settings
    said = {n for n, source in context.sources.items() if source != "default"}
    for name in said & _FIXED:
        asked, was = getattr(given, name), getattr(stored, name)
        if asked != was:
            raise SettingsError(
                f"--{name.replace('_', '-')}: a run goes on with its own settings "
                f"({was}, not {asked})",
                "Leave the option out, or start a new run.",
            )
    # the limit is no setting of a run that goes on: its steps were laid out for the first one
    update = {name: getattr(given, name) for name in said - _FIXED - {"max_flops"}}
    if "budget" not in said:  # what the project may spend has its place in the ledger
        update["budget"] = None
    if "runs" not in said:
        # found from any working directory
        beside = folder.path.resolve().parent
        update["runs"] = beside if (beside / "ledger.sqlite").is_file() else stored.runs
    if stored.dtype == "auto":  # what was chosen then, not what this moment's probe says
        dtype = folder.read_environment().get("dtype")
        update["dtype"] = dtype if dtype in ("float32", "bfloat16") else "auto"
    if stored.data == Path("-") and "data" not in said:
        raise DataError(
            f"{folder.path}: its data came from standard input, which is gone",
            "Pipe it in again: lvlora train - --resume RUN < FILE.",
        )
    return stored.model_copy(update=update)


def _show_plan(loaded: Loaded, ranks: Ranks, started: float, context: CommandContext) -> None:
    """Price, time and memory of the run; with one process it takes a few steps to know."""
    from lvlora.cli.terminal.plans import show_run_plan
    from lvlora.train.estimate import of_run

    context.output.detail("Measuring a few steps and forecasts …")
    estimate = of_run(loaded) if ranks.size == 1 else None
    show_run_plan(loaded, estimate, started, context)


def _show(result: Result, loaded: Loaded, folder: RunFolder, context: CommandContext) -> None:
    before, after = result.zero_shot or {}, result.validation or {}
    rows: list[tuple[str, str]] = [
        (
            "steps",
            numbers.count(result.steps) + (" (stopped early)" if result.stopped_early else ""),
        ),
        ("trained parameters", numbers.count(result.trainable_parameters)),
        ("tokens", numbers.count(result.tokens)),
        ("time in steps", numbers.duration(result.seconds)),
        ("FLOPs, executed", numbers.flops(result.flops["executed"])),
        ("FLOPs, coursework", numbers.flops(result.flops["coursework"])),
    ]
    if after:
        for key, name in (("loss", "validation loss"), ("mae", "validation MAE")):
            if before.get(key) is not None and after.get(key) is not None:
                rows.append(
                    (
                        name,
                        f"{numbers.plain(before[key])} before, {numbers.plain(after[key])} "
                        f"at step {result.best_step}",
                    )
                )
    rows.append(("adapter", str(folder.adapter)))
    rows.append(("report", str(folder.path / "report.html")))
    context.output.table([f"Run {result.run}", ""], rows)
    context.output.line(reconciled(result, loaded.plan.settings.runs))
    show_losses(folder.read_metrics(), context.output)
