"""`lvlora tokenize`: series as text and tokens, and what the text loses."""

from __future__ import annotations

from lvlora.cli.program.advice import next_command
from lvlora.cli.program.context import CommandContext
from lvlora.cli.program.from_settings import examples, settings_command
from lvlora.cli.program.root import app
from lvlora.errors import SettingsError
from lvlora.model.settings import TokenizeSettings
from lvlora.train.settings import TrainSettings

EXAMPLES = examples(
    ("lvlora tokenize data.h5", "the first series as text, ids and tokens"),
    ("lvlora tokenize data.csv --series 0,1 --steps 3 --decimals 1", "two series, one decimal"),
    ("lvlora tokenize --text 1.23 --model qwen2.5-0.5b", "a text of your own"),
)


@settings_command(app, TokenizeSettings, name="tokenize", epilog=EXAMPLES)
def tokenize(settings: TokenizeSettings, context: CommandContext) -> None:
    """Show series as text and tokens of a model, and what the text loses.

    Only the tokenizer of the model is loaded. Texts are spelled as in training and forecasting: a
    token for each symbol, or from the left the longest where the tokenizer has longer ones.
    """
    if settings.text is not None and (settings.data is not None or settings.series is not None):
        raise SettingsError("--text is tokenized instead of a file's series.", "Give only one.")
    from lvlora.data.known import read_data
    from lvlora.model.catalogue import resolve

    output = context.output
    # the data first: they are read faster than a tokenizer is loaded
    dataset = None if settings.text is not None else read_data(settings, output)
    chosen = None
    if dataset is not None:
        chosen = dataset.named(settings.series or [dataset.series[0].id])
    source = resolve(settings.model, settings.revision)
    from lvlora.model import tokenizing
    from lvlora.text import document
    from lvlora.text.scaling import rounding_sentence

    if dataset is None or chosen is None:
        text = tokenizing.tokenize_text(settings.text or "", source)
        output.report(text, lambda: document.text_document(text))
        for note in document.notes(text):
            output.note(note)
        return
    answer = tokenizing.tokenize(dataset, chosen, settings, source)
    output.report(answer, lambda: document.series_document(answer))
    loss = rounding_sentence(answer.scale.lost, answer.decimals, answer.variables)
    if loss:
        output.warning(loss)
    for note in document.notes(answer):
        output.note(note)
    trained = next_command("train", TrainSettings, settings, also=("decimals",))
    output.hint(f"Next: lvlora flops says what a step costs; {trained} trains.")
