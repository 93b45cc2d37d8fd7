"""What an evaluation would cost, and how long it would take, from a few of its series."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch

from lvlora.evaluation.job import begin
from lvlora.evaluation.protocol import Task
from lvlora.evaluation.scores import Scoring, group_size, rivals_of
from lvlora.evaluation.together import Hindsight
from lvlora.flops.budget import NOTHING, Price
from lvlora.forecast import likelihood
from lvlora.forecast.answers import ForecastPrice
from lvlora.forecast.estimate import Estimate, of_forecasts, price_answer
from lvlora.forecast.language_model import LanguageModel
from lvlora.forecast.sampling import Sampling
from lvlora.model.devices import cores, peak_bytes
from lvlora.narrator import Narrator, Silent
from lvlora.series.contest import SHARES
from lvlora.series.dataset import Dataset
from lvlora.series.known import known_so_far
from lvlora.series.rivals.processes import WORTH_SECONDS
from lvlora.settings.scoring import EvaluateSettings

_SERIES = 4
"""Of which the times of rivals and likelihoods are taken; a slow rival's differs by series."""
_ENOUGH_SECONDS = 1.0
"""After which no more of a slow rival's are timed."""


def price(
    settings: EvaluateSettings,
    read: Callable[[], Dataset],
    narrator: Narrator | None = None,
    *,
    began: float | None = None,
) -> ForecastPrice:
    """What `evaluate` with these arguments would take; nothing is charged and nothing written.

    Args:
        began: when the command did, by `time.perf_counter`; default: now.
    """
    narrator, began = narrator or Silent(), time.perf_counter() if began is None else began
    job, chosen = begin(settings, read, narrator, has_folder=False)
    started = time.perf_counter() - began
    prices: dict[str, Price] = {}
    estimates: list[Estimate] = []
    for candidate in chosen:
        opened = time.perf_counter()
        forecaster = candidate.open(settings)
        started += time.perf_counter() - opened
        name = candidate.name(forecaster, prices)
        prices[name] = Scoring(forecaster, job.task, job.sampling).price_bound
        estimates.append(of_model(forecaster, job.task, job.sampling))
        if settings.together:
            members = [forecaster] * len(SHARES)
            past = Hindsight(members, job.task, job.sampling).price_bound
            # as long for each FLOP as its forecasts
            share = past.executed / max(prices[name].executed, 1)
            seconds, peak = estimates[-1].seconds * share, estimates[-1].peak_bytes
            prices[name] += past
            estimates.append(Estimate(seconds, peak, NOTHING))
    if settings.rivals:
        n_processes = settings.workers or cores()
        found = of_rivals(job.task, job.train, n_processes, job.rival_samples)
        # a rival's futures take hindcasts from three origins, so that two more parts are as much
        # again at most
        estimates += [found] * (2 if settings.together else 1)
    answer = price_answer(prices, _one_after_another(estimates), started, page=True)
    return answer.of(len(job.task.histories))


def _one_after_another(estimates: Sequence[Estimate]) -> Estimate | None:
    if not estimates:
        return None
    return Estimate(
        sum(e.seconds for e in estimates),
        max(e.peak_bytes for e in estimates),
        sum((e.probe for e in estimates), NOTHING),
    )


def of_model(forecaster: LanguageModel, given: Task, sampling: Sampling) -> Estimate:
    """`Scoring.run`: the forecasts, and how probable the truth was."""
    size = min(len(given.histories), group_size(sampling.n_futures))
    found = of_forecasts(forecaster, given.histories, given.protocol.horizon, sampling, group=size)
    few = min(size, _SERIES)
    histories, futures = given.histories[:few], given.futures[:few]
    begin = time.perf_counter()
    likelihood.negative_log_likelihood(forecaster, histories, futures)
    seconds = (time.perf_counter() - begin) * len(given.histories) / few
    return Estimate(
        found.seconds + seconds,
        found.peak_bytes,
        found.probe + likelihood.price(forecaster.plan, histories, futures),
    )


def of_rivals(given: Task, train: Dataset, workers: int, n_samples: int = 0) -> Estimate:
    """All rivals that apply, with so many futures each, shared by so many processes."""
    n = len(given.histories)
    chosen = np.unique(np.linspace(0, n - 1, _SERIES).astype(int))
    seconds = 0.0
    seen = given.learnable(train)
    for rival in rivals_of(given)[0]:
        begin = time.perf_counter()
        rival.fit(seen, given.context, given.protocol.horizon)
        seconds += time.perf_counter() - begin
        begin = time.perf_counter()
        n_timed, spent = 0, 0.0
        for i in chosen:
            times = np.concatenate([given.histories[i].time, given.futures[i].time])
            history = given.histories[i]
            known = known_so_far(history, given.protocol.horizon)
            rival.predict(times, history.values, n_samples, given.ids[i], known)
            n_timed, spent = n_timed + 1, time.perf_counter() - begin
            if spent > _ENOUGH_SECONDS:
                break
        forecasts = spent * n / n_timed
        seconds += forecasts / (workers if forecasts > WORTH_SECONDS else 1)
    return Estimate(seconds, peak_bytes(torch.device("cpu")), NOTHING)
