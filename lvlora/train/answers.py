"""The answers about a run: train, what it would cost, and its report."""

from __future__ import annotations

from lvlora.answers import Answer, Estimate, Flops, Number, Shape


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
