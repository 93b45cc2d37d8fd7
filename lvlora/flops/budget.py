"""Prices in both conventions, the budget of a project, and how many steps fit into a limit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from lvlora.answers import Flops
from lvlora.errors import BudgetError, SettingsError
from lvlora.settings.base import Convention

CONVENTIONS = ("executed", "coursework")


@dataclass(frozen=True)
class Price:
    """FLOPs of some work in both conventions; prices add, and multiply with whole numbers."""

    executed: int = 0
    coursework: int = 0

    def __add__(self, other: Price) -> Price:
        return Price(self.executed + other.executed, self.coursework + other.coursework)

    def __radd__(self, other: int) -> Price:
        # so that sum(prices) works
        return self if other == 0 else NotImplemented

    def __sub__(self, other: Price) -> Price:
        return Price(self.executed - other.executed, self.coursework - other.coursework)

    def __mul__(self, times: int) -> Price:
        return Price(self.executed * times, self.coursework * times)

    __rmul__ = __mul__

    def __or__(self, other: Price) -> Price:
        """Return the larger of the two, convention by convention."""
        return Price(max(self.executed, other.executed), max(self.coursework, other.coursework))

    def __and__(self, other: Price) -> Price:
        """Return the smaller of the two, convention by convention."""
        return Price(min(self.executed, other.executed), min(self.coursework, other.coursework))

    def of(self, convention: str) -> int:
        """Return the count in ``executed`` or ``coursework``."""
        return self.to_dict()[convention]

    def to_dict(self) -> dict[str, int]:
        """Return both counts by their convention, for JSON."""
        return {"executed": self.executed, "coursework": self.coursework}

    def as_answer(self) -> Flops:
        """Return the same as part of an answer."""
        return Flops(executed=self.executed, coursework=self.coursework)


NOTHING = Price()

BudgetChange = int | Literal["none"] | None
"""A new budget in FLOPs, its removal, or no change."""


@dataclass(frozen=True)
class Budget:
    """FLOPs that all runs of a project may spend together, and how they are counted.

    Attributes:
        set_at: when it was set, UTC in ISO 8601; set_by: the command. Empty until it is recorded.

    Raises:
        SettingsError: not a positive number of FLOPs, or an unknown convention.
    """

    flops: int
    convention: Convention
    set_at: str = field(default="", compare=False)
    set_by: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if self.flops <= 0 or self.convention not in CONVENTIONS:
            raise SettingsError(
                f"a budget of {self.flops} FLOPs ({self.convention}) is not possible",
                "A budget is a whole number of FLOPs above 0, executed or coursework.",
            )

    @classmethod
    def after(cls, change: BudgetChange, convention: Convention) -> Budget | None:
        """Return the budget that a change sets; None where it sets none."""
        return None if change is None or change == "none" else cls(change, convention)

    @property
    def origin(self) -> str:
        """Say by whom and when it was set, to follow the number in a message."""
        if not self.set_at:
            return "by --budget"
        by = f" by lvlora {self.set_by}" if self.set_by else ""
        return f"set{by} on {self.set_at[:16].replace('T', ' at ')} UTC"


def steps_that_fit(limit: int, fixed: int, per_step: int) -> int:
    """Return the most steps n with ``fixed + n * per_step <= limit``.

    Args:
        limit: FLOPs that may be spent.
        fixed: FLOPs spent whatever the number of steps (validation, say).
        per_step: FLOPs of a step.

    Raises:
        BudgetError: not even the fixed part fits.
    """
    if per_step <= 0:
        raise ValueError(f"a step that costs {per_step} FLOPs has no limit")
    if fixed > limit:
        raise BudgetError(
            f"{fixed:,} FLOPs are needed before the first step, {limit:,} may be spent",
            "Raise the limit, or do less beside training (--no-validation).",
        )
    return (limit - fixed) // per_step
