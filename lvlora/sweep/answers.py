"""The answers about a search: sweep, its status, and what it would cost."""

from __future__ import annotations

from typing import Any, Literal

from lvlora.answers import Answer, Estimate, Number, Price, Shape
from lvlora.settings.base import Convention
from lvlora.sweep.space import Dimension


class Stage(Shape):
    """Trials that are searched together."""

    stage: str
    trials: int
    space: dict[str, Dimension]
    """Setting → its values, or its range."""
    steps: tuple[int, int]
    """[fewest, most] of a trial."""
    flops_at_most: Price


class PlanSummary(Shape):
    """Stages, trials and FLOPs of a sweep before it begins."""

    stages: list[Stage]
    trials: int
    flops_at_most: Price
    convention: Convention
    validation_series: int
    """Scored in each validation of a trial, if there are as many."""
    validations: int | None
    """Upper bound for a trial, beside the one before its first step; null: by --validate-every."""


class SweepPlan(Answer):
    """`lvlora sweep --dry-run --json`"""

    study: str
    plan: PlanSummary
    estimate: Estimate | None
    """Null where there are no weights to measure with."""


class TrialCounts(Shape):
    """Trials by state."""

    planned: int
    complete: int
    pruned: int
    failed: int
    running: int
    waiting: int


Params = dict[str, bool | int | float | str | None]


class Best(Shape):
    """The best trial."""

    params: Params
    value: Number
    """The minimum of the search."""
    trial: int
    mae: Number
    loss: Number
    folder: str


class Trial(Shape):
    """One training."""

    trial: int
    stage: str
    params: Params
    value: Number
    mae: Number
    loss: Number
    steps: int | None
    flops: int | None
    """In the convention of the study."""
    seconds: Number
    state: Literal["complete", "pruned", "failed", "running", "waiting"]
    front: bool
    """No other trial beats it in both error and FLOPs."""
    reason: str | None
    """Why it failed."""
    folder: str


class Sweep(Answer):
    """`lvlora sweep --json` and `lvlora sweep --status --json`"""

    study: str
    finished: bool
    trials: TrialCounts
    best: Best | None
    front: list[int]
    importances: dict[str, float]
    """Setting → share of the differences that come from it."""
    flops: Price
    limit: int | None
    """--max-flops."""
    convention: Convention
    plan: PlanSummary
    table: list[Trial]
    command: str | None
    """Command line that trains with the best settings."""
    files: list[str]
    seconds_left: Number
    """Remaining time of training, by one process."""
    settings: dict[str, Any]
    """Settings that all trials share."""
    stopped_by: str | None
    """The limit that the next trial would pass, if that ended the search; the same call with a
    larger limit goes on."""
