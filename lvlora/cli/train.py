"""`lvlora train`: fine-tune a base model with LoRA on trajectories."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lvlora.cli.program.context import CommandContext, next_command
from lvlora.cli.program.from_settings import examples, settings_command
from lvlora.cli.program.root import app
from lvlora.evaluation.settings import EvaluateSettings
from lvlora.forecast.settings import ForecastSettings
from lvlora.train.settings import TrainSettings

if TYPE_CHECKING:
    from lvlora.cli.terminal.output import Output
    from lvlora.train.plan import Plan
    from lvlora.train.record import Train

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


@settings_command(app, TrainSettings, name="train", epilog=EXAMPLES)
def train(settings: TrainSettings, context: CommandContext) -> None:
    """Fine-tune a base model with LoRA on trajectories.

    Writes a run folder with the adapter (in PEFT's layout), the metrics of every step, the
    settings, figures and a report, and charges the ledger.
    """
    from lvlora.cli.terminal.output import Output
    from lvlora.cli.terminal.progress import observer
    from lvlora.data.known import read_data
    from lvlora.train.document import plan_document
    from lvlora.train.fine_tune import plan_training, run_training
    from lvlora.train.process import FailedElsewhere, joined

    sources = context.sources
    try:
        with joined(settings.device) as ranks:
            # where several processes make a run, the first one speaks
            output = context.output if ranks.is_first else Output(verbosity=-1)
            read = partial(read_data, narrator=output)
            if not context.dry_run:
                result = run_training(
                    settings,
                    read,
                    sources=sources,
                    observer=observer(output),
                    narrator=output,
                    ranks=ranks,
                )
                if result is not None:
                    _show(*result, output)
            elif ranks.is_first:
                plan = plan_training(
                    settings, read, sources=sources, narrator=output, began=context.began
                )
                output.report(plan, lambda: plan_document(plan))
    except FailedElsewhere as error:
        raise SystemExit(error.exit_code) from None


def _show(result: Train, plan: Plan, output: Output) -> None:
    from lvlora.train.document import comparison, document, read_run

    output.report(result, lambda: document(read_run(Path(result.folder))))
    output.note(f"Adapter: {result.adapter}")
    output.note(f"Report: {result.files[-1]}")
    if sentence := comparison(result):
        output.note(sentence)
    output.hint(f"Next: {_next(result, plan)}")


def _next(result: Train, plan: Plan) -> str:
    """The command that compares the adapter with the model, or forecasts where one is known."""
    settings, split, part = plan.settings, plan.split, plan.part
    before, after = result.maes
    is_compared = before is not None and after is not None
    helps = before is None or after is None or after < before
    adapter = result.folder if helps else "none"
    # an adapter knows its model; without one it must be named
    without = ("model", "revision") if helps else ()
    if settings.data is None or (is_compared and helps):
        words = ["--limit", "4"]
        if part is not None and part.n_held_out:
            n_windows = len(part.histories) // part.n_series
            words = [
                *("--split", "all", "--limit", str(part.n_series)),
                *("--windows", str(n_windows), "--horizon", str(part.horizon)),
            ]
        words += ["--adapter", adapter]
        return next_command("evaluate", EvaluateSettings, settings, *words, without=without)
    series = [*split.test, *split.validation, *split.train][0]
    words = [*(["--series", series] if len(plan.dataset) > 1 else []), "--adapter", adapter]
    if helps:
        return next_command("forecast", ForecastSettings, settings, *words, without=without)
    return next_command("forecast", ForecastSettings, settings, *words, also=("decimals",))
