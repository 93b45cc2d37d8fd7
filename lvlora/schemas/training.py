"""The answers about adapters: train, sweep, export, report.

Knows: keys, types, units. Does not know: training.
"""

from __future__ import annotations

from typing import Literal

from lvlora.schemas.base import Answer, Estimate, Flops, Number, Shape


class Validation(Shape):
    """Errors on the validation part."""

    loss: Number
    mae: Number
    """Of forecasts, in original units; null where none can be made."""


class _Run(Answer):
    run: str
    folder: str
    steps: int
    """That were made."""
    loss: Number
    """Of the last step."""
    zero_shot: Validation | None
    """Before training."""
    validation: Validation | None
    """Of the best adapter."""
    best_step: int | None
    flops: Flops
    seconds: float
    """In training steps."""
    tokens: int
    """Of training steps."""
    files: list[str]
    """Figures and the page."""


class Train(_Run):
    """`lvlora train --json`"""

    planned_steps: int
    stopped_early: bool
    """By --patience."""
    stopped_by_limit: bool
    """By --max-flops; --resume with a larger one goes on."""
    flops_at_most: Flops
    """What the whole run was planned to cost."""
    validation_flops: Flops
    """What of ``flops`` went into validations."""
    validations: int
    """Planned, the one before the first step included."""
    trainable_parameters: int
    adapter: str


class RunEstimate(Estimate):
    """The time and memory of a run, on this machine."""

    first_step_seconds: float
    step_seconds: float
    validation_seconds: float


class TrainPlan(Answer):
    """`lvlora train --dry-run --json`"""

    model: str
    steps: int
    validations: int
    """The one before the first step included."""
    tokens: int
    trainable_parameters: int
    flops_at_most: Flops
    share_of_limit: float | None
    """Of --max-flops, else of --budget; null without either."""
    estimate: RunEstimate | None
    """Null where several processes would make the run."""


class Report(_Run):
    """`lvlora report RUN --json`, of a run"""

    trainable_parameters: int | None
    """Null before an adapter was saved."""
    opened: bool


class Range(Shape):
    """A continuous dimension of a search."""

    low: float
    high: float
    log: bool
    step: float | None
    whole: bool


Space = dict[str, list[bool | int | float | str | None] | Range]
"""Setting → its values, or its range."""


class Stage(Shape):
    """Trials that are searched together."""

    stage: str
    trials: int
    space: Space
    steps: tuple[int, int]
    """[fewest, most] of a trial."""
    flops_at_most: Flops


class Plan(Shape):
    """What a sweep will do at most."""

    stages: list[Stage]
    trials: int
    flops_at_most: Flops
    convention: Literal["executed", "coursework"]
    validation_series: int
    """Scored in each validation of a trial, if there are as many."""
    validations: int | None
    """Of a trial at most, after the one before its first step; null: --validate-every says."""


class SweepPlan(Answer):
    """`lvlora sweep --dry-run --json`"""

    study: str
    plan: Plan
    estimate: Estimate


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
    """What the search has the least of."""
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
    flops: Flops
    limit: int | None
    """--max-flops."""
    convention: Literal["executed", "coursework"]
    plan: Plan
    table: list[Trial]
    command: str | None
    """That trains with the best settings."""
    files: list[str]
    seconds_left: Number
    """Of training, by one process."""


class Merge(Shape):
    """A merged model that was read back."""

    folder: str
    dtype: str
    family: str
    layers: int
    """That took an update."""
    untied: bool
    """The head is no longer one tensor with the embedding."""
    max_logit_difference: Number
    largest_logit: Number
    tokens: int
    """Places that were compared."""


class Folder(Shape):
    """Where it was written."""

    folder: str


class Export(Answer):
    """`lvlora export --json`"""

    adapter: str
    model: str
    merged: Merge | None
    peft: Folder | None
    bytes: dict[str, int]
    """Folder → size."""
