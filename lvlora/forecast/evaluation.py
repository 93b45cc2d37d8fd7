"""Forecasters side by side on one part of a data set: same histories, same truth, same metrics.

Knows: protocols, rivals, language models, what each took. Does not know: terminals, figures.

Protocol A gives 50 steps of history and asks for 50, B 80 and 20; every series of the part that is
long enough counts, and a forecast that is not finite is an error, never dropped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lvlora.errors import DataError
from lvlora.flops.budget import Price
from lvlora.forecast.decoding import Sampling
from lvlora.forecast.forecaster import Forecaster
from lvlora.series.dataset import Dataset, FloatArray, Series
from lvlora.series.metrics import Scores, score
from lvlora.series.rivals import Rival, RoundingFloor
from lvlora.text.scaling import Scale

_RESAMPLES = 2000


@dataclass(frozen=True)
class Protocol:
    """What every forecaster is given and asked for.

    Attributes:
        part: train, validation, test or all.
        context, horizon: steps of history, steps to forecast.
    """

    part: str
    context: int
    horizon: int


@dataclass(frozen=True)
class Task:
    """The histories and futures of one part.

    Attributes:
        histories: n series of ``context`` steps.
        futures: n series of ``horizon`` steps; truth (n, H, V).
        left_out: series that are too short.
    """

    protocol: Protocol
    variables: tuple[str, ...]
    histories: list[Series]
    futures: list[Series]
    left_out: int

    @property
    def truth(self) -> FloatArray:
        """(n, H, V) in original units."""
        return np.stack([f.values for f in self.futures])


@dataclass
class Entry:
    """One forecaster's row in the table.

    Attributes:
        kind: model, rival, or floor (what rounding alone costs).
        point: (n, H, V); samples: (n, S, H, V) or None.
        seconds: all of its work, fitting included.
        price: FLOPs where they are defined.
        against: (low, high) of the paired 95 % interval of its MAE minus the reference model's.
    """

    name: str
    kind: str
    scores: Scores
    point: FloatArray
    samples: FloatArray | None = None
    seconds: float = 0.0
    price: Price | None = None
    against: tuple[float, float] | None = field(default=None)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        flops = None
        if self.price is not None:
            flops = {"executed": self.price.executed, "coursework": self.price.coursework}
        return {
            "name": self.name,
            "kind": self.kind,
            **self.scores.to_dict(),
            "seconds": self.seconds,
            "flops": flops,
            "mae_difference_95": None if self.against is None else list(self.against),
        }


def task(part: Dataset, protocol: Protocol) -> Task:
    """Cut histories and futures from the beginning of every series of the part.

    Raises:
        DataError: no series is long enough.
    """
    needed = protocol.context + protocol.horizon
    long_enough = [s for s in part if len(s) >= needed]
    if not long_enough:
        longest = max((len(s) for s in part), default=0)
        raise DataError(
            f"{part.source}: no series of the {protocol.part} part has the {needed} steps that "
            f"--context {protocol.context} and --horizon {protocol.horizon} need",
            f"The longest has {longest}.",
        )
    return Task(
        protocol,
        part.variables,
        [s.steps(0, protocol.context) for s in long_enough],
        [s.steps(protocol.context, needed) for s in long_enough],
        len(part) - len(long_enough),
    )


def score_model(
    forecaster: Forecaster, given: Task, sampling: Sampling, levels: Sequence[float],
    progress: Callable[[int], None] | None = None,
) -> Entry:  # fmt: skip
    """The language model: point forecast is the median of its samples."""
    begin, before = time.perf_counter(), forecaster.usage.price
    forecasts = forecaster.predict(
        given.histories, given.protocol.horizon, sampling, progress=progress
    )
    seconds = time.perf_counter() - begin
    point = np.stack([f.median for f in forecasts])
    samples = np.stack([f.samples for f in forecasts]) if not sampling.greedy else None
    return Entry(
        forecaster.name, "model", _score(given, point, samples, levels), point, samples, seconds,
        forecaster.usage.price - before,
    )  # fmt: skip


def score_rival(
    rival: Rival, given: Task, train: Dataset, levels: Sequence[float],
    progress: Callable[[int], None] | None = None,
) -> Entry:  # fmt: skip
    """A rival: fitted on the training part where it learns from one, then series by series."""
    begin = time.perf_counter()
    rival.fit(train, given.protocol.context, given.protocol.horizon)
    points = []
    for history, future in zip(given.histories, given.futures, strict=True):
        moments = np.concatenate([history.time, future.time])
        points.append(rival.forecast(moments, history.values))
        if progress is not None:
            progress(1)
    seconds = time.perf_counter() - begin
    point = np.stack(points)
    return Entry(rival.name, rival.kind, _score(given, point, None, levels), point, None, seconds)


def score_floor(given: Task, decimals: int, scale: Scale, levels: Sequence[float]) -> Entry:
    """What writing the truth with so many decimals would cost."""
    point = RoundingFloor(decimals, np.asarray(scale.divisors)).of(given.truth)
    return Entry("rounding floor", "floor", _score(given, point, None, levels), point)


def compare(entries: Sequence[Entry], reference: Entry, seed: int = 0) -> None:
    """Set each entry's paired bootstrap interval of its MAE minus the reference's, over series."""
    rng = np.random.default_rng(seed)
    ours = reference.scores.series_mae
    n = len(ours)
    picks: NDArray[np.int64] = rng.integers(0, n, (_RESAMPLES, n))
    for entry in entries:
        if entry is reference or n < 2:
            continue
        difference = np.asarray(entry.scores.series_mae) - np.asarray(ours)
        low, high = np.nanpercentile(np.nanmean(difference[picks], axis=1), [2.5, 97.5])
        entry.against = (float(low), float(high))


def _score(
    given: Task, point: FloatArray, samples: FloatArray | None, levels: Sequence[float]
) -> Scores:
    return score(
        given.truth, point, history=[h.values for h in given.histories], samples=samples,
        quantiles=levels,
    )  # fmt: skip
