"""What a forecast costs, after it ran and at most before."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import nn

from lvlora.flops import coursework, executed
from lvlora.flops.budget import Price
from lvlora.flops.item import total
from lvlora.flops.shape import ModelShape
from lvlora.flops.trainable import Lora
from lvlora.forecast.decoding import Call, Trace
from lvlora.model import lora
from lvlora.model.cache import in_blocks

Updates = Sequence[tuple[str, int]]
"""(name of the linear layer, rank) of each low-rank update in a model, over all its layers."""


def updates_in(module: nn.Module) -> Updates:
    """Those of a loaded model, whatever its adapter's patterns gave each layer."""
    return [(name.rsplit(".", 1)[-1], layer.rank) for name, layer in lora.lora_layers(module)]


def updates_of(trained: Lora, shape: ModelShape) -> Updates:
    """Those that a model of this shape would have."""
    return [
        (name, trained.rank)
        for layer in range(shape.layers)
        for name in shape.linear_layers()
        if trained.on(name, layer)
    ]


def executed_flops(shape: ModelShape, updates: Updates, calls: Iterable[Call]) -> int:
    """The matrix products of these calls, updates included."""
    sizes = shape.linear_layers()
    updated = sum(rank * sum(sizes[name]) for name, rank in updates)
    flops = 0
    for call in calls:
        flops += total(
            executed.forward_call(
                shape,
                call.rows,
                call.width,
                head_positions=call.head_rows,
                head_rows=shape.alphabet_rows,
                attended=call.attended,
            )
        )
        flops += 2 * call.rows * call.width * updated
    return flops


def coursework_flops(
    shape: ModelShape,
    updates: Updates,
    histories: Iterable[int],
    futures: Iterable[tuple[int, int]],
) -> int:
    """Prefill of each history, and one cached step for each further token.

    Args:
        histories: tokens of each history that was read.
        futures: (tokens of the history, tokens generated after it) of each future.
    """
    sizes = coursework.linear_layers(shape)

    def updated(tokens: int) -> int:
        return sum(coursework.lora_update(tokens, *sizes[name], rank) for name, rank in updates)

    flops = 0
    for n in histories:
        flops += total(coursework.prefill(shape, 1, n)) + updated(n)
    for n, m in futures:
        flops += total(coursework.decode(shape, 1, n, m)) + updated(m)
    return flops


def price_of(shape: ModelShape, updates: Updates, trace: Trace) -> Price:
    """What a decoding cost, in both conventions."""
    return Price(
        executed_flops(shape, updates, trace.calls),
        coursework_flops(shape, updates, trace.histories, trace.futures),
    )


def at_most(
    shape: ModelShape,
    updates: Updates,
    *,
    n_prompts: int,
    n_futures: int,
    history_tokens: int,
    n_calls: int,
    n_tokens: int,
    widest: int,
    max_rows: int,
) -> Price:
    """The most that a decoding can cost: every number as long as the grammar allows.

    Args:
        n_futures: of each prompt.
        history_tokens: of the longest history.
        n_calls, n_tokens: of each future.
        widest: tokens of a future in one call.
        max_rows: that are decoded together.
    """
    rows = n_prompts * n_futures
    # a history is read again where its futures go on in the next group of rows
    n_reads = min(rows, n_prompts + -(-rows // max_rows) - 1)
    read = history_tokens + 1  # the start token
    capacity = in_blocks(read + n_tokens + widest)
    reading = [Call(n_reads, read, read, n_reads)]
    step = [Call(rows, widest, capacity, widest * rows)]
    return Price(
        executed_flops(shape, updates, reading) + n_calls * executed_flops(shape, updates, step),
        n_reads * coursework_flops(shape, updates, [read], [])
        + rows * coursework_flops(shape, updates, [], [(read, n_tokens)]),
    )
