"""`lvlora evaluate`: adapters, their base model and rivals on one part of a data set."""

from __future__ import annotations

from lvlora.cli.program.context import CommandContext
from lvlora.cli.program.from_settings import examples, settings_command
from lvlora.cli.program.root import app
from lvlora.cli.scores import run
from lvlora.evaluation.settings import EvaluateSettings

EXAMPLES = examples(
    ("lvlora evaluate --limit 4 --samples 5", "the newest run on four simulated series"),
    ("lvlora evaluate data.h5 --protocol B", "20 steps from 80, on the validation part"),
    (
        "lvlora evaluate data.h5 --adapter first --adapter second",
        "two runs beside their base model and the rivals",
    ),
    (
        "lvlora evaluate data.h5 --split test --output table.csv",
        "the final table; look at the test part once",
    ),
    (
        "lvlora evaluate data.h5 --known prey",
        "predators where the prey of the future are known",
    ),
)


@settings_command(app, EvaluateSettings, name="evaluate", epilog=EXAMPLES)
def evaluate(settings: EvaluateSettings, context: CommandContext) -> None:
    """Score adapters beside their base model and every rival on one part of a data set.

    All forecasters get the same histories and are scored by the same metrics in original units.
    The interval says how much worse (positive) or better each of them is than the first model.

    A folder keeps what is finished, the tables and a report: stopped or killed, the same command
    goes on; another adapter later finds the rivals done.
    """
    run(settings, context)
