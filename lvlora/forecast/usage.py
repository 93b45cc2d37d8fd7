"""What a forecaster has cost, and out of which reservation in the ledger it is paid.

Everything that a forecaster computes is work of exactly one bill, the one that was opened last, so
that no FLOP is charged twice; and work begins only if the most that it can cost fits into what is
left of that bill, so that no bill is passed.
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
from lvlora.errors import BudgetError
from lvlora.flops.budget import NOTHING, Price
from lvlora.flops.ledger import Ledger, check_limits
from lvlora.flops.reservation import Reservation
from lvlora.forecast.trace import Trace
from lvlora.settings.training import BudgetSettings

if TYPE_CHECKING:
    from lvlora.forecast.language_model import LanguageModel


@dataclass(eq=False)
class Bill:
    """What was reserved for some work, and what of it was spent.

    Attributes:
        most: what was reserved; spent, trace: by the work that was done so far.
        running: work that has begun and may still spend.
    """

    most: Price
    spent: Price = NOTHING
    trace: Trace = field(default_factory=Trace)
    running: list[Work] = field(default_factory=list)

    @property
    def left(self) -> Price:
        """What no work has spent or may still spend."""
        return self.most - sum((work.left for work in self.running), self.spent)


@dataclass(eq=False)
class Work:
    """One call of a forecaster.

    Attributes:
        left: what it may still spend.
    """

    usage: Usage
    bill: Bill | None
    left: Price = NOTHING

    def add(self, trace: Trace, price: Price) -> None:
        """Record what was computed."""
        with self.usage.lock:
            self.usage.price += price
            self.usage.trace.add(trace)
            if self.bill is not None:
                self.bill.spent += price
                self.bill.trace.add(trace)
            self.left = (self.left - price) | NOTHING


@dataclass
class Usage:
    """What forecasting took.

    Attributes:
        price, trace: of all calls so far, whoever paid.
        bills: that are open, the last one being the one that pays.
    """

    price: Price = NOTHING
    trace: Trace = field(default_factory=Trace)
    bills: list[Bill] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    @contextlib.contextmanager
    def paid_by(self, bill: Bill) -> Iterator[None]:
        """Let a bill pay for all that begins inside the block."""
        with self.lock:
            self.bills.append(bill)
        try:
            yield
        finally:
            with self.lock:
                self.bills.remove(bill)

    @contextlib.contextmanager
    def work(self, most: Callable[[], Price]) -> Iterator[Work]:
        """One call that may cost so much; it is only asked for where somebody pays.

        Raises:
            BudgetError: more than is left of the bill; nothing was spent.
        """
        with self.lock:
            bill = self.bills[-1] if self.bills else None
        work = Work(self, bill)
        if bill is None:
            yield work
            return
        wanted = most()
        with self.lock:
            left = bill.left
            if wanted | left != left:
                raise _refusal(wanted, left, bill.most)
            work.left = wanted
            bill.running.append(work)
        try:
            yield work
        finally:
            with self.lock:
                bill.running.remove(work)


@contextlib.contextmanager
def reserved(
    settings: BudgetSettings, forecaster: LanguageModel, at_most: Price, *, command: str
) -> Iterator[Reservation]:
    """Reserve ``at_most`` for what a forecaster does inside the block, and settle what it spent.

    Inside, work that would pass ``at_most`` is refused before it begins. Of blocks in one another
    each is charged what was done in it alone.

    Raises:
        BudgetError: a limit would be passed; nothing was spent.
    """
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    run = f"{stamp}-{command}-{uuid.uuid4().hex[:6]}"
    base, bill = forecaster.base, Bill(at_most)
    check_limits(settings, at_most, max_flops=settings.max_flops, run=run)
    with Ledger.for_runs(settings.runs) as ledger:
        reservation = ledger.reserve(
            run=run,
            phase="forecast",
            command=command,
            executed=at_most.executed,
            coursework=at_most.coursework,
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
            computed = sum(call.tokens for call in trace.calls)
            ledger.settle(
                reservation,
                executed=bill.spent.executed,
                coursework=bill.spent.coursework,
                seconds=time.perf_counter() - begin,
                tokens_useful=useful,
                tokens_padded=max(0, computed - useful),
            )


def _refusal(wanted: Price, left: Price, most: Price) -> BudgetError:
    convention = "executed" if wanted.executed > left.executed else "coursework"
    return BudgetError(
        f"this may cost {wanted.of(convention):,} FLOPs ({convention}), and of the "
        f"{most.of(convention):,} that were reserved for it {max(0, left.of(convention)):,} are "
        "left",
        "Reserve the sum of forecaster.at_most(…) of all that is done inside charged(…).",
    )
