"""`lvlora tokenize`: series as text and tokens, and what the text loses.

Knows: which series, model and scale were asked for, and how it looks. Does not know: the text form.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lvlora import numbers
from lvlora.cli.program.advice import next_command
from lvlora.cli.program.context import CommandContext
from lvlora.cli.program.from_settings import examples, settings_command
from lvlora.cli.program.inputs import load_dataset
from lvlora.cli.program.root import app
from lvlora.cli.terminal.output import Output, printable
from lvlora.errors import SettingsError
from lvlora.settings import TokenizeSettings, TrainSettings

if TYPE_CHECKING:
    from lvlora.model.catalogue import ModelSource
    from lvlora.series.dataset import Dataset
    from lvlora.text.alphabet import TokenAlphabet
    from lvlora.text.inspection import Inspection
    from lvlora.text.scaling import Scale

EXAMPLES = examples(
    ("lvlora tokenize data.h5", "the first series as text, ids and tokens"),
    ("lvlora tokenize data.csv --series 0,1 --steps 3 --decimals 1", "two series, one decimal"),
    ("lvlora tokenize --text 1.23 --model qwen2.5-0.5b", "a text of your own"),
)

_RULES = {
    "dataset": "of the data set: the {percentile:g}th percentile of the training part becomes "
    "{dataset:g}",
    "history": "of a lone series: its largest value becomes {history:g}",
    "variable": "of a lone series, a scale for each variable that another's would erase: the "
    "largest value becomes {history:g}",
    "given": "as given by --scale",
}


@settings_command(app, TokenizeSettings, name="tokenize", epilog=EXAMPLES)
def tokenize(settings: TokenizeSettings, context: CommandContext) -> None:
    """Show series as text and tokens of a model, and what the text loses.

    Only the tokenizer of the model is loaded. Token ids are looked up symbol by symbol, as training
    and forecasting do.
    """
    if settings.text is not None and (settings.data is not None or settings.series is not None):
        raise SettingsError("--text is tokenized instead of a file's series.", "Give only one.")
    output = context.output
    # the data first: they are read faster than a tokenizer is loaded
    dataset = None if settings.text is not None else load_dataset(settings, output)
    chosen = None
    if dataset is not None:
        chosen = dataset.named(settings.series or [dataset.series[0].id])
    tokenizer = _Tokenizer(settings, output)
    if dataset is None or chosen is None:
        _text(settings.text or "", tokenizer, output)
    else:
        _series(settings, dataset, chosen, tokenizer, output)


class _Tokenizer:
    """The chosen model's tokenizer and where the symbols are in it."""

    def __init__(self, settings: TokenizeSettings, output: Output) -> None:
        from lvlora.model.catalogue import resolve

        self.source: ModelSource = resolve(settings.model, settings.revision, keep=settings.cache)
        if self.source.note:
            output.note(self.source.note)
        from lvlora.model.loading import alphabet_of, load_tokenizer

        self._tokenizer = load_tokenizer(self.source)
        self.alphabet: TokenAlphabet = alphabet_of(self._tokenizer, self.source.name)

    def tokens(self, ids: Sequence[int]) -> list[str]:
        """The vocabulary's strings."""
        return [str(token) for token in self._tokenizer.convert_ids_to_tokens(list(ids))]

    def own(self, text: str) -> list[int]:
        """What the tokenizer makes of a text by itself."""
        return [int(i) for i in self._tokenizer.encode(text, add_special_tokens=False)]

    def facts(self) -> dict[str, Any]:
        """For JSON."""
        from lvlora.text.alphabet import SYMBOLS

        start = self.alphabet.start
        return {
            "model": {"name": self.source.name, "kind": self.source.kind},
            "vocabulary_size": len(self._tokenizer),
            "start_token": None
            if start is None
            else {"id": start, "token": self.tokens([start])[0]},
            "alphabet": dict(zip(SYMBOLS, self.alphabet.ids, strict=True)),
        }

    def difference(self, text: str, ids: Sequence[int]) -> dict[str, Any] | None:
        """How the tokenizer's own merging of a text differs, if it does."""
        own = self.own(text)
        return None if own == list(ids) else {"ids": own, "tokens": self.tokens(own)}


def _text(text: str, tokenizer: _Tokenizer, output: Output) -> None:
    """The tokens of a text that was given."""
    from lvlora.text.alphabet import SYMBOLS

    strange = sorted({symbol for symbol in text if symbol not in SYMBOLS})
    ids = tokenizer.own(text) if strange else tokenizer.alphabet.encode(text).tolist()
    difference = None if strange else tokenizer.difference(text, ids)
    tokens = tokenizer.tokens(ids)
    payload = {
        **tokenizer.facts(),
        "text": text,
        "ids": ids,
        "tokens": tokens,
        "in_alphabet": not strange,
        "own_merging": difference,
    }

    def human() -> None:
        output.line(
            f"{tokenizer.source.name}: {printable(text)} is {len(ids):,} tokens: {_joined(ids)}"
        )
        output.line()
        output.table(["token", "id"], list(zip(map(repr, tokens), ids, strict=True)))

    output.report(payload, human)
    if strange:
        output.note(
            f"Not in lvlora's alphabet {SYMBOLS}: {' '.join(map(repr, strange[:5]))}. "
            "These are the tokenizer's own tokens."
        )
    _say_difference(difference, output)


def _series(
    settings: TokenizeSettings,
    dataset: Dataset,
    chosen: Dataset,
    tokenizer: _Tokenizer,
    output: Output,
) -> None:
    """Text, ids, tokens and round-trip error of the chosen series."""
    from lvlora.text import scaling
    from lvlora.text.codec import Codec
    from lvlora.text.inspection import inspect

    scale = _scale(settings, dataset)
    codec = Codec(settings.decimals, len(dataset.variables), settings.number_format)
    seen = [inspect(s, scale, codec, tokenizer.alphabet, settings.steps) for s in chosen]
    differences = [tokenizer.difference(one.text, one.ids) for one in seen]
    rule = _rule(scale)
    values = [s.values for s in chosen]
    lost = scaling.lost(values, [scale] * len(values), settings.decimals).tolist()
    payload = {
        "source": dataset.source,
        **tokenizer.facts(),
        "variables": dataset.variables,
        "decimals": settings.decimals,
        "number_format": settings.number_format,
        "scale": {**scale.to_dict(), "explanation": rule, "lost": lost},
        "series": [
            {
                "id": one.series,
                "text": one.text,
                "ids": one.ids,
                "tokens": tokenizer.tokens(one.ids),
                "steps_shown": len(one.steps),
                "steps": one.n_steps,
                "n_tokens": one.n_tokens,
                "tokens_per_step": one.tokens_per_step,
                "round_trip": {
                    "max_error": one.max_error,
                    "max_error_half_units": one.max_error_half_units,
                },
                "own_merging": difference,
            }
            for one, difference in zip(seen, differences, strict=True)
        ],
    }

    def human() -> None:
        names = printable(", ".join(dataset.variables))
        output.line(f"{printable(dataset.source)}: {names}; {tokenizer.source.name}")
        bare = "" if settings.number_format == "point" else ", their point left out"
        output.line(
            f"Numbers are {_said(scale, dataset.variables)} with {settings.decimals} "
            f"decimals{bare} ({rule})."
        )
        output.line()
        for one in seen:
            _shown(one, tokenizer, output)
        output.table(
            ["series", "steps", "tokens", "tokens a step", "largest error", "in half units"],
            [
                [
                    one.series,
                    one.n_steps,
                    one.n_tokens,
                    f"{one.tokens_per_step:.2f}",
                    numbers.plain(one.max_error),
                    f"{one.max_error_half_units:.3f}",
                ]
                for one in seen
            ],
        )
        output.line(
            "The error is that of text to numbers and back; half a unit of the last decimal is "
            f"{' or '.join(_half_units(scale, codec.half_unit))} in the data's units."
        )

    from lvlora.text.losses import losses

    output.report(payload, human)
    said = losses(chosen.series, [scale] * len(chosen), settings.decimals, dataset.variables)
    if said:
        output.warning(said)
    _say_difference(next((d for d in differences if d is not None), None), output)
    trained = next_command("train", TrainSettings, settings, also=("decimals", "number_format"))
    output.hint(f"Next: lvlora flops says what a step costs; {trained} trains.")


def _shown(one: Inspection, tokenizer: _Tokenizer, output: Output) -> None:
    """The first steps of a series, a line a step: text, ids, tokens."""
    more = one.n_steps - len(one.steps)
    cut = f", the first {len(one.steps):,} of {one.n_steps:,} steps" if more else ""
    output.line(f"Series {printable(one.series)}{cut}: {one.text}")
    output.line()
    place, rows = 0, []
    for number, step in enumerate(one.steps, 1):
        ids = one.ids[place : place + len(step)]
        place += len(step)
        rows.append([number, step, _joined(ids), " ".join(tokenizer.tokens(ids))])
    output.table(["step", "text", "ids", "tokens"], rows)


def _scale(settings: TokenizeSettings, dataset: Dataset) -> Scale:
    """As in training: of the training part of a data set, or of a lone series."""
    from lvlora.series.splits import split_ids
    from lvlora.text import scaling

    if settings.scale is not None:
        return scaling.given(settings.scale, len(dataset.variables))
    if len(dataset) == 1:
        return scaling.of_history(dataset.series[0])
    return scaling.of_dataset(dataset.select(split_ids(dataset, seed=0).train))


def _rule(scale: Scale) -> str:
    from lvlora.text import scaling

    return _RULES[scale.rule].format(
        percentile=scaling.DATASET_PERCENTILE,
        dataset=scaling.DATASET_TARGET,
        history=scaling.HISTORY_TARGET,
    )


def _said(scale: Scale, variables: Sequence[str]) -> str:
    """What is done to the values of each variable."""
    if len(set(scale.pairs)) == 1 and not scale.offsets[0]:
        return f"values / {numbers.plain(scale.divisors[0], 6)}"
    of_each = [
        f"({printable(name)} - {numbers.plain(offset, 6)}) / {numbers.plain(divisor, 6)}"
        if offset
        else f"{printable(name)} / {numbers.plain(divisor, 6)}"
        for name, (divisor, offset) in zip(variables, scale.pairs, strict=True)
    ]
    return ", ".join(of_each)


def _half_units(scale: Scale, half_unit: float) -> list[str]:
    shown = [numbers.plain(half_unit * d, 3) for d in scale.divisors]
    return list(dict.fromkeys(shown))


def _say_difference(difference: dict[str, Any] | None, output: Output) -> None:
    if difference is not None:
        merged = [repr(token) for token in difference["tokens"] if len(token) > 1]
        shown = ", ".join(dict.fromkeys(merged[:5]))
        output.note(
            "By itself the tokenizer would write this text with other tokens"
            f"{f', such as {shown}' if shown else ''}; lvlora looks each symbol up alone, so that "
            "a sign or a missing value never hides in a merged token."
        )


def _joined(ids: Sequence[int]) -> str:
    return " ".join(map(str, ids))
