"""The answers about a search: sweep, its status, and what it would cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import PrivateAttr

from lvlora.answers import Answer, Estimate, Flops, Number, Shape

if TYPE_CHECKING:
    from lvlora.errors import BudgetError
    from lvlora.settings.training import SweepSettings


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


class PlanSummary(Shape):
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
    plan: PlanSummary
    table: list[Trial]
    command: str | None
    """That trains with the best settings."""
    files: list[str]
    seconds_left: Number
    """Of training, by one process."""

    _settings: Any = PrivateAttr(None)
    _refusal: Any = PrivateAttr(None)

    @property
    def settings(self) -> SweepSettings:
        """What the study was made with; not in the JSON."""
        settings: SweepSettings = self._settings
        return settings

    @property
    def refusal(self) -> BudgetError | None:
        """Which limit the next trial would pass, if that is why the search ended; not in the JSON.

        What was found until then is whole; the same call with a larger limit goes on.
        """
        refusal: BudgetError | None = self._refusal
        return refusal

    def of(self, settings: SweepSettings, refusal: BudgetError | None = None) -> Self:
        """The same, which says whose it is, and why there is no more of it."""
        same = self.model_copy()
        same._settings, same._refusal = settings, refusal
        return same
