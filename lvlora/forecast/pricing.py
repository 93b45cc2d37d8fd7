"""Calls and tokens of a decoding, their exact price, and the reservation that pays for them."""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from torch import nn

from lvlora import durable
from lvlora.answers import NOTHING, Price
from lvlora.errors import BudgetError, SettingsError
from lvlora.flops import coursework, executed
from lvlora.flops.answers import total
from lvlora.flops.ledger import Ledger, Limits, Wanted, check_limits
from lvlora.flops.rows import Row, Spender
from lvlora.flops.shape import Lora, ModelShape
from lvlora.model import lora
from lvlora.settings.shared import BudgetSettings

if TYPE_CHECKING:
    from lvlora.forecast.language_model import LanguageModel

Updates = Sequence[tuple[int, str, int]]
"""(layer, name of the linear layer, rank) of each low-rank update in a model."""


@dataclass(frozen=True)
class Call:
    """One call of a model whose rows are padded to one width.

    Attributes:
        rows, width: new tokens are rows x width, padding included.
        attended: positions each of them is multiplied with.
        head_rows: hidden states that went through the head.
    """

    rows: int
    width: int
    attended: int
    head_rows: int

    @property
    def tokens(self) -> int:
        """All that went through the layers."""
        return self.rows * self.width


@dataclass(frozen=True)
class PackedCall:
    """One call of the native decoder: no padding, and in the last layer only what is wanted.

    Attributes:
        tokens: that went through the layers; wanted: those whose logits were wanted.
        pairs, last_pairs: products of a head's query with a position, in each layer but the last,
            and in the last.
    """

    tokens: int
    wanted: int
    pairs: int
    last_pairs: int


@dataclass
class Trace:
    """Calls and tokens of a decoding.

    Attributes:
        calls: every call of the model.
        histories: tokens of each history that was read.
        futures: (tokens of its history, tokens generated) of each future.
        taken_back: guesses that the model did not want.
        prefill_seconds: time in reading histories.
    """

    calls: list[Call | PackedCall] = field(default_factory=list)
    histories: list[int] = field(default_factory=list)
    futures: list[tuple[int, int]] = field(default_factory=list)
    taken_back: int = 0
    prefill_seconds: float = 0.0

    def add(self, other: Trace) -> None:
        """Add another decoding."""
        self.calls += other.calls
        self.histories += other.histories
        self.futures += other.futures
        self.taken_back += other.taken_back
        self.prefill_seconds += other.prefill_seconds


def updates_in(module: nn.Module) -> Updates:
    """Those of a loaded model, whatever its adapter's patterns gave each layer."""
    return [
        (lora.layer_of(name), name.rsplit(".", 1)[-1], layer.rank)
        for name, layer in lora.lora_layers(module)
    ]


def updates_of(trained: Lora, shape: ModelShape) -> Updates:
    """Those that a model of this shape would have."""
    return [
        (layer, name, trained.rank)
        for layer in range(shape.layers)
        for name in shape.linear_layers()
        if trained.on(name, layer)
    ]


def executed_flops(shape: ModelShape, updates: Updates, calls: Iterable[Call | PackedCall]) -> int:
    """The matrix products of these calls, updates included."""
    sizes = shape.linear_layers()
    updated = skipped = 0
    for layer, name, rank in updates:
        of_a_token = rank * sum(sizes[name])
        updated += of_a_token
        if layer == shape.layers - 1 and name not in executed.KEPT_LINEARS:
            skipped += of_a_token  # by tokens whose logits are not wanted
    flops = 0
    for call in calls:
        if isinstance(call, PackedCall):
            items = executed.packed_call(
                shape,
                call.tokens,
                call.wanted,
                pairs=call.pairs,
                last_pairs=call.last_pairs,
            )
            flops -= 2 * (call.tokens - call.wanted) * skipped
        else:
            items = executed.forward_call(
                shape,
                call.rows,
                call.width,
                head_positions=call.head_rows,
                head_rows=shape.alphabet_rows,
                attended=call.attended,
            )
        flops += total(items) + 2 * call.tokens * updated
    return flops


def price_of(shape: ModelShape, updates: Updates, trace: Trace) -> Price:
    """Return the price of a decoding, in both conventions.

    The coursework prices the prefill of each history, and one cached step for each further token.
    """
    sizes = coursework.linear_layers(shape)

    def updated(tokens: int) -> int:
        return sum(coursework.lora_update(tokens, *sizes[name], rank) for _, name, rank in updates)

    flops = 0
    for n in trace.histories:
        flops += total(coursework.model_call(shape, 1, n, logit_rows=1)) + updated(n)
    for n, m in trace.futures:
        flops += total(coursework.decode(shape, 1, n, m)) + updated(m)
    return Price(executed_flops(shape, updates, trace.calls), flops)


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
    _turn: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def add(self, trace: Trace, price: Price) -> None:
        """Record what was computed."""
        self.price += price
        self.trace.add(trace)
        if self.remaining is not None:
            self.remaining = (self.remaining - price) | NOTHING

    @contextlib.contextmanager
    def work(self, price_bound: Price) -> Iterator[None]:
        """Let one thread after the other compute what the open reservation pays for.

        Raises:
            BudgetError: the bound is more than remains of it; nothing was spent.
        """
        with self._turn:
            remaining = self.remaining
            if remaining is not None and price_bound | remaining != remaining:
                convention = (
                    "executed" if price_bound.executed > remaining.executed else "coursework"
                )
                raise BudgetError(
                    f"this may cost {price_bound.of(convention):,} FLOPs ({convention}), and "
                    f"{remaining.of(convention):,} remain of what was reserved for it",
                    "Reserve the sum of forecaster.at_most(…) of all that is done inside "
                    "charged(…).",
                )
            yield


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
