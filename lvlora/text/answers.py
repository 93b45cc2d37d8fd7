"""The answer about text: tokenize."""

from __future__ import annotations

from lvlora.answers import Answer, Number, Shape


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
