"""`lvlora experiment`: the stages of a file, one after the other, on one budget."""

from __future__ import annotations

from functools import partial

from lvlora.cli.program.context import CommandContext
from lvlora.cli.program.from_settings import examples, settings_command
from lvlora.cli.program.root import app
from lvlora.experiment.settings import ExperimentSettings

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
    from lvlora.data.known import read_data
    from lvlora.experiment.experiment import run_experiment
    from lvlora.experiment.record import document

    output = context.output
    answer = run_experiment(
        settings,
        partial(read_data, settings, output),
        config=context.config,
        sources=context.sources,
        narrator=output,
        observer=partial(observer, output),
        dry_run=context.dry_run,
    )
    output.report(answer, lambda: document(answer))
    if context.dry_run:
        output.note("Nothing was charged.")
    else:
        output.note(f"Report: {answer.files[-1]}")
        output.hint(f"lvlora flops --ledger --runs {answer.folder} shows every entry of the ledger")
