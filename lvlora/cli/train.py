"""`lvlora train`: fine-tune a base model with LoRA on trajectories."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lvlora import numbers
from lvlora.cli.program.advice import next_command
from lvlora.cli.program.context import CommandContext
from lvlora.cli.program.from_settings import examples, settings_command
from lvlora.cli.program.root import app
from lvlora.cli.terminal.loss_chart import show_losses
from lvlora.cli.terminal.output import Output
from lvlora.cli.terminal.plans import judged, reconciled, show_run_plan
from lvlora.settings.forecasting import ForecastSettings
from lvlora.settings.scoring import EvaluateSettings
from lvlora.settings.training import TrainSettings

if TYPE_CHECKING:
    from lvlora.series.dataset import Dataset
    from lvlora.train.answers import Train

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
    from lvlora.cli.terminal.progress import observer
    from lvlora.series.given import given_dataset
    from lvlora.train.fine_tune import plan_training, run_training
    from lvlora.train.ranks import FailedElsewhere, joined

    try:
        with joined(settings.device) as ranks:
            # where several processes make a run, the first one speaks
            output = context.output if ranks.is_first else Output(verbosity=-1)

            def read(chosen: TrainSettings) -> Dataset:
                return given_dataset(chosen, output)

            if context.dry_run:
                planned = plan_training(
                    settings,
                    read,
                    sources=context.sources,
                    narrator=output,
                    ranks=ranks,
                    began=context.began,
                )
                if planned is not None:
                    show_run_plan(planned, context)
                return
            made = run_training(
                settings,
                read,
                sources=context.sources,
                observer=observer(output),
                narrator=output,
                ranks=ranks,
            )
    except FailedElsewhere as error:
        raise SystemExit(error.exit_code) from None
    if made is not None:
        _show(made, output)


def _show(made: Train, output: Output) -> None:
    output.report(made, lambda: _table(made, output))
    helped, judgement = judged(made)
    if judgement:
        output.note(judgement)
    output.hint(f"Next: {_next(made, with_adapter=helped)}")


def _next(made: Train, *, with_adapter: bool) -> str:
    """The command that forecasts a series that was not trained on, with the adapter or without."""
    plan, settings, split = made.plan, made.plan.settings, made.plan.split
    adapter = made.folder if with_adapter else "none"
    # an adapter knows its model; without one it must be named
    without = () if not with_adapter else ("model", "revision")
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
    which = ["--series", series] if len(plan.dataset) > 1 else []
    return next_command(
        "forecast",
        ForecastSettings,
        settings,
        *which,
        "--adapter",
        adapter,
        without=without,
        also=() if with_adapter else ("decimals", "number_format"),
    )


def _table(made: Train, output: Output) -> None:
    from lvlora.train.run_folder import RunFolder

    rows: list[tuple[str, str]] = [
        (
            "steps",
            numbers.count(made.steps) + (" (stopped early)" if made.stopped_early else ""),
        ),
        ("trained parameters", numbers.count(made.trainable_parameters)),
        ("tokens", numbers.count(made.tokens)),
        ("time in steps", numbers.duration(made.seconds)),
        ("FLOPs, executed", numbers.flops(made.flops.executed)),
        ("FLOPs, coursework", numbers.flops(made.flops.coursework)),
    ]
    for key, name in (("loss", "validation loss"), ("mae", "validation MAE")):
        before, after = getattr(made.zero_shot, key, None), getattr(made.validation, key, None)
        if before is not None and after is not None:
            rows.append(
                (
                    name,
                    f"{numbers.plain(before)} before, {numbers.plain(after)} "
                    f"at step {made.best_step}",
                )
            )
    folder = RunFolder(Path(made.folder))
    rows.append(("adapter", made.adapter))
    rows.append(("report", str(folder.path / "report.html")))
    output.table([f"Run {made.run}", ""], rows)
    output.line(reconciled(made))
    show_losses(folder.read_metrics(), output)
