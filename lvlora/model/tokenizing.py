"""Series as tokens of a model, and what the text loses: the verb, its answer, its document.

No weights are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lvlora import numbers
from lvlora.answers import Answer, Number, Shape
from lvlora.data.dataset import Dataset, Series
from lvlora.data.splits import split_ids
from lvlora.model.catalogue import ModelSource
from lvlora.model.loading import alphabet_of, load_tokenizer, number_format_of
from lvlora.model.settings import TokenizeSettings
from lvlora.report.document import Block, Cell, Document, Section, Table
from lvlora.text import scaling
from lvlora.text.codec import SYMBOLS, Codec, TokenAlphabet

_RULES = {
    "dataset": "of the data set: the {percentile:g}th percentile of the training part becomes "
    "{dataset:g}",
    "history": "of a lone series: its largest value becomes {history:g}",
    "variable": "of a lone series, a scale for each variable that another's would erase: the "
    "largest value becomes {history:g}",
}


class TokenizerOf(Shape):
    """The model whose tokenizer it is."""

    name: str
    kind: str


class Token(Shape):
    """An entry of the vocabulary."""

    id: int
    token: str


class ScaleUsed(Shape):
    """Numbers of the text are (value - offset) / divisor."""

    divisors: list[float]
    """One for each variable."""
    rule: str
    offsets: list[float]
    """One for each variable; 0 but where a level is far from its spread."""
    explanation: str
    lost: list[float]
    """Share of each variable's spread that the text of the series shown loses."""


class RoundTrip(Shape):
    """The rounding error of the text."""

    max_error: Number
    """In the data's units."""
    max_error_half_units: Number
    """In halves of the last decimal."""


class TokenizedSeries(Shape):
    """A series as text."""

    id: str
    text: str
    """Text of the steps shown."""
    ids: list[int]
    tokens: list[str]
    steps_shown: int
    steps: int
    n_tokens: int
    """Tokens of the whole series."""
    tokens_per_step: float
    round_trip: RoundTrip


class Tokenize(Answer):
    """`lvlora tokenize --json`"""

    source: str
    model: TokenizerOf
    vocabulary_size: int
    start_token: Token | None
    alphabet: dict[str, int]
    """Symbol → id, for the fifteen symbols of numbers."""
    merged_tokens: int
    """Further tokens that texts are written with, of several symbols each."""
    variables: list[str]
    decimals: int
    number_format: str
    scale: ScaleUsed
    series: list[TokenizedSeries]


def tokenize(
    dataset: Dataset, chosen: Dataset, settings: TokenizeSettings, source: ModelSource
) -> Tokenize:
    """Text, ids, tokens and round-trip error of series.

    Args:
        dataset: whose training part gives the scale.
        chosen: the series of it that are shown.
        settings: decimals, and the steps to show.
        source: whose tokenizer it is.
    """
    tokenizer: Any = load_tokenizer(source)
    alphabet, as_tokens = alphabet_of(tokenizer, source.name), tokenizer.convert_ids_to_tokens
    start = alphabet.start
    scale, number_format = _scale(dataset), number_format_of(len(tokenizer))
    codec = Codec(settings.decimals, len(dataset.variables), number_format)
    values = [s.values for s in chosen]
    lost = scaling.lost(values, [scale] * len(values), settings.decimals).tolist()
    return Tokenize(
        source=dataset.source,
        model=TokenizerOf(name=source.name, kind=source.kind),
        vocabulary_size=len(tokenizer),
        start_token=None if start is None else Token(id=start, token=str(as_tokens(start))),
        alphabet=dict(zip(SYMBOLS, alphabet.ids, strict=False)),
        merged_tokens=len(alphabet.tokens) - len(SYMBOLS),
        variables=list(dataset.variables),
        decimals=settings.decimals,
        number_format=number_format,
        scale=ScaleUsed(
            divisors=list(scale.divisors),
            rule=scale.rule,
            offsets=list(scale.offsets),
            explanation=_RULES[scale.rule].format(
                percentile=scaling.DATASET_PERCENTILE,
                dataset=scaling.DATASET_TARGET,
                history=scaling.HISTORY_TARGET,
            ),
            lost=lost,
        ),
        series=[_tokenized(s, scale, codec, alphabet, as_tokens, settings.steps) for s in chosen],
    )


def _tokenized(
    series: Series,
    scale: scaling.Scale,
    codec: Codec,
    alphabet: TokenAlphabet,
    as_tokens: Callable[[list[int]], list[str]],
    n_shown: int,
) -> TokenizedSeries:
    """Encode and decode a whole series; its first ``n_shown`` steps are shown."""
    scaled = scale.apply(series.values)
    steps = codec.encode_steps(scaled)
    text = "".join(steps)
    decoded = codec.decode(text)
    shown = "".join(steps[:n_shown])
    ids = alphabet.encode(shown).tolist()
    n_tokens = alphabet.count(text)
    return TokenizedSeries(
        id=series.id,
        text=shown,
        ids=ids,
        tokens=[str(token) for token in as_tokens(ids)],
        steps_shown=len(steps[:n_shown]),
        steps=len(series),
        n_tokens=n_tokens,
        tokens_per_step=n_tokens / len(series),
        round_trip=RoundTrip(
            max_error=_largest(scale.invert(decoded) - series.values),
            max_error_half_units=_largest((decoded - scaled) / codec.half_unit),
        ),
    )


def _largest(errors: NDArray[np.float64]) -> float:
    """The largest absolute value; 0 of missing values alone."""
    return float(np.nan_to_num(np.abs(errors)).max(initial=0.0))


def _scale(dataset: Dataset) -> scaling.Scale:
    """As in training: of the training part of a data set, or of a lone series."""
    if len(dataset) == 1:
        return scaling.of_history(dataset.series[0])
    return scaling.of_dataset(dataset.select(split_ids(dataset, seed=0).train))


def document(answer: Tokenize) -> Document:
    """Series step by step, and what their texts lose."""
    bare = "" if answer.number_format == "point" else ", their point left out"
    lead = (
        f"Numbers are {_formula(answer.scale, answer.variables)} with {answer.decimals} "
        f"decimals{bare} ({answer.scale.explanation})."
    )
    if answer.merged_tokens:
        lead += (
            f"\nBesides the {len(answer.alphabet)} symbols {answer.merged_tokens:,} tokens of "
            "several are used: from the left, the longest first."
        )
    head = ["series", "steps", "tokens", "tokens a step", "largest error", "in half units"]
    rows: list[list[Cell]] = []
    for one in answer.series:
        error, in_half_units = one.round_trip.max_error, one.round_trip.max_error_half_units
        per_step = f"{one.tokens_per_step:.2f}"
        rows.append([one.id, one.steps, one.n_tokens, per_step, error, f"{in_half_units:.3f}"])
    half_unit = 0.5 * 10.0**-answer.decimals
    in_units = dict.fromkeys(numbers.plain(half_unit * d, 3) for d in answer.scale.divisors)
    explanation = (
        "The error is that of text to numbers and back; half a unit of the last decimal is "
        f"{' or '.join(in_units)} in the data's units."
    )
    steps = [block for one in answer.series for block in _steps(one, answer.alphabet[";"])]
    return Document(
        f"{answer.source}: {', '.join(answer.variables)}; {answer.model.name}",
        [Section("Steps", steps), Section("Losses", [Table("", head, rows), explanation])],
        lead,
    )


def _steps(one: TokenizedSeries, separator: int) -> Iterable[Block]:
    """The first steps of a series, a row a step: text, ids, tokens.

    Args:
        separator: the id of ; alone.
    """
    more = one.steps > one.steps_shown
    cut = f", the first {one.steps_shown:,} of {one.steps:,} steps" if more else ""
    yield f"Series {one.id}{cut}: {one.text}"
    rows: list[list[str | int]] = []
    begin, texts = 0, iter(one.text.split(";"))
    for end, (i, token) in enumerate(zip(one.ids, one.tokens, strict=True), 1):
        if i == separator or token.endswith(";"):  # it may end a longer token
            ids, tokens = " ".join(map(str, one.ids[begin:end])), " ".join(one.tokens[begin:end])
            rows.append([len(rows) + 1, f"{next(texts)};", ids, tokens])
            begin = end
    yield Table("", ["step", "text", "ids", "tokens"], rows)


def _formula(scale: ScaleUsed, variables: Sequence[str]) -> str:
    """Return the formula that is applied to the values of each variable."""
    pairs = list(zip(scale.divisors, scale.offsets, strict=True))
    if len(set(pairs)) == 1 and not scale.offsets[0]:
        return f"values / {numbers.plain(scale.divisors[0], 6)}"
    of_each = [
        f"({name} - {numbers.plain(offset, 6)}) / {numbers.plain(divisor, 6)}"
        if offset
        else f"{name} / {numbers.plain(divisor, 6)}"
        for name, (divisor, offset) in zip(variables, pairs, strict=True)
    ]
    return ", ".join(of_each)
