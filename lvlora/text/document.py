"""The answer of `lvlora tokenize` and its document: series step by step, what their text loses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lvlora import numbers
from lvlora.answers import Answer, Number, Shape
from lvlora.report.document import Block, Cell, Document, Section, Table


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
