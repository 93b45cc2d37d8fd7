"""Entries of a ledger for tests, in one call."""

from lvlora.answers import Price
from lvlora.flops.ledger import Limits, Wanted
from lvlora.flops.rows import Spender


def reserve(
    ledger,
    executed=100,
    coursework=300,
    run="a",
    phase="train",
    *,
    unit=None,
    max_flops=None,
    budget=None,
    convention="executed",
    command="train",
    **spender,
):
    """Reserve for one phase of a run; the entry that this process holds."""
    wanted = {phase: Wanted(Price(executed, coursework), unit)}
    limits = Limits(max_flops, budget, convention)
    return ledger.reserve(run, wanted, Spender(command=command, **spender), limits)[phase]


def settle(ledger, held, executed, coursework, seconds=1.0):
    """Settle an entry."""
    spent = Price(executed, coursework)
    ledger.record(held, spent, seconds=seconds, tokens_useful=10, tokens_padded=12, done=True)
