"""`lvlora baseline`: the zero-shot model and all rivals, one table."""

from __future__ import annotations

from lvlora.cli.program.context import CommandContext
from lvlora.cli.program.from_settings import examples, settings_command
from lvlora.cli.program.root import app
from lvlora.cli.scores import run
from lvlora.evaluation.settings import BaselineSettings

EXAMPLES = examples(
    ("lvlora baseline --limit 4 --samples 5", "four simulated series, quickly"),
    ("lvlora baseline data.h5", "50 steps from 50, on the validation part"),
    ("lvlora baseline data.h5 --protocol B --out base", "20 steps from 80, with a report"),
    ("lvlora baseline data.h5 --no-model --split train", "the classical rivals alone"),
)


@settings_command(app, BaselineSettings, name="baseline", epilog=EXAMPLES)
def baseline(settings: BaselineSettings, context: CommandContext) -> None:
    """Score the untrained model and all rivals on one part of a data set.

    What a tuned model has to beat: naive forecasters, autoregression, and differential equations
    fitted to each history. With --out, a folder keeps what is finished (the same command goes on
    from there), the tables and a report.
    """
    run(settings, context)
