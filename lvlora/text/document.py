"""The document of `lvlora tokenize`: series step by step, and what their text loses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lvlora import numbers
from lvlora.report.document import Block, Document, Section, Table
from lvlora.text.answers import ScaleUsed, Tokenize, TokenizedSeries


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
    losses = Table(
        "",
        ["series", "steps", "tokens", "tokens a step", "largest error", "in half units"],
        [
            [
                one.id,
                one.steps,
                one.n_tokens,
                f"{one.tokens_per_step:.2f}",
                one.round_trip.max_error,
                f"{one.round_trip.max_error_half_units:.3f}",
            ]
            for one in answer.series
        ],
    )
    half_unit = 0.5 * 10.0**-answer.decimals
    in_units = dict.fromkeys(numbers.plain(half_unit * d, 3) for d in answer.scale.divisors)
    explanation = (
        "The error is that of text to numbers and back; half a unit of the last decimal is "
        f"{' or '.join(in_units)} in the data's units."
    )
    steps = [block for one in answer.series for block in _steps(one, answer.alphabet[";"])]
    return Document(
        f"{answer.source}: {', '.join(answer.variables)}; {answer.model.name}",
        [Section("Steps", steps), Section("Losses", [losses, explanation])],
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
            ids, tokens = _joined(one.ids[begin:end]), " ".join(one.tokens[begin:end])
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


def _joined(ids: Sequence[int]) -> str:
    return " ".join(map(str, ids))
