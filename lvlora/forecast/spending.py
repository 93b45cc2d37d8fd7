"""Forecasts are charged to the ledger: reserved before, settled after, whatever happens between.

Knows: the ledger and what a forecaster used. Does not know: what was forecast.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime

from lvlora import durable
from lvlora.flops.budget import Price
from lvlora.flops.ledger import Ledger
from lvlora.flops.reservation import Reservation
from lvlora.forecast.forecaster import Forecaster
from lvlora.forecast.usage import Bill
from lvlora.settings.training import BudgetSettings


@contextlib.contextmanager
def charged(
    settings: BudgetSettings, forecaster: Forecaster, most: Price, *, command: str
) -> Iterator[Reservation]:
    """Reserve ``most`` for what a forecaster does inside the block, and settle what it spent.

    Inside, work that would pass ``most`` is refused before it begins. Of blocks in one another
    each is charged what was done in it alone.

    Raises:
        BudgetError: a limit would be passed; nothing was spent.
    """
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    base, bill = forecaster.base, Bill(most)
    with Ledger.for_runs(settings.runs) as ledger:
        reservation = ledger.reserve(
            run=f"{stamp}-{command}-{uuid.uuid4().hex[:6]}",
            phase="forecast",
            command=command,
            executed=most.executed,
            coursework=most.coursework,
            settings_hash=durable.sha256_of_json(
                settings.deciding("result", "data", "model", "placement")
            ),
            model=base.name,
            model_hash=base.sha256,
            device=base.placement.device.type,
            dtype=str(base.placement.dtype).removeprefix("torch."),
            max_flops=settings.max_flops,
            budget=settings.budget,
            convention=settings.convention,
        )
        begin = time.perf_counter()
        try:
            with forecaster.usage.paid_by(bill):
                yield reservation
        finally:
            trace = bill.trace
            useful = sum(trace.histories) + sum(written for _, written in trace.futures)
            computed = sum(call.rows * call.width for call in trace.calls)
            ledger.settle(
                reservation,
                executed=bill.spent.executed,
                coursework=bill.spent.coursework,
                seconds=time.perf_counter() - begin,
                tokens_useful=useful,
                tokens_padded=max(0, computed - useful),
            )
