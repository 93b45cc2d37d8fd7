"""How long forecasts will take and how much memory, from the first steps of a few of them.

The probe is the real code on the real histories, so that whatever this machine is slow at is in the
figure.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lvlora import answers
from lvlora.flops.budget import NOTHING, Price
from lvlora.forecast.answers import ForecastPrice
from lvlora.forecast.forecast import continue_time
from lvlora.forecast.language_model import LanguageModel
from lvlora.forecast.plan import row_bytes
from lvlora.forecast.sampling import Sampling
from lvlora.model.devices import peak_bytes
from lvlora.series.dataset import Series
from lvlora.text.codec import VALUE_SEPARATOR

AROUND_SECONDS = 0.8
"""Python's own beginning and end, which no command sees."""
PICTURES_BYTES = 45_000_000
"""The libraries that draw, and a page's pictures, where no probe has drawn any."""
_MARGIN = 1.15
"""On memory: two runs of the same command differ by a few per cent."""
REPORT_SECONDS = 2.0
"""Figures and report of an evaluation or a sweep; they hardly depend on it."""

_STEPS = 6
"""Further steps of the horizon from which the time of each is taken."""
_SLOW_SECONDS = 4.0
"""Of one prediction, from which on none is made twice to be rid of what is only done once."""


@dataclass(frozen=True)
class Estimate:
    """What a command will take on this machine.

    Attributes:
        seconds: of the work itself; what the probe took is not in it.
        peak_bytes: the most memory of the process at once: on a CPU all of it, on a GPU what
            PyTorch holds there.
        probe: what finding it out computed; it belongs to no run and is charged to none.
    """

    seconds: float
    peak_bytes: int
    probe: Price

    def with_room(self, more_bytes: int = 0) -> Estimate:
        """The same with memory that a real run stays below."""
        return replace(self, peak_bytes=int(_MARGIN * self.peak_bytes) + more_bytes)

    def answer(self) -> answers.Estimate:
        """As part of an answer."""
        return answers.Estimate(
            seconds=self.seconds,
            peak_bytes=self.peak_bytes,
            probe_flops=self.probe.as_answer(),
        )

    def to_dict(self) -> dict[str, float | int | dict[str, int]]:
        """For JSON."""
        return {
            "seconds": self.seconds,
            "peak_bytes": self.peak_bytes,
            "probe_flops": self.probe.to_dict(),
        }


def price_answer(
    prices: Mapping[str, Price], estimate: Estimate | None, started: float, *, page: bool
) -> ForecastPrice:
    """What ``--dry-run`` of forecasts and evaluations says.

    Args:
        prices: name of a model -> the most that it can cost; without a model nothing costs FLOPs.
        estimate: of all of the command's work.
        started: seconds until then; the real command takes them too.
        page: a report is written, or a picture.
    """
    told = None
    if estimate is not None:
        # an evaluation writes a page with figures, a forecast a table
        whole = started + estimate.seconds + AROUND_SECONDS + (REPORT_SECONDS if page else 0.0)
        with_room = estimate.with_room(PICTURES_BYTES if page else 0)
        told = replace(with_room, seconds=whole).answer()
    return ForecastPrice(
        flops_at_most=sum(prices.values(), NOTHING).as_answer() if prices else None,
        forecasters={name: price.as_answer() for name, price in prices.items()},
        estimate=told,
    )


def of_forecasts(
    forecaster: LanguageModel,
    histories: Sequence[Series],
    horizon: int,
    sampling: Sampling,
    *,
    context: int | None = None,
    group: int | None = None,
) -> Estimate:
    """`Forecaster.predict` with these arguments.

    Args:
        group: histories that are predicted in one call; default: all.
    """
    before = forecaster.usage.price
    planned = forecaster.plan.readings(histories, horizon, context)
    readings = [reading for of_one in planned for reading in of_one]
    alphabet = forecaster.base.alphabet
    texts = {i: alphabet.count(r.codec.encode(r.numbers)) for i, r in enumerate(readings)}
    longest, read = max(texts.items(), key=lambda item: item[1])
    codec = readings[longest].codec
    a_step = codec.n_variables * alphabet.count(codec.usual_number + VALUE_SEPARATOR)
    at_once = min(r.steps_at_once for r in readings)
    rows = forecaster.plan.rows_at_a_time(read + min(horizon, at_once) * a_step)
    rows_of_one = sampling.n_futures * max(len(of_one) for of_one in planned)
    n = min(len(histories), group or len(histories), max(1, rows // rows_of_one))
    # spread, not the first: a file is often sorted by length
    chosen = [histories[int(i)] for i in np.linspace(0, len(histories) - 1, n)]

    def predict(steps: int, given: Sequence[Series]) -> tuple[float, float]:
        trace = forecaster.usage.trace
        begin, reading = time.perf_counter(), trace.prefill_seconds
        forecaster.predict(given, steps, sampling, context=context)
        return time.perf_counter() - begin, trace.prefill_seconds - reading

    few = min(horizon, 1 + _STEPS)
    first, reading = predict(1, chosen)  # memory and threads are had from here on
    # now: a second prediction does not lie where the first one's memory was, and adds to the most
    peak = peak_bytes(forecaster.base.placement.device)
    is_slow = first > _SLOW_SECONDS  # beside which what the first one alone does is nothing
    if not is_slow:
        first, reading = predict(1, chosen)
    each = 0.0
    if few > 1:
        # a step attends to all before it, so its time is taken in the middle of the horizon
        halfway = [_longer(h, min(horizon, at_once) // 2) for h in chosen]
        whole, read_again = predict(few, halfway)
        if is_slow:
            each = (whole - read_again) / few
        else:
            each = max(0.0, whole - predict(1, halfway)[0]) / (few - 1)
    n_pieces = -(-horizon // at_once)
    seconds = first + (horizon - 1) * each + (n_pieces - 1) * sampling.n_futures * reading
    tokens = read + min(horizon, at_once) * a_step
    grown = row_bytes(forecaster.base, tokens) - row_bytes(forecaster.base, read + a_step)
    together = min(rows, n * rows_of_one)
    return Estimate(
        seconds * len(histories) / n,
        peak + max(0, grown) * together,
        forecaster.usage.price - before,
    )


def _longer(history: Series, n_steps: int) -> Series:
    """The history with so many more of its own steps at the end, as if it had gone on."""
    n = len(history)
    again = np.arange(n_steps) % n
    values = np.concatenate([history.values, history.values[::-1][again]])
    time = np.concatenate([history.time, continue_time(history.time, n_steps, history.calendar)])
    known = history.known
    if known is not None:
        known = np.concatenate([known[:n], known[:n][::-1][again], known[n:]])
    return Series(history.id, time, values, history.calendar, known=known)
