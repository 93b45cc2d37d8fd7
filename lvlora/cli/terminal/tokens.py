"""Texts and series as tokens, and what the text loses, as tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lvlora import numbers
from lvlora.cli.terminal.output import Output, printable

if TYPE_CHECKING:
    from lvlora.text.answers import Merged, ScaleUsed, Tokenize, TokenizedSeries, TokenizeText


def show_text(answer: TokenizeText, output: Output) -> None:
    """The tokens of a text."""
    ids = answer.ids
    output.line(
        f"{answer.model.name}: {printable(answer.text)} is {len(ids):,} tokens: {_joined(ids)}"
    )
    output.line()
    output.table(["token", "id"], list(zip(map(repr, answer.tokens), ids, strict=True)))


def say_strange(answer: TokenizeText, output: Output) -> None:
    """A note where a text has symbols that are not the alphabet's."""
    strange = sorted(set(answer.text) - set(answer.alphabet))
    if strange:
        output.note(
            f"Not in lvlora's alphabet {''.join(answer.alphabet)}: "
            f"{' '.join(map(repr, strange[:5]))}. These are the tokenizer's own tokens."
        )


def show_series(answer: Tokenize, output: Output) -> None:
    """Series step by step, and what their texts lose."""
    names = printable(", ".join(answer.variables))
    output.line(f"{printable(answer.source)}: {names}; {answer.model.name}")
    bare = "" if answer.number_format == "point" else ", their point left out"
    output.line(
        f"Numbers are {_said(answer.scale, answer.variables)} with {answer.decimals} "
        f"decimals{bare} ({answer.scale.explanation})."
    )
    if answer.merged_tokens:
        output.line(
            f"Besides the {len(answer.alphabet)} symbols {answer.merged_tokens:,} tokens of "
            "several are used: from the left, the longest first."
        )
    output.line()
    for one in answer.series:
        _show_steps(one, answer.alphabet[";"], output)
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


def _show_steps(one: TokenizedSeries, separator: int, output: Output) -> None:
    """The first steps of a series, a line a step: text, ids, tokens.

    Args:
        separator: the id of ; alone.
    """
    more = one.steps > one.steps_shown
    cut = f", the first {one.steps_shown:,} of {one.steps:,} steps" if more else ""
    output.line(f"Series {printable(one.id)}{cut}: {one.text}")
    output.line()
    rows: list[list[object]] = []
    begin, steps = 0, iter(_steps(one.text))
    for end, (i, token) in enumerate(zip(one.ids, one.tokens, strict=True), 1):
        if i == separator or token.endswith(";"):  # it may end a longer token
            of_step = slice(begin, end)
            begin = end
            ids, tokens = _joined(one.ids[of_step]), " ".join(one.tokens[of_step])
            rows.append([len(rows) + 1, next(steps), ids, tokens])
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


def say_difference(difference: Merged | None, merged_tokens: int, output: Output) -> None:
    """A note where the tokenizer itself would write a text with other tokens.

    Args:
        merged_tokens: that lvlora uses.
    """
    if difference is None:
        return
    merged = [repr(token) for token in difference.tokens if len(token) > 1]
    shown = ", ".join(dict.fromkeys(merged[:5]))
    output.note(
        "By itself the tokenizer would write this text with other tokens"
        f"{f', such as {shown}' if shown else ''}; lvlora "
        + (
            "takes the longest token from the left, of those that keep to one number, so that each "
            "text is written in one way."
            if merged_tokens
            else "looks each symbol up alone, so that a sign or a missing value never hides in a "
            "merged token."
        )
    )


def _joined(ids: Sequence[int]) -> str:
    return " ".join(map(str, ids))
