"""`lvlora experiment`: the stages of a file, one after the other, on one budget."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lvlora import numbers
from lvlora.cli.program.context import CommandContext
from lvlora.cli.program.from_settings import examples, settings_command
from lvlora.cli.program.root import app
from lvlora.cli.terminal.output import Output
from lvlora.cli.terminal.plans import nothing_spent
from lvlora.settings.experiment import ExperimentSettings

if TYPE_CHECKING:
    from lvlora.experiment.answers import Experiment, ExperimentPlan
    from lvlora.series.dataset import Dataset

EXAMPLES = examples(
    (
        "lvlora experiment -c examples/coursework.toml --model bundled --dry-run",
        "what each stage would cost in FLOPs and time",
    ),
    (
        "lvlora experiment -c examples/coursework.toml --model bundled --scale tiny",
        "make them, as small as [scales.tiny] says; the same command goes on",
    ),
)


@settings_command(app, ExperimentSettings, name="experiment", epilog=EXAMPLES)
def experiment(settings: ExperimentSettings, context: CommandContext) -> None:
    """Make the stages of a file, one after the other: trainings, sweeps, evaluations.

    The file of --config has a table [stages.NAME] for each, with the command it is and that
    command's settings; an evaluation names the adapters of stages before it. All share a folder, a
    model and one ledger. Stopped or killed, the same command goes on: what is done is skipped.
    """
    from lvlora.cli.terminal.progress import observer
    from lvlora.cli.terminal.sweeps import SweepNarration
    from lvlora.experiment.run import plan_experiment, run_experiment
    from lvlora.series.given import given_dataset

    output = context.output

    def read() -> Dataset:
        return given_dataset(settings, output)

    if context.dry_run:
        planned = plan_experiment(settings, read, config=context.config, sources=context.sources)
        output.report(planned, lambda: _show_plan(planned, context))
        return
    answer = run_experiment(
        settings,
        read,
        config=context.config,
        sources=context.sources,
        narrator=SweepNarration(output),
        observer=lambda: observer(output),
    )
    output.report(answer, lambda: _show(answer, output))
    output.note(f"Report: {answer.files[-1]}")
    output.hint(f"lvlora flops --ledger --runs {answer.folder} shows every entry of the ledger")


def _show_plan(planned: ExperimentPlan, context: CommandContext) -> None:
    output = context.output
    rows = [
        [
            stage.name,
            stage.command,
            stage.what,
            numbers.flops(stage.flops_at_most.executed),
            numbers.flops(stage.flops_at_most.coursework),
            "done" if stage.done else _time(stage.seconds),
        ]
        for stage in planned.stages
    ]
    whole = planned.flops_at_most
    together = [numbers.flops(whole.executed), numbers.flops(whole.coursework)]
    rows.append(["together", "", "", *together, _time(planned.seconds)])
    head = ["stage", "command", "what", "executed at most", "coursework at most", "time"]
    output.table(head, rows, title=f"Experiment in {planned.folder}", bold=[len(rows) - 1])
    if planned.budget is not None and planned.share_of_budget is not None:
        output.line(
            f"With the {numbers.flops(getattr(planned.charged, planned.convention))} FLOPs that "
            f"are charged already: at most {numbers.share(planned.share_of_budget)} of the budget "
            f"of {numbers.flops(planned.budget)} ({planned.convention})."
        )
    rates = {
        "ledger": "Times are at the rate of the last such work in the ledger.",
        "products": "Times are at least these: no such work is in the ledger, so they are at the "
        "rate of matrix products here. lvlora train --dry-run measures a run's steps.",
    }
    output.line(rates[planned.pace])
    nothing_spent(0, context)


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else f"about {numbers.duration(seconds)}"


def _show(answer: Experiment, output: Output) -> None:
    rows = [
        [
            stage.name,
            stage.command,
            _change(stage.found.loss_before, stage.found.loss),
            _change(stage.found.mae_before, stage.found.mae),
            numbers.flops(stage.flops.executed),
            numbers.flops(stage.flops.coursework),
            numbers.duration(stage.seconds),
        ]
        for stage in answer.stages
    ]
    for name, flops in (("others", answer.others), ("all", answer.flops)):
        counts = [numbers.flops(flops.executed), numbers.flops(flops.coursework)]
        rows.append([name, "", None, None, *counts, ""])
    head = ["stage", "command", "loss", "MAE", "FLOPs executed", "FLOPs coursework", "time"]
    output.table(head, rows, title=f"Experiment in {answer.folder}", bold=[len(rows) - 1])
    for stage in answer.stages:
        for name, mae in (stage.found.forecasters or {}).items():
            output.detail(f"{stage.name}: {name}, MAE {numbers.plain(mae, 3)}")
    if answer.budget is not None and answer.left is not None:
        output.line(
            f"{numbers.share(1 - answer.left / answer.budget)} of the budget of "
            f"{numbers.flops(answer.budget)} FLOPs ({answer.convention}) is spent."
        )


def _change(before: float | None, after: float | None) -> str | None:
    if after is None:
        return None
    return (
        numbers.plain(after)
        if before is None
        else (f"{numbers.plain(before)} to {numbers.plain(after)}")
    )
