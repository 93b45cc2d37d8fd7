"""The answers about text: tokenize, and tokenize of one text."""

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


class Merged(Shape):
    """The tokenizer's own tokens of the text, where they differ."""

    ids: list[int]
    tokens: list[str]


class TokenizeText(Answer):
    """`lvlora tokenize --text TEXT --json`"""

    model: TokenizerOf
    vocabulary_size: int
    start_token: Token | None
    alphabet: dict[str, int]
    """Symbol → id, for the fifteen symbols of numbers."""
    merged_tokens: int
    """Further tokens that texts are written with, of several symbols each."""
    text: str
    ids: list[int]
    tokens: list[str]
    in_alphabet: bool
    """Every symbol is one of the alphabet; if not, the ids are the tokenizer's own."""
    own_merging: Merged | None


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
    own_merging: Merged | None


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
