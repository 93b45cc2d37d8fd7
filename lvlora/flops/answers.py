"""The answers about cost, every form of `lvlora flops --json`, and the priced items in them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from lvlora.answers import Answer, Count, Price, Shape
from lvlora.settings.base import Convention

Phase = Literal["forward", "backward", "backward_input", "backward_weight"]


@dataclass(frozen=True)
class Item:
    """Cost of one kind of operation in one phase, over all layers."""

    name: str
    """The operation: a linear layer's name, scores, softmax, lora.q_proj…"""
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
    further = n_calls * (n_calls - 1) // 2
    return [
        Item(one.name, one.phase, n_calls * one.flops + further * (two.flops - one.flops))
        for one, two in zip(call(first), call(first + 1), strict=True)
    ]


class StepOnly(Shape):
    """A training step."""

    training_step: int


class Step(StepOnly):
    """A training step and its halves."""

    forward: int
    backward: int


class Costs(StepOnly):
    """A training step and a forecast, in one convention."""

    forward: int
    prefill: int
    """Reading the history of a forecast."""
    decode: int
    """Writing the forecast, token by token."""


class Rules(Costs):
    """In the coursework's convention."""

    items: list[Item]


class Executed(Rules):
    """As it is run."""

    backward: int


class FullFineTuning(Shape):
    """The same step with all weights trained."""

    trainable_parameters: int
    coursework: StepOnly
    executed: Step


class Fits(Shape):
    """Steps, or forecasts, that all of a budget buys."""

    budget: int
    convention: Convention
    steps: int
    tokens: int
    """All that these steps read."""
    forecasts: int
    share_of_a_step: float


class FlopsAccount(Answer):
    """`lvlora flops --json`"""

    model: str
    trainable_parameters: int
    coursework: Rules
    executed: Executed
    full_fine_tuning: FullFineTuning
    fits: Fits | None = None
    """With --budget only."""


class Variant(Shape):
    """The account for one value of the setting that varies."""

    setting: str
    value: str
    trainable_parameters: int
    coursework: Costs
    executed: Costs
    fits: Fits | None


class FlopsVary(Answer):
    """`lvlora flops --vary NAME=V,V --json`"""

    model: str
    vary: list[Variant]


class Measurement(Shape):
    """A formula beside what PyTorch's counter saw."""

    name: str
    analytic: int
    measured: int
    difference: int


class FlopsMeasure(Answer):
    """`lvlora flops --measure --json`"""

    model: str
    equal: bool
    measurements: list[Measurement]


class FlopsArchitecture(Answer):
    """`lvlora flops --architecture --json`"""

    model: str
    architecture: dict[str, str]
    """Tables for people: property → value."""
    layer: dict[str, str]
    vocabulary: dict[str, str]
    parameters: dict[str, int]
    """By part, and in total."""


Status = Literal["open", "settled", "closed"]
"""Promised (running or killed), done, or killed and then settled."""


class LedgerRow(Shape):
    """Cost of one run in one phase."""

    run: str
    command: str
    phase: str
    model: str
    executed: Count
    """Charged: all that is promised while it runs, then what was spent."""
    coursework: Count
    share_of_budget: float | None
    seconds: float = Field(ge=0)
    tokens_useful: Count
    tokens_padded: Count
    device: str
    dtype: str
    status: Status
    recorded_at: str
    """UTC, ISO 8601."""


class FlopsLedger(Answer):
    """`lvlora flops --ledger --json`"""

    runs: list[LedgerRow]
    total: Price
    """Charged: ``settled`` and ``open`` together."""
    settled: Price
    """Spent by what is done."""
    open: Price
    """Promised to what runs or was killed, charged in full until it is settled."""
    planned: Price
    """The most that all of it could have been."""
    budget: int | None
    convention: Convention
    """The one of the budget."""
    left: int | None
    """Remainder of the budget; negative where more was spent before it was set."""
    budget_set_at: str | None = None
    """UTC, ISO 8601."""
    budget_set_by: str | None = None
    """The command that set the budget."""
