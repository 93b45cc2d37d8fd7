"""What FLOPs buy: prices in both conventions, and how many steps fit into a limit."""

from __future__ import annotations

from dataclasses import dataclass, field

from lvlora.answers import Flops
from lvlora.errors import BudgetError
from lvlora.settings.base import Convention

CONVENTIONS = ("executed", "coursework")


@dataclass(frozen=True)
class Price:
    """What some work costs, in both conventions; prices add, and multiply with whole numbers."""

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
        """The larger of the two, convention by convention."""
        return Price(max(self.executed, other.executed), max(self.coursework, other.coursework))

    def __and__(self, other: Price) -> Price:
        """The smaller of the two, convention by convention."""
        return Price(min(self.executed, other.executed), min(self.coursework, other.coursework))

    def of(self, convention: str) -> int:
        """The count in ``executed`` or ``coursework``."""
        return self.to_dict()[convention]

    def to_dict(self) -> dict[str, int]:
        """For JSON: both counts by their convention."""
        return {"executed": self.executed, "coursework": self.coursework}

    def as_answer(self) -> Flops:
        """The same as part of an answer."""
        return Flops(executed=self.executed, coursework=self.coursework)


NOTHING = Price()


@dataclass(frozen=True)
class Budget:
    """FLOPs that all runs of a project may spend together, and how they are counted.

    Attributes:
        set_at: when it was set, UTC in ISO 8601; set_by: the command. Empty where it has not been
            recorded yet, or nobody wrote that down.
    """

    flops: int
    convention: Convention
    set_at: str = field(default="", compare=False)
    set_by: str = field(default="", compare=False)

    @property
    def origin(self) -> str:
        """Where it comes from, to go on after the number."""
        if not self.set_at:
            return "by --budget"
        by = f" by lvlora {self.set_by}" if self.set_by else ""
        return f"set{by} on {self.set_at[:16].replace('T', ' at ')} UTC"


def steps_that_fit(limit: int, fixed: int, per_step: int) -> int:
    """The most steps n with ``fixed + n * per_step <= limit``.

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
