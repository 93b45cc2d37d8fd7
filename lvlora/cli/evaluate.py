"""`lvlora evaluate`: adapters and rivals on one part of a data set."""

from __future__ import annotations

from lvlora.cli.context import CommandContext
from lvlora.cli.from_settings import examples, settings_command
from lvlora.cli.root import app
from lvlora.cli.scoring import score_all
from lvlora.settings import EvaluateSettings

EXAMPLES = examples(
    ("lvlora evaluate --limit 4 --samples 5", "the newest run on four simulated series"),
    (
        "lvlora evaluate data.h5 --context 80 --horizon 20",
        "20 steps from 80, on the validation part",
    ),
    (
        "lvlora evaluate data.h5 --split test --output table.csv",
        "the final table; look at the test part once",
    ),
)


@settings_command(app, EvaluateSettings, name="evaluate", epilog=EXAMPLES)
def evaluate(settings: EvaluateSettings, context: CommandContext) -> None:
    """Score an adapter beside every rival on one part of a data set.

    All forecasters get the same histories and are scored by the same metrics in original units.
    The interval says how much worse (positive) or better each rival is than the model.
    """
    score_all(settings, context, command="evaluate")
