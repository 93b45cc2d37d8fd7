"""The documents of `lvlora tokenize`: a text, or series step by step, and what their text loses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lvlora import numbers
from lvlora.report.document import Block, Document, Section, Table
from lvlora.text.answers import Merged, ScaleUsed, Tokenize, TokenizedSeries, TokenizeText


def text_document(answer: TokenizeText) -> Document:
    """The tokens of a text."""
    ids = answer.ids
    rows = list(zip(map(repr, answer.tokens), ids, strict=True))
    title = f"{answer.model.name}: {answer.text} is {len(ids):,} tokens: {_joined(ids)}"
    return Document(title, [Section("Tokens", [Table("", ["token", "id"], rows)])])


def series_document(answer: Tokenize) -> Document:
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


def notes(answer: TokenizeText | Tokenize) -> list[str]:
    """Sentences on symbols outside the alphabet, and on tokens that the tokenizer would merge."""
    sentences = []
    if isinstance(answer, TokenizeText):
        strange = sorted(set(answer.text) - set(answer.alphabet))
        if strange:
            sentences.append(
                f"Not in lvlora's alphabet {''.join(answer.alphabet)}: "
                f"{' '.join(map(repr, strange[:5]))}. These are the tokenizer's own tokens."
            )
    texts = [answer] if isinstance(answer, TokenizeText) else answer.series
    merging = next((one.own_merging for one in texts if one.own_merging is not None), None)
    if merging is not None:
        sentences.append(_difference(merging, answer.merged_tokens))
    return sentences


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


def _difference(difference: Merged, merged_tokens: int) -> str:
    examples = dict.fromkeys([repr(token) for token in difference.tokens if len(token) > 1][:5])
    shown = f", such as {', '.join(examples)}" if examples else ""
    rule = (
        "takes the longest token from the left, of those that keep to one number, so that each "
        "text is written in one way."
        if merged_tokens
        else "looks each symbol up alone, so that a sign or a missing value never hides in a "
        "merged token."
    )
    return f"By itself the tokenizer would write this text with other tokens{shown}; lvlora {rule}"


def _joined(ids: Sequence[int]) -> str:
    return " ".join(map(str, ids))
