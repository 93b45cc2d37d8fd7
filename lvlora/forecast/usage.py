"""Cost of all that a forecaster computes, and the reservation in the ledger that pays for it.

Work begins only if the most that it can cost fits into what remains of the reservation.
"""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lvlora import durable
from lvlora.answers import NOTHING, Price
from lvlora.errors import BudgetError, SettingsError
from lvlora.flops.ledger import Ledger, Limits, Wanted, check_limits
from lvlora.flops.rows import Row, Spender
from lvlora.forecast.pricing import Trace
from lvlora.settings.shared import BudgetSettings

if TYPE_CHECKING:
    from lvlora.forecast.language_model import LanguageModel


@dataclass
class Usage:
    """Cost of everything that a forecaster has computed.

    Attributes:
        price, trace: of all calls so far, whoever paid.
        remaining: what the open reservation pays for further calls; None where there is none.
    """

    price: Price = NOTHING
    trace: Trace = field(default_factory=Trace)
    remaining: Price | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)
    _call: threading.local = field(default_factory=threading.local, repr=False, compare=False)

    def add(self, trace: Trace, price: Price) -> None:
        """Record what was computed by the call that this thread has open."""
        with self._lock:
            self.price += price
            self.trace.add(trace)
            self._call.spent = getattr(self._call, "spent", NOTHING) + price

    @contextlib.contextmanager
    def work(self, price_bound: Callable[[], Price]) -> Iterator[None]:
        """Open one call; its price bound is only computed where a reservation pays.

        Raises:
            BudgetError: the bound is more than remains of the reservation; nothing was spent.
        """
        if self.remaining is None:
            yield
            return
        bound = price_bound()
        with self._lock:
            # the bound is taken at once: other threads may open calls meanwhile
            remaining = self.remaining
            if bound | remaining != remaining:
                convention = "executed" if bound.executed > remaining.executed else "coursework"
                raise BudgetError(
                    f"this may cost {bound.of(convention):,} FLOPs ({convention}), and "
                    f"{remaining.of(convention):,} remain of what was reserved for it",
                    "Reserve the sum of forecaster.at_most(…) of all that is done inside "
                    "charged(…).",
                )
            self.remaining, self._call.spent = remaining - bound, NOTHING
        try:
            yield
        finally:
            with self._lock:
                if self.remaining is not None:  # the block may have ended meanwhile
                    self.remaining += (bound - self._call.spent) | NOTHING


@contextlib.contextmanager
def reserved(
    settings: BudgetSettings,
    forecaster: LanguageModel,
    at_most: Price,
    *,
    command: str,
    stage: str = "",
) -> Iterator[Row]:
    """Reserve ``at_most`` for what a forecaster does inside the block, and settle what it spent.

    Inside, work that would pass ``at_most`` is refused before it begins.

    Args:
        stage: of an experiment; the entry's run is then called STAGE/….

    Raises:
        BudgetError: a limit would be passed; nothing was spent.
        SettingsError: a reservation of the forecaster is open already.
    """
    usage, base = forecaster.usage, forecaster.base
    if usage.remaining is not None:
        raise SettingsError(
            "the forecaster's work is charged already",
            "Let one block end before another begins.",
        )
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    run = f"{stage and stage + '/'}{stamp}-{command}-{uuid.uuid4().hex[:6]}"
    check_limits(settings, at_most, max_flops=settings.max_flops, run=run)
    spender = Spender(
        command=command,
        settings_hash=durable.sha256_of_json(
            settings.deciding("result", "data", "model", "placement")
        ),
        model=base.name,
        model_hash=base.sha256,
        device=base.placement.device.type,
        dtype=base.placement.dtype_name,
    )
    limits = Limits(settings.max_flops, settings.budget, settings.convention)
    before, trace = usage.price, usage.trace
    n_histories, n_futures, n_calls = len(trace.histories), len(trace.futures), len(trace.calls)
    with Ledger.for_runs(settings.runs) as ledger:
        held = ledger.reserve(run, {"forecast": Wanted(at_most)}, spender, limits)["forecast"]
        usage.remaining, begin = at_most, time.perf_counter()
        try:
            yield held
        finally:
            usage.remaining = None
            useful = sum(trace.histories[n_histories:])
            useful += sum(written for _, written in trace.futures[n_futures:])
            computed = sum(call.tokens for call in trace.calls[n_calls:])
            ledger.record(
                held,
                usage.price - before,
                seconds=time.perf_counter() - begin,
                tokens_useful=useful,
                tokens_padded=max(0, computed - useful),
                done=True,
            )
