"""What a forecast costs, after it ran and at most before.

Knows: calls of a decoder, the updates in a model. Does not know: samples, files.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from torch import nn

from lvlora.flops import coursework, executed
from lvlora.flops.budget import NOTHING, Price
from lvlora.flops.item import total
from lvlora.flops.shape import ModelShape
from lvlora.forecast.decoding import Call, Trace
from lvlora.model import lora
from lvlora.model.cache import BLOCK
from lvlora.text.alphabet import SYMBOLS

if TYPE_CHECKING:
    from lvlora.forecast.forecaster import Forecaster


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


def price_of(forecaster: Forecaster, trace: Trace) -> Price:
    """What a decoding cost, in both conventions."""
    base = forecaster.base
    return Price(
        executed_flops(base.shape, base.module, trace.calls),
        coursework_flops(base.shape, base.module, trace.histories, trace.futures),
    )


def most(
    forecaster: Forecaster, *, n_series: int, n_futures: int, history_tokens: int, horizon: int,
    tokens_per_number: int, n_variables: int,
) -> Price:  # fmt: skip
    """The most that a forecast can cost: every number as long as the grammar allows.

    Args:
        history_tokens: of the longest history.
        tokens_per_number: longest number with its separator.
    """
    if n_series == 0:
        return NOTHING
    base = forecaster.base
    tokens = horizon * n_variables * tokens_per_number
    rows = n_series * n_futures
    capacity = -(-(history_tokens + tokens + 2) // BLOCK) * BLOCK
    calls = [Call(n_series, history_tokens + 1, history_tokens + 1, n_series)]
    calls += [Call(rows, 2, capacity, 2 * rows)] * tokens
    one = executed_flops(base.shape, base.module, calls[1:2])
    return Price(
        executed_flops(base.shape, base.module, calls[:1]) + tokens * one,
        coursework_flops(
            base.shape, base.module, [history_tokens + 1] * n_series,
            [(history_tokens + 1, tokens)] * rows,
        ),
    )  # fmt: skip
