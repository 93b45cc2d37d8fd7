"""`lvlora sweep`: many trainings under one FLOP budget, and the best of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lvlora import numbers
from lvlora.cli.program.advice import next_command
from lvlora.cli.program.context import CommandContext
from lvlora.cli.program.from_settings import examples, settings_command
from lvlora.cli.program.root import app
from lvlora.cli.terminal.output import Output
from lvlora.cli.terminal.plans import nothing_spent
from lvlora.settings.scoring import EvaluateSettings
from lvlora.settings.training import SweepSettings

if TYPE_CHECKING:
    from lvlora.series.dataset import Dataset
    from lvlora.sweep.answers import Sweep, SweepPlan

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
    from lvlora.cli.terminal.sweeps import SweepNarration
    from lvlora.series.known import read_data
    from lvlora.sweep.search import plan_search, run_search, search_status

    output = context.output
    narrator = SweepNarration(output)
    if settings.status:
        _show(search_status(settings), output)
        return

    def read() -> Dataset:
        return read_data(settings, output)

    if context.dry_run:
        planned = plan_search(settings, read, sources=context.sources, narrator=narrator)
        output.report(planned, lambda: _show_price(planned, settings, context))
        return
    found = run_search(settings, read, sources=context.sources, narrator=narrator)
    _show(found, output)
    if found.refusal is not None:
        raise found.refusal


def _show(found: Sweep, output: Output) -> None:
    from lvlora.cli.terminal.sweeps import show_sweep

    output.report(found, lambda: show_sweep(found, output))
    if found.best is None:
        return
    output.hint(f"Train with the best settings: {found.command}")
    scored = next_command(
        "evaluate",
        EvaluateSettings,
        found.settings,
        "--adapter",
        found.best.folder,
        without=("model",),
    )
    output.hint(f"Score trial {found.best.trial} beside its rivals: {scored}")


def _show_price(planned: SweepPlan, settings: SweepSettings, context: CommandContext) -> None:
    """The plan was shown already; how long it takes, and how much memory."""
    found = planned.estimate
    if found is None:
        nothing_spent(0, context)
        return
    workers = " with one worker" if settings.workers > 1 else ""
    context.output.line(
        f"Time on this machine: about {numbers.duration(found.seconds)}{workers}, "
        f"memory at most: about {numbers.size(found.peak_bytes)} a worker."
    )
    nothing_spent(found.probe_flops.executed, context)
