"""Rivals as forecasters: what `forecast.rivals` says of arrays, for series."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import numpy as np

from lvlora.answers import Price
from lvlora.data.dataset import Dataset, FloatArray, Series
from lvlora.data.known import known_so_far
from lvlora.data.seasons import seasons_of, seasons_used
from lvlora.forecast import workers
from lvlora.forecast.even_steps import times_ahead
from lvlora.forecast.forecast import Forecast
from lvlora.forecast.forecaster import Forecaster, Part, PlannedForecasts, Progress
from lvlora.forecast.rivals import Prediction, Rival
from lvlora.forecast.sampling import Sampling

GREEDY = Sampling(greedy=True)
Work = tuple[FloatArray, FloatArray, int, str, FloatArray | None]
"""Times, history, number of samples, name and known columns of a series: the arguments of
`Rival.predict`."""


class RivalForecaster(Forecaster):
    """One rival, which costs no FLOPs of a budget.

    Inside `workers.processes` several processes share the series of one that is slow.

    Args:
        rival: who forecasts.
        learns_from: series to learn from; None: the histories that it forecasts.
    """

    def __init__(self, rival: Rival, learns_from: Dataset | None = None) -> None:
        self.rival, self.name, self.kind = rival, rival.name, rival.kind
        self.uses_known = rival.uses_known
        self.learns_from = learns_from

    def seasons_used(self, histories: Sequence[Series]) -> str:
        """Say which seasons it takes these histories to have; empty for one without a season."""
        rival = self.rival
        if not rival.uses_season:
            return ""
        return seasons_used(
            [
                [rival.period_used(p, len(h)) for p in seasons_of(h, rival.season).tolist()]
                for h in histories
            ]
        )

    def for_points(self, sampling: Sampling) -> Sampling:
        """Return a sampling without futures, which no point forecast needs."""
        return GREEDY

    def planned(
        self,
        histories: Sequence[Series],
        horizons: Sequence[int],
        sampling: Sampling,
        *,
        context: int | None = None,
        at_a_time: int | None = None,
    ) -> PlannedForecasts:
        """See `Forecaster.planned`; each history's forecast is finished by itself."""
        seen = [h.steps(max(0, len(h) - (context or len(h))), len(h)) for h in histories]
        ahead = [times_ahead(h, n) for h, n in zip(seen, horizons, strict=True)]
        n_samples = 0 if sampling.greedy else sampling.samples
        return PlannedForecasts(
            lambda progress: self._parts(seen, ahead, n_samples, progress), len(seen)
        )

    def _parts(
        self,
        histories: Sequence[Series],
        ahead: Sequence[FloatArray],
        n_samples: int,
        progress: Progress,
    ) -> Iterator[Part]:
        """Learn from the histories, then forecast each at its times ahead."""
        if not histories:
            return
        begin, rival, data = time.perf_counter(), self.rival, self.learns_from
        names = tuple(f"v{i}" for i in range(histories[0].values.shape[1]))
        rival.fit(
            Dataset(tuple(histories), names) if data is None else data,
            min(map(len, histories)),
            max(map(len, ahead)),
        )
        yield Part((), (), time.perf_counter() - begin)
        work = [
            (np.concatenate([h.time, t]), h.values, n_samples, h.id, known_so_far(h, len(t)))
            for h, t in zip(histories, ahead, strict=True)
        ]
        for at, prediction, seconds in predictions(rival, work):
            price = None if prediction.flops is None else Price(*prediction.flops)
            forecast = as_forecast(histories[at], prediction, ahead[at])
            yield Part((at,), (forecast,), seconds, price)
            progress(1)


def predictions(rival: Rival, work: Sequence[Work]) -> Iterator[tuple[int, Prediction, float]]:
    """Forecast all of it with a fitted rival; share it once that is worth starting processes.

    Yields:
        position in ``work``, prediction, and the seconds it took, as they are finished.
    """
    begin = time.perf_counter()
    for at, problem in enumerate(work):
        spent = time.perf_counter() - begin
        if at and spent / at * (len(work) - at) > workers.worth_seconds():
            pieces = ((rival, place, work[place]) for place in range(at, len(work)))
            yield from workers.shared(_timed, pieces, in_order=False)
            return
        yield _timed(rival, at, problem)


def _timed(rival: Rival, place: int, work: Work) -> tuple[int, Prediction, float]:
    begin = time.perf_counter()
    prediction = rival.predict(*work)
    return place, prediction, time.perf_counter() - begin


def as_forecast(history: Series, prediction: Prediction, time: FloatArray) -> Forecast:
    """A prediction as a forecast; without samples its point forecast is its only future."""
    samples = prediction.point[None] if prediction.samples is None else prediction.samples
    return Forecast(
        series=history.id,
        time=time,
        samples=samples,
        scale=None,
        context=len(history),
        calendar=history.calendar,
        history=history,
        point=prediction.point,
    )
