"""One priced operation of one phase, and sums of them. Knows nothing of models or conventions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

Phase = Literal["forward", "backward", "backward_input", "backward_weight", "prefill", "decode"]


@dataclass(frozen=True)
class Item:
    """Cost of one kind of operation in one phase, over all layers.

    Attributes:
        name: the operation: a linear layer's name, scores, softmax, lora.q_proj…
        phase: when it runs.
        flops: exact count.
    """

    name: str
    phase: Phase
    flops: int


def total(items: Iterable[Item], *phases: Phase) -> int:
    """Sum of the items' FLOPs, of these phases only if any are named."""
    return sum(item.flops for item in items if not phases or item.phase in phases)


def calls_in_a_row(call: Callable[[int], list[Item]], first: int, n_calls: int) -> list[Item]:
    """Sum calls that attend to ``first``, ``first + 1``, … positions.

    Every cost is linear in the positions attended to, so the sum needs two of the calls only.
    """
    if n_calls <= 0:
        return []
    second = {item.name: item.flops for item in call(first + 1)}
    further = n_calls * (n_calls - 1) // 2
    return [
        Item(
            item.name,
            item.phase,
            n_calls * item.flops + further * (second[item.name] - item.flops),
        )
        for item in call(first)
    ]
