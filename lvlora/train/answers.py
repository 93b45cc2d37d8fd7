"""The answers about a run: train, what it would cost, and its report."""

from __future__ import annotations

from typing import Literal

from lvlora.answers import Answer, Estimate, Flops, Number, Shape


class Validation(Shape):
    """Errors on the validation part."""

    loss: Number
    mae: Number
    """Of forecasts, in original units; null where none can be made."""


class Gain(Shape):
    """How much smaller the MAE of the kept adapter is than that of the model before training."""

    mean: float
    low: Number
    high: Number
    """A 95 % interval of the mean (Student's, paired); null of one."""
    n: int
    of: Literal["series", "windows"]
    """What ``n`` counts: series that were not trained on, or windows in the last steps of series,
    which were not."""


class Train(Answer):
    """`lvlora train --json`: a run that made all the steps that it could."""

    run: str
    steps: int
    """That were made."""
    planned_steps: int
    """That its schedule was laid out for."""
    loss: Number
    """Of the last step."""
    zero_shot: Validation | None
    """Before training."""
    validation: Validation | None
    """Of the best adapter."""
    gain: Gain | None
    """Of the best adapter, by what it was chosen by; null where nothing was forecast."""
    best_step: int | None
    stopped_early: bool
    """By --patience."""
    stopped_by_limit: bool
    """By --max-flops; --resume with a larger one goes on."""
    flops: Flops
    validation_flops: Flops
    """What of ``flops`` went into validations."""
    flops_at_most: Flops
    """What the whole run was planned to cost."""
    validations: int
    """Planned, the one before the first step included."""
    seconds: float
    """In training steps."""
    tokens: int
    """Of training steps."""
    trainable_parameters: int
    adapter: str
    folder: str
    files: list[str]
    """Figures and the page."""


Result = Train
"""Its name for programs."""


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


class Report(Answer):
    """`lvlora report RUN --json`, of a run"""

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
    trainable_parameters: int | None
    """Null before an adapter was saved."""
    files: list[str]
    """Figures and the page."""
    opened: bool
