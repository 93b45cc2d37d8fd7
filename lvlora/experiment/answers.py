"""The answers about an experiment: what it found, and what it would cost."""

from __future__ import annotations

from typing import Literal

from lvlora.answers import Answer, Estimate, Flops, Number, Shape

Command = Literal["train", "sweep", "evaluate"]
Convention = Literal["executed", "coursework"]


class PlannedStage(Shape):
    """A stage before it is made."""

    name: str
    command: Command
    what: str
    """In words: steps, trials, series."""
    done: bool
    flops_at_most: Flops
    seconds: Number
    """On this machine; null where it was not measured, 0 where it is done."""


class ExperimentPlan(Answer):
    """`lvlora experiment --dry-run --json`"""

    folder: str
    model: str
    stages: list[PlannedStage]
    flops_at_most: Flops
    """Of all stages, those that are done included."""
    charged: Flops
    """That the ledger of the folder charges already."""
    budget: int | None
    convention: Convention
    share_of_budget: float | None
    """What was charged and the most that is still to come."""
    estimate: Estimate | None
    """Of what is still to come; null where it could not be measured."""


class Found(Shape):
    """What a stage found, for a table."""

    folder: str
    mae_before: Number = None
    """On the validation series, before training."""
    mae: Number = None
    """After training, of the best adapter."""
    loss_before: Number = None
    loss: Number = None
    steps: int | None = None
    adapter: str | None = None
    """The folder that later stages take it from."""
    forecasters: dict[str, Number] | None = None
    """Name → MAE, of an evaluation."""


class StageResult(Shape):
    """A stage that was made."""

    name: str
    command: Command
    flops_at_most: Flops
    """As planned."""
    flops: Flops
    """Charged, what interrupted processes had begun included."""
    share_of_budget: float | None
    seconds: float
    """Of all processes that worked on it and were not killed."""
    found: Found


class Experiment(Answer):
    """`lvlora experiment --json`"""

    folder: str
    scale: str | None
    stages: list[StageResult]
    flops: Flops
    """All that the ledger of the folder charges."""
    budget: int | None
    convention: Convention
    left: int | None
    """Of the budget."""
    files: list[str]
