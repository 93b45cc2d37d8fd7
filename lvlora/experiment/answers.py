"""The answers about an experiment: its results, and what it would cost."""

from __future__ import annotations

from typing import Literal

from lvlora.answers import Answer, Number, Price, Shape
from lvlora.experiment.settings import Command
from lvlora.settings.base import Convention


class PlannedStage(Shape):
    """A stage before it is made."""

    name: str
    command: Command
    what: str
    """In words: steps, trials, series."""
    done: bool
    flops_at_most: Price
    seconds: Number
    """Time of models on this machine, at the rate of ``ExperimentPlan.pace``; 0 once done."""


class ExperimentPlan(Answer):
    """`lvlora experiment --dry-run --json`"""

    folder: str
    model: str
    stages: list[PlannedStage]
    flops_at_most: Price
    """All stages, those that are done included."""
    charged: Price
    """By the ledger of the folder until now."""
    budget: int | None
    convention: Convention
    share_of_budget: float | None
    """Charged FLOPs and the price bound of the rest, over the budget."""
    seconds: Number
    """Time of the stages that are not done."""
    pace: Literal["ledger", "products"]
    """The rate behind ``seconds``: that of the last such work in the ledger, or that of matrix
    products on this machine, which no stage exceeds."""


class Result(Shape):
    """The result of a stage."""

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
    flops_at_most: Price
    """As planned."""
    flops: Price
    """The sum of its entries in the ledger, what was lost in interruptions included."""
    share_of_budget: float | None
    seconds: float
    """Time of all processes that worked on it and were not killed."""
    found: Result


class Experiment(Answer):
    """`lvlora experiment --json`"""

    folder: str
    scale: str | None
    stages: list[StageResult]
    others: Price
    """Charged by the ledger of the folder to no stage here: other commands, unfinished stages."""
    flops: Price
    """All that the ledger of the folder charges: the stages and ``others``."""
    budget: int | None
    convention: Convention
    left: int | None
    """Rest of the budget."""
    files: list[str]
