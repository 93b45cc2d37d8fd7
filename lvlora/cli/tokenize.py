"""`lvlora tokenize`: series as text and tokens, and what the text loses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lvlora import numbers
from lvlora.cli.program.advice import next_command
from lvlora.cli.program.context import CommandContext
from lvlora.cli.program.from_settings import examples, settings_command
from lvlora.cli.program.root import app
from lvlora.cli.terminal.output import Output, printable
from lvlora.errors import SettingsError
from lvlora.settings import TokenizeSettings, TrainSettings

if TYPE_CHECKING:
    from lvlora.text.answers import Merged, ScaleUsed, Tokenize, TokenizedSeries, TokenizeText

EXAMPLES = examples(
    ("lvlora tokenize data.h5", "the first series as text, ids and tokens"),
    ("lvlora tokenize data.csv --series 0,1 --steps 3 --decimals 1", "two series, one decimal"),
    ("lvlora tokenize --text 1.23 --model qwen2.5-0.5b", "a text of your own"),
)


@settings_command(app, TokenizeSettings, name="tokenize", epilog=EXAMPLES)
def tokenize(settings: TokenizeSettings, context: CommandContext) -> None:
    """Show series as text and tokens of a model, and what the text loses.

    Only the tokenizer of the model is loaded. Token ids are looked up symbol by symbol, as training
    and forecasting do.
    """
    if settings.text is not None and (settings.data is not None or settings.series is not None):
        raise SettingsError("--text is tokenized instead of a file's series.", "Give only one.")
    from lvlora.model.catalogue import resolve
    from lvlora.series.given import given_dataset

    output = context.output
    # the data first: they are read faster than a tokenizer is loaded
    dataset = None if settings.text is not None else given_dataset(settings, output)
    chosen = None
    if dataset is not None:
        chosen = dataset.named(settings.series or [dataset.series[0].id])
    source = resolve(settings.model, settings.revision, keep=settings.cache)
    if source.note:
        output.note(source.note)
    from lvlora.model import tokenizing
    from lvlora.text.losses import of_shares

    if dataset is None or chosen is None:
        text = tokenizing.tokenize_text(settings.text or "", source)
        output.report(text, lambda: _show_text(text, output))
        _say_strange(text, output)
        _say_difference(text.own_merging, output)
        return
    answer = tokenizing.tokenize(dataset, chosen, settings, source)
    output.report(answer, lambda: _show(answer, output))
    said = of_shares(answer.scale.lost, answer.decimals, answer.variables)
    if said:
        output.warning(said)
    _say_difference(next((s.own_merging for s in answer.series if s.own_merging), None), output)
    trained = next_command("train", TrainSettings, settings, also=("decimals", "number_format"))
    output.hint(f"Next: lvlora flops says what a step costs; {trained} trains.")


def _show_text(answer: TokenizeText, output: Output) -> None:
    ids = answer.ids
    output.line(
        f"{answer.model.name}: {printable(answer.text)} is {len(ids):,} tokens: {_joined(ids)}"
    )
    output.line()
    output.table(["token", "id"], list(zip(map(repr, answer.tokens), ids, strict=True)))


def _say_strange(answer: TokenizeText, output: Output) -> None:
    strange = sorted(set(answer.text) - set(answer.alphabet))
    if strange:
        output.note(
            f"Not in lvlora's alphabet {''.join(answer.alphabet)}: "
            f"{' '.join(map(repr, strange[:5]))}. These are the tokenizer's own tokens."
        )


def _show(answer: Tokenize, output: Output) -> None:
    names = printable(", ".join(answer.variables))
    output.line(f"{printable(answer.source)}: {names}; {answer.model.name}")
    bare = "" if answer.number_format == "point" else ", their point left out"
    output.line(
        f"Numbers are {_said(answer.scale, answer.variables)} with {answer.decimals} "
        f"decimals{bare} ({answer.scale.explanation})."
    )
    output.line()
    for one in answer.series:
        _show_steps(one, output)
    output.table(
        ["series", "steps", "tokens", "tokens a step", "largest error", "in half units"],
        [
            [
                one.id,
                one.steps,
                one.n_tokens,
                f"{one.tokens_per_step:.2f}",
                numbers.plain(one.round_trip.max_error),
                f"{one.round_trip.max_error_half_units:.3f}",
            ]
            for one in answer.series
        ],
    )
    half_unit = 0.5 * 10.0**-answer.decimals
    in_units = dict.fromkeys(numbers.plain(half_unit * d, 3) for d in answer.scale.divisors)
    output.line(
        "The error is that of text to numbers and back; half a unit of the last decimal is "
        f"{' or '.join(in_units)} in the data's units."
    )


def _show_steps(one: TokenizedSeries, output: Output) -> None:
    """The first steps of a series, a line a step: text, ids, tokens."""
    more = one.steps > one.steps_shown
    cut = f", the first {one.steps_shown:,} of {one.steps:,} steps" if more else ""
    output.line(f"Series {printable(one.id)}{cut}: {one.text}")
    output.line()
    place, rows = 0, []
    for number, step in enumerate(_steps(one.text), 1):
        of_step = slice(place, place + len(step))
        place += len(step)
        rows.append([number, step, _joined(one.ids[of_step]), " ".join(one.tokens[of_step])])
    output.table(["step", "text", "ids", "tokens"], rows)


def _steps(text: str) -> list[str]:
    """Each step with the ; that ends it."""
    return [f"{step};" for step in text.split(";")[:-1]]


def _said(scale: ScaleUsed, variables: Sequence[str]) -> str:
    """What is done to the values of each variable."""
    pairs = list(zip(scale.divisors, scale.offsets, strict=True))
    if len(set(pairs)) == 1 and not scale.offsets[0]:
        return f"values / {numbers.plain(scale.divisors[0], 6)}"
    of_each = [
        f"({printable(name)} - {numbers.plain(offset, 6)}) / {numbers.plain(divisor, 6)}"
        if offset
        else f"{printable(name)} / {numbers.plain(divisor, 6)}"
        for name, (divisor, offset) in zip(variables, pairs, strict=True)
    ]
    return ", ".join(of_each)


def _say_difference(difference: Merged | None, output: Output) -> None:
    if difference is not None:
        merged = [repr(token) for token in difference.tokens if len(token) > 1]
        shown = ", ".join(dict.fromkeys(merged[:5]))
        output.note(
            "By itself the tokenizer would write this text with other tokens"
            f"{f', such as {shown}' if shown else ''}; lvlora looks each symbol up alone, so that "
            "a sign or a missing value never hides in a merged token."
        )


def _joined(ids: Sequence[int]) -> str:
    return " ".join(map(str, ids))
