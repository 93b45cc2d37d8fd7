"""One priced operation of one phase, and sums of them. Knows nothing of models or conventions."""

from __future__ import annotations

from collections.abc import Iterable
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
