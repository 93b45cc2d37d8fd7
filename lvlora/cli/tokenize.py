"""`lvlora tokenize`: series as text and tokens, and what the text loses."""

from __future__ import annotations

from lvlora.cli.program.context import CommandContext, next_command
from lvlora.cli.program.from_settings import examples, settings_command
from lvlora.cli.program.root import app
from lvlora.model.settings import TokenizeSettings
from lvlora.train.settings import TrainSettings

EXAMPLES = examples(
    ("lvlora tokenize data.h5", "the first series as text, ids and tokens"),
    ("lvlora tokenize data.csv --series 0,1 --steps 3 --decimals 1", "two series, one decimal"),
)


@settings_command(app, TokenizeSettings, name="tokenize", epilog=EXAMPLES)
def tokenize(settings: TokenizeSettings, context: CommandContext) -> None:
    """Show series as text and tokens of a model, and what the text loses.

    Only the tokenizer of the model is loaded. Texts are spelled as in training and forecasting: a
    token for each symbol, or from the left the longest where the tokenizer has longer ones.
    """
    from lvlora.data.known import read_data
    from lvlora.model.catalogue import resolve

    output = context.output
    # the data first: they are read faster than a tokenizer is loaded
    dataset = read_data(settings, output)
    chosen = dataset.named(settings.series or [dataset.series[0].id])
    source = resolve(settings.model, settings.revision)
    from lvlora.model import tokenizing
    from lvlora.text.scaling import rounding_sentence

    answer = tokenizing.tokenize(dataset, chosen, settings, source)
    output.report(answer, lambda: tokenizing.document(answer))
    loss = rounding_sentence(answer.scale.lost, answer.decimals, answer.variables)
    if loss:
        output.warning(loss)
    trained = next_command("train", TrainSettings, settings, also=("decimals",))
    output.hint(f"Next: lvlora flops says what a step costs; {trained} trains.")
