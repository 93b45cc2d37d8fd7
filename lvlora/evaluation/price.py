"""Price and time of an evaluation, from a few of its series."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from lvlora.answers import Price
from lvlora.data.dataset import Dataset
from lvlora.data.known import known_so_far
from lvlora.evaluation.job import begin
from lvlora.evaluation.protocol import Task
from lvlora.evaluation.scores import Hindsight, Scoring, rivals_of
from lvlora.evaluation.settings import EvaluateSettings
from lvlora.flops.ledger import entries
from lvlora.forecast.answers import ForecastPrice
from lvlora.forecast.ensemble import N_HINDCASTS
from lvlora.forecast.estimate import (
    FORECASTING,
    Benchmark,
    benchmark_forecasts,
    ledger_rate,
    price_answer,
)
from lvlora.forecast.rivals.processes import WORTH_SECONDS
from lvlora.model.devices import cores
from lvlora.narrator import Narrator, Silent

_SERIES = 4
"""Series on which rivals are timed; a slow rival's time differs by series."""
_ENOUGH_SECONDS = 1.0
"""After which no more of a slow rival's are timed."""


def price(
    settings: EvaluateSettings,
    read: Callable[[], Dataset],
    narrator: Narrator | None = None,
    *,
    began: float | None = None,
) -> ForecastPrice:
    """Return cost, time and memory of `evaluate`; nothing is charged and nothing written.

    Args:
        began: when the command did, by `time.perf_counter`; default: now.
    """
    narrator, began = narrator or Silent(), time.perf_counter() if began is None else began
    job, chosen = begin(settings, read, narrator, has_folder=False)
    started = time.perf_counter() - began
    prices: dict[str, Price] = {}
    benchmarks: dict[str, Benchmark] = {}
    known = entries(settings.runs)
    for candidate in chosen:
        opened = time.perf_counter()
        forecaster = candidate.open(settings)
        started += time.perf_counter() - opened
        name = candidate.name(forecaster, prices)
        prices[name] = Scoring(forecaster, job.task, job.sampling).price_bound
        benchmarks[name] = benchmark_forecasts(
            forecaster,
            job.task.histories,
            job.task.protocol.horizon,
            job.sampling,
            rate=ledger_rate(known, FORECASTING, forecaster.base),
        )
        if settings.ensemble:
            members = [forecaster] * N_HINDCASTS
            prices[name] += Hindsight(members, job.task, job.sampling).price_bound
    if settings.rivals:
        seconds = _rivals_seconds(
            job.task, job.train, settings.workers or cores(), job.rival_samples
        )
        # a rival's futures take hindcasts from three origins, so that two more parts are as much
        # again at most
        started += seconds * (2 if settings.ensemble else 1)
    known_costs = benchmarks if chosen or settings.rivals else None
    return price_answer(prices, known_costs, started, n_series=len(job.task.histories), draws=True)


def _rivals_seconds(task: Task, train: Dataset, workers: int, n_samples: int) -> float:
    """Time all rivals that apply, with so many futures each, shared by so many processes."""
    n = len(task.histories)
    chosen = np.unique(np.linspace(0, n - 1, _SERIES).astype(int))
    seconds = 0.0
    seen = task.learnable(train)
    for rival in rivals_of(task, train)[0]:
        begin = time.perf_counter()
        rival.fit(seen, task.context, task.protocol.horizon)
        seconds += time.perf_counter() - begin
        begin = time.perf_counter()
        n_timed, spent = 0, 0.0
        for i in chosen:
            times = np.concatenate([task.histories[i].time, task.futures[i].time])
            history = task.histories[i]
            known = known_so_far(history, task.protocol.horizon)
            rival.predict(times, history.values, n_samples, task.ids[i], known)
            n_timed, spent = n_timed + 1, time.perf_counter() - begin
            if spent > _ENOUGH_SECONDS:
                break
        forecasts = spent * n / n_timed
        seconds += forecasts / (workers if forecasts > WORTH_SECONDS else 1)
    return seconds
