"""How long an evaluation will take, from a few of its series.

Knows: what `evaluation` does for a model and for a rival. Does not know: tables, terminals.
"""

from __future__ import annotations

import time

import numpy as np
import torch

from lvlora.evaluation.protocol import Task
from lvlora.evaluation.scoring import group_size, rivals_for
from lvlora.flops.budget import NOTHING
from lvlora.forecast import likelihood
from lvlora.forecast.estimate import Estimate, of_forecasts
from lvlora.forecast.forecaster import Forecaster
from lvlora.forecast.sampling import Sampling
from lvlora.model.devices import peak_bytes
from lvlora.series.dataset import Dataset
from lvlora.series.rivals.processes import WORTH_SECONDS

_SERIES = 4
"""Of which a rival's time is taken; a slow one's differs from series to series."""
_ENOUGH_SECONDS = 1.0
"""After which no more of a slow rival's are timed."""


def of_model(forecaster: Forecaster, given: Task, sampling: Sampling) -> Estimate:
    """`evaluation.score_model`: the forecasts, and how probable the truth was."""
    size = min(len(given.histories), group_size(sampling.n_futures))
    found = of_forecasts(forecaster, given.histories, given.protocol.horizon, sampling, group=size)
    histories, futures = given.histories[:size], given.futures[:size]
    begin = time.perf_counter()
    likelihood.negative_log_likelihood(forecaster, histories, futures)
    seconds = (time.perf_counter() - begin) * len(given.histories) / size
    return Estimate(
        found.seconds + seconds,
        found.peak_bytes,
        found.probe + likelihood.price(forecaster, histories, futures),
    )


def of_rivals(given: Task, train: Dataset, workers: int, n_samples: int = 0) -> Estimate:
    """All rivals that apply, with so many futures each, shared by so many processes."""
    n = len(given.histories)
    chosen = np.unique(np.linspace(0, n - 1, _SERIES).astype(int))
    seconds = 0.0
    seen = given.learnable(train)
    for rival in rivals_for(given, train):
        begin = time.perf_counter()
        rival.fit(seen, given.context, given.protocol.horizon)
        seconds += time.perf_counter() - begin
        begin = time.perf_counter()
        n_timed, spent = 0, 0.0
        for i in chosen:
            times = np.concatenate([given.histories[i].time, given.futures[i].time])
            rival.predict(times, given.histories[i].values, n_samples, given.ids[i])
            n_timed, spent = n_timed + 1, time.perf_counter() - begin
            if spent > _ENOUGH_SECONDS:
                break
        forecasts = spent * n / n_timed
        seconds += forecasts / (workers if forecasts > WORTH_SECONDS else 1)
    return Estimate(seconds, peak_bytes(torch.device("cpu")), NOTHING)
