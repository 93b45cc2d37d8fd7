"""`lvlora sweep`: many trainings under one FLOP budget, and the best of them."""

from __future__ import annotations

from functools import partial

from lvlora.cli.program.context import CommandContext, next_command
from lvlora.cli.program.from_settings import examples, settings_command
from lvlora.cli.program.root import app
from lvlora.errors import BudgetError
from lvlora.evaluation.settings import EvaluateSettings
from lvlora.sweep.settings import SweepSettings

EXAMPLES = examples(
    ("lvlora sweep data.h5 --max-steps 100", "learning rate by rank, a hundred steps a trial"),
    (
        "lvlora sweep data.h5 --preset coursework --max-flops 1e14 --dry-run",
        "what the coursework's search would be for that price",
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
    from lvlora.cli.terminal.progress import observer
    from lvlora.data.known import read_data
    from lvlora.sweep.document import document, plan_document
    from lvlora.sweep.search import plan_search, run_search, search_status

    output = context.output
    read = partial(read_data, settings, output)
    if settings.status:
        record = search_status(settings)
    elif context.dry_run:
        planned = plan_search(settings, read, sources=context.sources, narrator=output)
        output.report(planned, lambda: plan_document(planned, settings.max_flops))
        output.note("Nothing was charged.")
        return
    else:
        record = run_search(
            settings,
            read,
            sources=context.sources,
            narrator=output,
            observer=partial(observer, output),
        )
    output.report(record, lambda: document(record))
    if record.files:
        output.note(f"Report: {record.files[-1]}")
    if record.best is not None:
        output.hint(f"Train with the best settings: {record.command}")
    if record.best is not None and not settings.status:
        scored = next_command(
            "evaluate",
            EvaluateSettings,
            settings,
            *("--adapter", record.best.folder),
            without=("model",),
        )
        output.hint(f"Score trial {record.best.trial} beside its rivals: {scored}")
    if record.stopped_by is not None:
        raise BudgetError(
            record.stopped_by, "The same command with a larger --max-flops (or --budget) goes on."
        )
