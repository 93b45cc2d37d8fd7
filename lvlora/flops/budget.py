"""The budget of a project."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from lvlora.errors import SettingsError
from lvlora.settings.base import Convention

CONVENTIONS = ("executed", "coursework")


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
