"""The ledger's table: what every run cost, its share of the budget, its use of the machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lvlora.flops.answers import FlopsLedger, LedgerRow
from lvlora.flops.budget import NOTHING, Budget
from lvlora.flops.rows import Row
from lvlora.settings.base import Convention


def table_of(
    rows: Iterable[Row],
    budget: Budget | None,
    peaks: Mapping[tuple[str, str], float],
) -> FlopsLedger:
    """What every run cost, and the sums.

    Args:
        rows: entries of the ledger.
        budget: of all runs together.
        peaks: measured matrix-product peaks in FLOP/s by (device, dtype).
    """
    rows = list(rows)
    total = sum((row.charged for row in rows), NOTHING)
    planned = sum((row.reserved | row.spent for row in rows), NOTHING)
    unsettled = sum((row.charged for row in rows if row.status == "open"), NOTHING)
    limit = None if budget is None else budget.flops
    convention: Convention = "executed" if budget is None else budget.convention
    return FlopsLedger(
        runs=[
            LedgerRow(
                run=row.run,
                command=row.command,
                phase=row.phase,
                model=row.model,
                executed=row.charged.executed,
                coursework=row.charged.coursework,
                share_of_budget=None if limit is None else row.charged.of(convention) / limit,
                seconds=row.seconds,
                tokens_useful=row.tokens_useful,
                tokens_padded=row.tokens_padded,
                device=row.device,
                dtype=row.dtype,
                status=row.status,
                utilisation=_utilisation(row, peaks),
                recorded_at=row.updated_at,
            )
            for row in rows
        ],
        total=total.as_answer(),
        settled=(total - unsettled).as_answer(),
        open=unsettled.as_answer(),
        planned=planned.as_answer(),
        budget=limit,
        convention=convention,
        left=None if limit is None else limit - total.of(convention),
        budget_set_at=None if budget is None else budget.set_at,
        budget_set_by=None if budget is None else budget.set_by,
    )


def _utilisation(row: Row, peaks: Mapping[tuple[str, str], float]) -> float | None:
    """Executed FLOPs per second over the device's peak; None without a measurement."""
    fitting = [
        peak
        for (device, dtype), peak in peaks.items()
        if device == row.device and row.dtype in ("", dtype)
    ]
    if not fitting or row.seconds <= 0:
        return None
    return float(row.spent.executed / row.seconds / max(fitting))
