"""What may be spent: the budget that the ledger keeps, and what is said of a refusal."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Literal

from lvlora.errors import BudgetError, SettingsError
from lvlora.flops.budget import CONVENTIONS, Budget, Price
from lvlora.flops.rows import Row, whole_count
from lvlora.settings.base import Convention

BudgetAsked = int | Literal["none"] | None
"""A budget to begin with, none any more, or what the ledger keeps."""


def asked(budget: BudgetAsked, convention: Convention) -> Budget | None:
    """The budget that a command asks for; None where it asks for none.

    Raises:
        SettingsError: it is no possible one.
    """
    if budget is None or budget == "none":
        return None
    if budget <= 0 or convention not in CONVENTIONS:
        raise SettingsError(
            f"a budget of {budget} FLOPs ({convention}) is not possible",
            "A budget is a whole number of FLOPs above 0.",
        )
    return Budget(budget, convention)


def read_budget(db: sqlite3.Connection) -> Budget | None:
    """The recorded one; ValueError if it is not what was written."""
    columns = [name for _, name, *_ in db.execute("PRAGMA table_info(budget)")]
    by = "set_by" if "set_by" in columns else "''"  # a ledger from before, which is only read
    found = db.execute(f"SELECT flops, convention, set_at, {by} FROM budget").fetchone()
    if found is None:
        return None
    flops, convention, set_at, set_by = found
    if convention not in CONVENTIONS or not isinstance(set_at, str) or not isinstance(set_by, str):
        raise ValueError(f"a budget of {flops!r} FLOPs ({convention!r})")
    if whole_count(flops) == 0:
        raise ValueError("a budget of 0 FLOPs")
    return Budget(whole_count(flops), convention, set_at, set_by)


def write_budget(db: sqlite3.Connection, budget: Budget | None, now: str, by: str) -> None:
    """Record it in place of the one before; None: there is none any more."""
    if budget is None:
        db.execute("DELETE FROM budget")
        return
    db.execute(
        "INSERT OR REPLACE INTO budget (id, flops, convention, set_at, set_by) "
        "VALUES (1, ?, ?, ?, ?)",
        (str(budget.flops), budget.convention, now, by),
    )


def refusal(
    wanted: Price,
    rows: Sequence[Row],
    *,
    run: str,
    max_flops: int | None,
    convention: str,
    budget: Budget | None,
) -> BudgetError | None:
    """Why a run may not have so much, if it may not.

    Args:
        rows: what is charged already, to all runs.
        max_flops: limit of this run, counted in ``convention``; budget: of all together.
    """
    refused = None
    if max_flops is not None:
        own = [row for row in rows if row.run == run]
        refused = _over(
            f"run {run}", own, wanted, max_flops, convention, "by --max-flops", "raise --max-flops"
        )
    if refused is None and budget is not None:
        refused = _over(
            "project",
            rows,
            wanted,
            budget.flops,
            budget.convention,
            budget.origin,
            "give a larger --budget; --budget none lifts it",
        )
    return refused


def _over(
    whose: str,
    rows: Sequence[Row],
    wanted: Price,
    limit: int,
    convention: str,
    origin: str,
    or_else: str,
) -> BudgetError | None:
    spent = sum(row.charged.of(convention) for row in rows if row.status != "open")
    promised = sum(row.charged.of(convention) for row in rows if row.status == "open")
    want = wanted.of(convention)
    if want == 0 or spent + promised + want <= limit:
        return None
    left = max(0, limit - spent - promised)
    hint = f"Do less (about {left / want:.0%} of it fits), or {or_else}."
    if promised:
        hint += " lvlora flops --ledger shows the open runs; --close RUN settles a killed one."
    return BudgetError(
        f"{whose}: {want:,} FLOPs wanted, {spent:,} spent, {promised:,} reserved, "
        f"limit {limit:,} ({convention}), {origin}",
        hint,
    )
