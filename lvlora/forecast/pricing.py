"""Price of a forecast: exact after it ran, a bound before."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import nn

from lvlora.answers import Price
from lvlora.flops import coursework, executed
from lvlora.flops.item import total
from lvlora.flops.shape import ModelShape
from lvlora.flops.trainable import Lora
from lvlora.forecast.trace import Call, PackedCall, Trace
from lvlora.model import lora
from lvlora.model.cache import in_blocks
from lvlora.model.native.engine import in_pages

Updates = Sequence[tuple[int, str, int]]
"""(layer, name of the linear layer, rank) of each low-rank update in a model."""


def updates_in(module: nn.Module) -> Updates:
    """Those of a loaded model, whatever its adapter's patterns gave each layer."""
    return [
        (lora.layer_of(name), name.rsplit(".", 1)[-1], layer.rank)
        for name, layer in lora.lora_layers(module)
    ]


def updates_of(trained: Lora, shape: ModelShape) -> Updates:
    """Those that a model of this shape would have."""
    return [
        (layer, name, trained.rank)
        for layer in range(shape.layers)
        for name in shape.linear_layers()
        if trained.on(name, layer)
    ]


def executed_flops(shape: ModelShape, updates: Updates, calls: Iterable[Call | PackedCall]) -> int:
    """The matrix products of these calls, updates included."""
    sizes = shape.linear_layers()
    updated = skipped = 0
    for layer, name, rank in updates:
        of_a_token = rank * sum(sizes[name])
        updated += of_a_token
        if layer == shape.layers - 1 and name not in executed.KEPT_LINEARS:
            skipped += of_a_token  # by tokens whose logits are not wanted
    flops = 0
    for call in calls:
        if isinstance(call, PackedCall):
            items = executed.packed_call(
                shape,
                call.tokens,
                call.wanted,
                pairs=call.pairs,
                last_pairs=call.last_pairs,
                head_rows=shape.alphabet_rows,
            )
            flops -= 2 * (call.tokens - call.wanted) * skipped
        else:
            items = executed.forward_call(
                shape,
                call.rows,
                call.width,
                head_positions=call.head_rows,
                head_rows=shape.alphabet_rows,
                attended=call.attended,
            )
        flops += total(items) + 2 * call.tokens * updated
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
        return sum(coursework.lora_update(tokens, *sizes[name], rank) for _, name, rank in updates)

    flops = 0
    for n in histories:
        flops += total(coursework.prefill(shape, 1, n)) + updated(n)
    for n, m in futures:
        flops += total(coursework.decode(shape, 1, n, m)) + updated(m)
    return flops


def price_of(shape: ModelShape, updates: Updates, trace: Trace) -> Price:
    """Return the price of a decoding, in both conventions."""
    return Price(
        executed_flops(shape, updates, trace.calls),
        coursework_flops(shape, updates, trace.histories, trace.futures),
    )


def most_attended(read: int, further: int) -> int:
    """Positions that a token is multiplied with at most, after a history and what follows it.

    PyTorch multiplies whole blocks of the two together, the native decoder whole pages of each.
    """
    return max(in_blocks(read + further), in_pages(read) + in_pages(further))


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
    capacity = most_attended(read, n_tokens + widest)
    reading = [Call(n_reads, read, in_pages(read), n_reads)]
    step = [Call(rows, widest, capacity, widest * rows)]
    return Price(
        executed_flops(shape, updates, reading) + n_calls * executed_flops(shape, updates, step),
        n_reads * coursework_flops(shape, updates, [read], [])
        + rows * coursework_flops(shape, updates, [], [(read, n_tokens)]),
    )
