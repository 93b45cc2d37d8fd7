"""All forecasters together: each weighs by how well it forecasts the ends of a history.

`hindcasts` forecasts those ends from earlier origins, `series.contest` says who weighs how much.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from lvlora.errors import SettingsError
from lvlora.flops.budget import NOTHING
from lvlora.forecast.forecast import Forecast
from lvlora.forecast.forecaster import Forecaster, Part, PlannedForecasts, Progress
from lvlora.forecast.reading import Reading
from lvlora.forecast.rivals import RivalForecaster, as_forecast
from lvlora.forecast.sampling import Sampling
from lvlora.series import contest
from lvlora.series.dataset import Dataset, FloatArray, Series
from lvlora.series.rivals import Prediction, default_rivals, rival_called
from lvlora.series.rivals.processes import RivalProcesses
from lvlora.settings.base import Season

NAME = "models and rivals together"

_AT_A_TIME = 32
"""Histories whose ends a model forecasts together."""


class Origin(NamedTuple):
    """One of a history's earlier ends: its place among the histories, which one, steps before."""

    place: int
    which: int
    n_before: int


def by_origin(histories: Sequence[Series]) -> list[list[Origin]]:
    """The first origin of every history that has one, then the second: see `contest`."""
    return [
        [
            Origin(place, which, origins[which])
            for place, origins in enumerate(contest.earlier_origins(len(h)) for h in histories)
            if which < len(origins)
        ]
        for which in range(len(contest.SHARES))
    ]


@dataclass(frozen=True)
class Hindcasts:
    """Planned forecasts of the ends of histories, from the same one of their origins.

    Attributes:
        origins: whose forecasts these are, in order.
    """

    histories: Sequence[Series]
    origins: Sequence[Origin]
    planned: PlannedForecasts

    @classmethod
    def plan(
        cls,
        forecaster: Forecaster,
        histories: Sequence[Series],
        from_origins: Sequence[Origin],
        sampling: Sampling,
        *,
        context: int | None = None,
        at_a_time: int = _AT_A_TIME,
    ) -> Hindcasts:
        """Plan what a forecaster says of the ends, and price it; see `Forecaster.planned`."""
        planned = forecaster.planned(
            [before(histories[place], n) for place, _, n in from_origins],
            [len(histories[place]) - n for place, _, n in from_origins],
            forecaster.for_points(sampling),
            context=context,
            at_a_time=at_a_time,
        )
        return cls(histories, from_origins, planned)

    def losses(self, progress: Progress | None = None) -> Iterator[tuple[list[Origin], Part]]:
        """Make them; yield origins and what was forecast from there; see `loss`."""
        for part in self.planned.parts(progress):
            yield [self.origins[at] for at in part.places], part

    def loss(self, origin: Origin, forecast: Forecast) -> float:
        """The `contest.loss` of a forecast from an origin."""
        return contest.loss(self.histories[origin.place].values, forecast.median)


def before(history: Series, n_steps: int) -> Series:
    """The first steps of a history; the times of the others stay known."""
    return history.steps(0, n_steps)


class Ensemble(Forecaster):
    """Forecasters together, each weighted by its hindcasts of the history.

    Attributes:
        members: who takes part, in the order of ties.
    """

    name, kind = NAME, "combination"

    def __init__(self, members: Sequence[Forecaster]) -> None:
        self.members = members

    def planned(
        self,
        histories: Sequence[Series],
        horizons: Sequence[int],
        sampling: Sampling,
        *,
        context: int | None = None,
        at_a_time: int | None = None,
    ) -> PlannedForecasts:
        """See `Forecaster.planned`; all forecasts are finished together."""
        how = {"context": context, "at_a_time": at_a_time}
        forecasts = [m.planned(histories, horizons, sampling, **how) for m in self.members]
        hindcasts = [
            [
                Hindcasts.plan(member, histories, from_origins, sampling, context=context)
                for from_origins in by_origin(histories)
            ]
            for member in self.members
        ]
        seen = [h.steps(max(0, len(h) - (context or len(h))), len(h)) for h in histories]
        return _Planned(self.members, seen, forecasts, hindcasts, sampling)


class _Planned(PlannedForecasts):
    def __init__(
        self,
        members: Sequence[Forecaster],
        histories: Sequence[Series],
        forecasts: Sequence[PlannedForecasts],
        hindcasts: Sequence[Sequence[Hindcasts]],
        sampling: Sampling,
    ) -> None:
        self._members, self._histories, self._sampling = members, histories, sampling
        self._forecasts, self._hindcasts = forecasts, hindcasts
        every = [*forecasts, *(h.planned for of_one in hindcasts for h in of_one)]
        self.price_bound = sum((planned.price_bound for planned in every), NOTHING)
        self.n_units = sum(planned.n_units for planned in every)

    @property
    def readings(self) -> list[list[Reading]]:
        """See `PlannedForecasts.readings`: those of the first member that has any."""
        return next((planned.readings for planned in self._forecasts if planned.readings), [])

    def parts(self, progress: Progress | None = None) -> Iterator[Part]:
        """See `PlannedForecasts.parts`."""
        if not self._histories:
            return
        begin = time.perf_counter()
        forecasts = [planned.all(progress) for planned in self._forecasts]
        losses = np.full((len(self._members), len(self._histories), len(contest.SHARES)), np.nan)
        for member, hindcasts in zip(losses, self._hindcasts, strict=True):
            for one in hindcasts:
                for from_origins, part in one.losses(progress):
                    for origin, forecast in zip(from_origins, part.forecasts, strict=True):
                        member[origin.place, origin.which] = one.loss(origin, forecast)
        mixed = [
            self._mixed(history, of_one, losses[:, i])
            for i, (history, *of_one) in enumerate(zip(self._histories, *forecasts, strict=True))
        ]
        yield Part(range(len(mixed)), mixed, time.perf_counter() - begin)

    def _mixed(
        self, history: Series, forecasts: Sequence[Forecast], losses: FloatArray
    ) -> Forecast:
        """The forecast of all for one history, from the members' losses (M, W)."""
        n_samples = 0 if self._sampling.greedy else self._sampling.samples
        predictions = [Prediction(f.median, f.samples if n_samples else None) for f in forecasts]
        shares = contest.weights(losses)
        mixed = contest.together(predictions, shares, n_samples)
        order = np.argsort(-shares, kind="stable").tolist()
        weights = {self._members[m].name: float(shares[m]) for m in order}
        return replace(as_forecast(history, mixed, forecasts[0].time), weights=weights)


def rival_for(
    word: str, dataset: Dataset, season: Season, processes: RivalProcesses | None = None
) -> RivalForecaster:
    """A new rival by its name as it is typed, for these data.

    Raises:
        SettingsError: there is none of that name, or it cannot forecast such data.
    """
    rival = rival_called(word, season)
    reason = rival.refusal(dataset)
    if reason:
        raise SettingsError(
            f"--forecaster {word}: cannot forecast these data here: {reason}",
            "lvlora baseline says which forecasters can.",
        )
    return RivalForecaster(rival, processes)


def members_for(
    dataset: Dataset, season: Season = "auto", processes: RivalProcesses | None = None
) -> list[RivalForecaster]:
    """New rivals that take part in a forecast of all together: no one who only chooses."""
    return [
        RivalForecaster(rival, processes)
        for rival in default_rivals(season)
        if rival.takes_part and not rival.refusal(dataset)
    ]
