"""What a forecast costs, after it ran and at most before.

Knows: calls of a decoder, the updates in a model. Does not know: samples, files.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from lvlora.flops import coursework, executed
from lvlora.flops.budget import Price
from lvlora.flops.item import total
from lvlora.flops.shape import ModelShape
from lvlora.forecast.decoding import Call, Trace
from lvlora.forecast.drafting import WIDEST
from lvlora.model import lora
from lvlora.model.cache import in_blocks
from lvlora.model.loading import BaseModel
from lvlora.text.alphabet import SYMBOLS

_WIDTH = 2
"""Tokens that are computed in a row for each choice it may have to make, at most: one call without
drafts, and with drafts no more in all (`drafting.Allowance`)."""


def executed_flops(shape: ModelShape, module: nn.Module, calls: Iterable[Call]) -> int:
    """The matrix products of these calls, updates included as they are in the model."""
    updates = sum(
        layer.rank * (layer.base.in_features + layer.base.out_features)
        for _, layer in lora.lora_layers(module)
    )
    flops = 0
    for call in calls:
        flops += total(
            executed.forward_call(
                shape,
                call.rows,
                call.width,
                head_positions=call.head_rows,
                head_rows=len(SYMBOLS),
                attended=call.attended,
            )
        )
        flops += 2 * call.rows * call.width * updates
    return flops


def coursework_flops(
    shape: ModelShape,
    module: nn.Module,
    histories: Iterable[int],
    futures: Iterable[tuple[int, int]],
) -> int:
    """Prefill of each history, and one cached step for each further token.

    Args:
        histories: tokens of each history that was read.
        futures: (tokens of the history, tokens generated after it) of each future.
    """
    sizes = coursework.linear_layers(shape)
    ranks = [(name.rsplit(".", 1)[-1], layer.rank) for name, layer in lora.lora_layers(module)]

    def updates(tokens: int) -> int:
        return sum(coursework.lora_update(tokens, *sizes[name], rank) for name, rank in ranks)

    flops = 0
    for n in histories:
        flops += total(coursework.prefill(shape, 1, n)) + updates(n)
    for n, m in futures:
        flops += total(coursework.decode(shape, 1, n, m)) + updates(m)
    return flops


def price_of(base: BaseModel, trace: Trace) -> Price:
    """What a decoding cost, in both conventions."""
    return Price(
        executed_flops(base.shape, base.module, trace.calls),
        coursework_flops(base.shape, base.module, trace.histories, trace.futures),
    )


def at_most(
    base: BaseModel,
    *,
    n_prompts: int,
    n_futures: int,
    history_tokens: int,
    n_calls: int,
    n_tokens: int,
    max_rows: int,
) -> Price:
    """The most that a decoding can cost: every number as long as the grammar allows.

    Args:
        n_futures: of each prompt.
        history_tokens: of the longest history.
        n_calls, n_tokens: of each future.
        max_rows: that are decoded together.
    """
    rows = n_prompts * n_futures
    # a history is read again where its futures go on in the next group of rows
    n_reads = min(rows, n_prompts + -(-rows // max_rows) - 1)
    read = history_tokens + 1  # the start token
    capacity = in_blocks(read + n_tokens + WIDEST)
    reading = [Call(n_reads, read, read, n_reads)]
    step = [Call(rows, _WIDTH, capacity, _WIDTH * rows)]
    return Price(
        executed_flops(base.shape, base.module, reading)
        + n_calls * executed_flops(base.shape, base.module, step),
        n_reads * coursework_flops(base.shape, base.module, [read], [])
        + rows * coursework_flops(base.shape, base.module, [], [(read, n_tokens)]),
    )
