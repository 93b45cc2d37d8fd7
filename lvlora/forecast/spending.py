"""Forecasts are charged to the ledger: reserved before, settled after, whatever happens between.

Knows: the ledger and what a forecaster used. Does not know: what was forecast.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime

from lvlora.flops.budget import Price
from lvlora.flops.ledger import Ledger, Reservation
from lvlora.forecast.forecaster import Forecaster
from lvlora.settings.training import BudgetSettings


@contextlib.contextmanager
def charged(
    settings: BudgetSettings, forecaster: Forecaster, most: Price, *, command: str
) -> Iterator[Reservation]:
    """Reserve ``most``, and settle what ``forecaster.usage`` has grown by.

    Raises:
        BudgetError: a limit would be passed; nothing was spent.
    """
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    base, before = forecaster.base, forecaster.usage.price
    tokens = len(forecaster.usage.trace.futures)
    with Ledger.for_runs(settings.runs) as ledger:
        reservation = ledger.reserve(
            run=f"{stamp}-{command}-{uuid.uuid4().hex[:6]}", phase="forecast", command=command,
            executed=most.executed, coursework=most.coursework, model=base.name,
            model_hash=base.sha256, device=base.placement.device.type,
            dtype=str(base.placement.dtype).removeprefix("torch."),
            max_flops=settings.max_flops, budget=settings.budget, convention=settings.convention,
        )  # fmt: skip
        begin = time.perf_counter()
        try:
            yield reservation
        finally:
            spent = forecaster.usage.price - before
            done = forecaster.usage.trace.futures[tokens:]
            ledger.settle(
                reservation, executed=spent.executed, coursework=spent.coursework,
                seconds=time.perf_counter() - begin, tokens_useful=sum(m for _, m in done),
                tokens_padded=0,
            )  # fmt: skip
