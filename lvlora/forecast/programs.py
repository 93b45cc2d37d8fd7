"""`lvlora.charged`: what a program's forecasts cost is in the ledger."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from lvlora.errors import SettingsError
from lvlora.flops.budget import Price
from lvlora.forecast.forecaster import Forecaster
from lvlora.forecast.usage import reserved
from lvlora.settings.base import Convention
from lvlora.settings.checked import checked
from lvlora.settings.spoken import for_programs
from lvlora.settings.training import BudgetSettings


@contextlib.contextmanager
def charged(
    forecaster: Forecaster,
    at_most: Price,
    *,
    runs: str | Path = "runs",
    max_flops: int | None = None,
    budget: int | Literal["none"] | None = None,
    convention: Convention = "executed",
    command: str = "python",
) -> Iterator[None]:
    """Charge what a forecaster does inside the block to the ledger among the runs.

    Args:
        at_most: the most that it can be; ``forecaster.at_most(…)`` of the same arguments says it.
            It is reserved before, and what was really spent is settled after. A forecast inside the
            block that would cost more than is left of it is refused.
        max_flops: of this block; budget: of all runs together, "none" to lift it.
        command: what the ledger calls it.

    Blocks of one forecaster may stand in one another; each is charged what was done in it, outside
    of those inside it.

    Raises:
        BudgetError: a limit would be passed; nothing was spent.
    """
    if not isinstance(at_most, Price):
        raise SettingsError(
            f"at_most: should be a Price, got {at_most!r}",
            "forecaster.at_most(…) says how much it can be.",
        )
    limits = {"max_flops": max_flops, "budget": budget, "convention": convention, "runs": runs}
    with (
        for_programs(),
        reserved(checked(BudgetSettings, limits), forecaster, at_most, command=command),
    ):
        yield
