"""Seconds and memory of a command on this machine: planned FLOPs over a rate.

The rate is that of the last such work in the ledger, else of about a second of real work. That work
also shows the memory that is needed.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from lvlora.answers import NOTHING, Estimate, Price
from lvlora.data.dataset import Series
from lvlora.flops.rows import Row
from lvlora.forecast.answers import ForecastPrice
from lvlora.forecast.language_model import LanguageModel
from lvlora.forecast.plan import row_bytes
from lvlora.forecast.sampling import Sampling
from lvlora.model.devices import peak_bytes
from lvlora.model.loading import Outline
from lvlora.text.codec import VALUE_SEPARATOR

START_SECONDS = 0.8
"""Python's own start and end, which no command can time."""
REPORT_SECONDS = 2.0
"""Figures and report of a run, an evaluation or a sweep; they hardly depend on it."""
FORECASTING = ("evaluate", "forecast", "baseline")
"""Commands whose rates are alike: their models forecast."""
_REPORT_BYTES = 100_000_000
"""The libraries that draw and that fit rivals, and a page's pictures, which no benchmark needs."""
_MARGIN = 1.15
"""On memory: two runs of the same command differ by a few per cent."""
_BENCHMARK_SECONDS = 1.0
_BENCHMARK_STEPS = 7
_BENCHMARK_ROWS = 64
"""Futures that are decoded together; more hardly change the rate."""
_COMPLETE = 0.25
"""Fraction of its price bound below which a forecast was probably interrupted."""


@dataclass(frozen=True)
class Benchmark:
    """Speed and memory of some work on this machine."""

    rate: float
    """Planned FLOPs a second, executed."""
    peak_bytes: int
    """The most memory of the process so far: on a CPU all of it, on a GPU what PyTorch holds."""
    probe: Price
    """FLOPs of the benchmark; they are charged to no run."""
    first_seconds: float = 0.0
    """Time of the first piece of work, in which memory is allocated."""

    def seconds(self, price: Price) -> float:
        """Return how long work of this price takes."""
        return price.executed / self.rate


def ledger_rate(entries: Iterable[Row], commands: Collection[str], base: Outline) -> float | None:
    """Return the rate of the last such work with a model on this device; None without any.

    Args:
        entries: of a ledger, the oldest first.
    """
    here = (base.name, base.placement.device.type, base.placement.dtype_name)
    rate = None
    for row in entries:
        is_alike = row.command in commands and row.phase in ("train", "forecast")
        is_here = (row.model, row.device, row.dtype) == here
        if is_alike and is_here and row.status == "settled" and row.seconds and row.spent.executed:
            # a step costs what was planned, a forecast less than its bound
            bound, spent = row.reserved.executed, row.spent.executed
            is_bound = row.phase == "forecast" and spent > _COMPLETE * bound
            rate = (bound if is_bound else spent) / row.seconds
    return rate


def benchmark(work: Iterator[Price], device: torch.device, rate: float | None = None) -> Benchmark:
    """Time work until about a second of it is done.

    Args:
        work: does a piece of work each time and gives its price, at least once.
        rate: from the ledger; with it one piece of work is done, for its memory.
    """
    begin = last = time.perf_counter()
    prices: list[Price] = []
    seconds: list[float] = []
    for price in work:
        now = time.perf_counter()
        prices.append(price)
        seconds.append(now - last)
        last = now
        if rate is not None or now - begin > _BENCHMARK_SECONDS:
            break
    if rate is None:
        # the first allocates memory
        timed = slice(1 if len(prices) > 1 else 0, None)
        rate = max(1, sum(price.executed for price in prices[timed])) / sum(seconds[timed])
    return Benchmark(rate, peak_bytes(device), sum(prices, NOTHING), seconds[0])


def benchmark_forecasts(
    model: LanguageModel,
    histories: Sequence[Series],
    horizon: int,
    sampling: Sampling,
    *,
    context: int | None = None,
    entries: Iterable[Row] = (),
) -> Benchmark:
    """Time the first steps of a few forecasts; memory is that of all of them.

    Args:
        entries: of a ledger, which may know the rate.
    """
    before = model.usage.price
    n = min(len(histories), max(1, _BENCHMARK_ROWS // sampling.n_futures))
    # spread, not the first: a file is often sorted by length
    chosen = [histories[int(i)] for i in np.linspace(0, len(histories) - 1, n)]
    n_steps = min(horizon, _BENCHMARK_STEPS)
    bound = model.at_most(chosen, n_steps, sampling, context=context)

    def forecasts() -> Iterator[Price]:
        while True:
            model.predict(chosen, n_steps, sampling, context=context)
            yield bound

    rate = ledger_rate(entries, FORECASTING, model.base)
    result = benchmark(forecasts(), model.base.placement.device, rate)
    # caches of the futures that are decoded together
    alphabet = model.base.alphabet
    readings = [r for each in model.readings(histories, horizon, context) for r in each]
    number_tokens = alphabet.count(readings[0].codec.usual_number + VALUE_SEPARATOR)
    tokens = max(
        alphabet.count(r.codec.encode(r.numbers))
        + r.steps_at_once * r.codec.n_variables * number_tokens
        for r in readings
    )
    rows = min(model.rows_at_a_time(tokens), sampling.n_futures * len(readings))
    peak = result.peak_bytes + rows * row_bytes(model.base, tokens)
    return replace(result, peak_bytes=peak, probe=model.usage.price - before)


def estimate(
    work: Sequence[tuple[Price, Benchmark]],
    seconds: float,
    *,
    draws: bool = False,
    more_bytes: int = 0,
) -> Estimate:
    """Return time and memory as part of an answer, with room for what no benchmark sees.

    Args:
        work: planned FLOPs, and how fast such work is done here.
        seconds: all that is no model's work.
        draws: a report is written, or a picture.
        more_bytes: memory besides that of the benchmarks.
    """
    peak = max([peak_bytes(torch.device("cpu")), *(b.peak_bytes for _, b in work)]) + more_bytes
    seconds += sum(speed.seconds(price) for price, speed in work) + START_SECONDS
    return Estimate(
        seconds=seconds + (REPORT_SECONDS if draws else 0.0),
        peak_bytes=int(_MARGIN * peak) + (_REPORT_BYTES if draws else 0),
        probe_flops=sum((speed.probe for _, speed in work), NOTHING),
    )


def price_answer(
    prices: Mapping[str, Price],
    benchmarks: Mapping[str, Benchmark] | None,
    seconds: float,
    *,
    n_series: int,
    draws: bool,
) -> ForecastPrice:
    """Return the answer to ``--dry-run`` of forecasts and evaluations.

    Args:
        prices: name of a model -> its price bound.
        benchmarks: of the same models; None where time and memory are not known.
        seconds, draws: as in `estimate`.
    """
    cost = None
    if benchmarks is not None:
        work = [(prices[name], speed) for name, speed in benchmarks.items()]
        cost = estimate(work, seconds, draws=draws)
    return ForecastPrice(
        flops_at_most=sum(prices.values(), NOTHING) if prices else None,
        forecasters=dict(prices),
        estimate=cost,
        n_series=n_series,
    )
