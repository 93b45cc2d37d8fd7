"""The row of models and rivals together, each weighted by how well it forecasts a history's end.

What each makes of that end is worked out beside its forecasts, and kept like them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lvlora.evaluation.folder import Piece, Pieces
from lvlora.evaluation.protocol import Task
from lvlora.evaluation.scores import Entry, Past, Progress, group_size, score_of
from lvlora.flops.budget import NOTHING, Price
from lvlora.forecast.forecaster import Forecaster
from lvlora.forecast.sampling import Sampling
from lvlora.forecast.together import before, groups
from lvlora.series import contest
from lvlora.series.dataset import Dataset
from lvlora.series.known import known_so_far
from lvlora.series.rivals import Prediction, Rival
from lvlora.series.rivals.processes import RivalProcesses

NAME = "chosen on the history"
KIND = "combination"


def past_of_rival(
    rival: Rival,
    given: Task,
    train: Dataset,
    pieces: Pieces | None = None,
    progress: Progress | None = None,
    processes: RivalProcesses | None = None,
) -> Past:
    """How far it is off at the ends of the histories.

    Args:
        pieces: what is finished already, and where to keep what will be.
        progress: told how many parts of histories were finished.
        processes: who shares the work where it is slow; None does it all here.
    """
    pieces = Pieces() if pieces is None else pieces
    for k in range(len(contest.SHARES)):
        parts = [(i, n) for i, n in _parts(given, k) if not pieces.has([_key(given.ids[i], k)])]
        if not parts:
            continue
        # what is forecast here is none of what may be learnt
        ends = dict(_parts(given, k))
        seen = [h.steps(0, ends.get(i, len(h))) for i, h in enumerate(given.histories)]
        begin = time.perf_counter()
        rival.fit(
            replace(given, histories=seen).learnable(train),
            min(n for _, n in parts),
            max(len(given.histories[i]) - n for i, n in parts),
        )
        pieces.add(Piece((), np.empty(0), seconds=time.perf_counter() - begin))
        work = [
            (
                given.histories[i].time,
                given.histories[i].values[:n],
                0,
                given.ids[i],
                known_so_far(given.histories[i], 0),
            )
            for i, n in parts
        ]
        for at, found, seconds in (processes or RivalProcesses(1)).predictions(rival, work):
            i = parts[at][0]
            price = None if found.flops is None else Price(*found.flops)
            loss = contest.loss(given.histories[i].values, found.point)
            pieces.add(_piece([given.ids[i]], k, [loss], seconds, price))
            if progress is not None:
                progress(1)
    return _past(given, pieces)


def past_of_model(
    forecaster: Forecaster,
    given: Task,
    sampling: Sampling,
    pieces: Pieces | None = None,
    progress: Progress | None = None,
) -> Past:
    """As `past_of_rival`, of the medians of a language model.

    Args:
        progress: told how many futures were finished.
    """
    pieces = Pieces() if pieces is None else pieces
    for k, horizon, group in _unfinished(given, pieces, sampling):
        begin, spent = time.perf_counter(), forecaster.usage.price
        seen = [before(given.histories[i], horizon) for i in group]
        forecasts = forecaster.predict(seen, horizon, sampling, progress=progress)
        losses = [
            contest.loss(given.histories[i].values, forecast.median)
            for i, forecast in zip(group, forecasts, strict=True)
        ]
        names = [given.ids[i] for i in group]
        price = forecaster.usage.price - spent
        pieces.add(_piece(names, k, losses, time.perf_counter() - begin, price))
    return _past(given, pieces)


def past_at_most(
    forecaster: Forecaster, given: Task, sampling: Sampling, pieces: Pieces | None = None
) -> Price:
    """The most that `past_of_model` can cost."""
    price = NOTHING
    for _, horizon, group in _unfinished(given, pieces or Pieces(), sampling):
        seen = [before(given.histories[i], horizon) for i in group]
        price += forecaster.at_most(seen, horizon, sampling)
    return price


def n_futures_left(given: Task, sampling: Sampling, pieces: Pieces) -> int:
    """Futures that `past_of_model` has yet to draw."""
    groups_left = _unfinished(given, pieces, sampling)
    return sum(len(group) for _, _, group in groups_left) * sampling.n_futures


def n_parts_left(given: Task, pieces: Pieces) -> int:
    """Parts of histories that `past_of_rival` has yet to forecast."""
    return sum(
        not pieces.has([_key(given.ids[i], k)])
        for k in range(len(contest.SHARES))
        for i, _ in _parts(given, k)
    )


def score_together(
    entries: Sequence[Entry], given: Task, levels: Sequence[float], n_samples: int
) -> Entry:
    """The row of all that have a past, with weights of its own for each series.

    Its seconds and FLOPs are those of all of them, the past included.

    Args:
        n_samples: futures of each series; 0 for none.
    """
    members = [(e, e.past) for e in entries if e.past is not None]
    point, samples = np.empty_like(given.truth), []
    for i in range(len(given.ids)):
        predictions = [
            Prediction(e.point[i], None if e.samples is None else e.samples[i]) for e, _ in members
        ]
        shares = contest.weights(np.stack([past.losses[i] for _, past in members]))
        found = contest.together(predictions, shares, n_samples)
        point[i] = found.point
        samples.append(found.samples)
    drawn = None if n_samples < 1 else np.stack([s for s in samples if s is not None])
    prices = [p for e, past in members for p in (e.price, past.price) if p is not None]
    return Entry(
        NAME,
        KIND,
        score_of(given, point, drawn, levels),
        point,
        drawn,
        sum(e.seconds + past.seconds for e, past in members),
        sum(prices, NOTHING) if prices else None,
    )


def _parts(given: Task, k: int) -> list[tuple[int, int]]:
    """Positions of the histories that have a k-th origin, and how many steps are before it."""
    found = [(i, contest.earlier_origins(len(h))) for i, h in enumerate(given.histories)]
    return [(i, origins[k]) for i, origins in found if k < len(origins)]


def _unfinished(
    given: Task, pieces: Pieces, sampling: Sampling
) -> list[tuple[int, int, list[int]]]:
    found = groups(given.histories, group_size(sampling.n_futures))
    return [g for g in found if not pieces.has([_key(given.ids[i], g[0]) for i in g[2]])]


def _key(name: str, k: int) -> str:
    return f"{k} {name}"


_UNKNOWN = -1.0
"""Stands for NaN, which JSON lacks, where no value of a part is known."""


def _piece(
    names: Sequence[str], k: int, losses: Sequence[float], seconds: float, price: Price | None
) -> Piece:
    values = np.where(np.isnan(losses), _UNKNOWN, losses)[:, None, None]
    return Piece(tuple(_key(n, k) for n in names), values, seconds=seconds, price=price)


def _past(given: Task, pieces: Pieces) -> Past:
    losses = np.full((len(given.ids), len(contest.SHARES)), np.nan)
    for k in range(len(contest.SHARES)):
        places = [i for i, _ in _parts(given, k)]
        if places:
            values, _ = pieces.in_order([_key(given.ids[i], k) for i in places])
            losses[places, k] = np.where(values[:, 0, 0] < 0, np.nan, values[:, 0, 0])
    prices = [p.price for p in pieces.finished if p.price is not None]
    return Past(losses, pieces.seconds, sum(prices, NOTHING) if prices else None)
