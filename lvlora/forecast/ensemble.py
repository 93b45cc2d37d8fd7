"""The ensemble, ``--forecaster auto``: all forecasters, weighted by hindcasts of the history.

Shapes: M members, H steps of horizon, V variables, S samples, W hindcasts.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from lvlora.answers import NOTHING
from lvlora.data.dataset import Dataset, FloatArray, Series
from lvlora.forecast.answers import EnsembleMember
from lvlora.forecast.forecaster import Forecast, Forecaster, Part, PlannedForecasts, Progress
from lvlora.forecast.rivals import default_rivals
from lvlora.forecast.rivals.contract import Prediction, Rival
from lvlora.forecast.rivals.futures import N_HINDCASTS, recent_origins
from lvlora.forecast.sampling import Sampling
from lvlora.settings.base import Season

NAME, KIND = "auto", "ensemble"
_AT_A_TIME = 32
"""Histories whose hindcasts a model makes together."""
_LOST = 4.0
"""Spreads beyond which an error is no worse."""
_SMALLEST = 1e-6
"""Error in spreads below which members are equally good: it is rounding."""
_POWER = 2.0
_PRIOR_STEPS = 3.0
"""Hindcast steps that equal weights count as much as. Power, steps and `_NARROWER` are chosen on
the development set."""
_NARROWER = 0.85
"""A mixture of members that are as sure as they say is less sure than they are."""
_ROUNDING = 1e-12


class Origin(NamedTuple):
    """Where a hindcast begins: of which history, which of its hindcasts, steps before and after."""

    place: int
    which: int
    n_before: int
    n_ahead: int


def by_origin(histories: Sequence[Series], horizon: int) -> list[list[Origin]]:
    """Return the first origin of every history that has one, then the second."""
    return [
        [
            Origin(place, which, *of_one[which])
            for place, of_one in enumerate(recent_origins(len(h), horizon) for h in histories)
            if of_one
        ]
        for which in range(N_HINDCASTS)
    ]


def loss(history: FloatArray, ahead: FloatArray) -> float:
    """How far a forecast of the last steps of a history was off, in spreads of each variable.

    The mean over what is known, each error at most `_LOST`; NaN where nothing is known.

    Args:
        history: (T, V) with its gaps, in the variables' own units.
        ahead: (N, V) forecast of its last N steps.
    """
    truth = history[-len(ahead) :]
    known = np.isfinite(truth)
    if not known.any():
        return float("nan")
    with np.errstate(all="ignore"):
        spread = np.array(
            [np.std(c[np.isfinite(c)]) if np.isfinite(c).any() else 0 for c in history.T]
        )
        gaps = np.abs(ahead - truth) / np.where(spread > 0, spread, 1.0)
    gaps = np.where(np.isnan(gaps), _LOST, np.minimum(gaps, _LOST))
    return float(gaps[known].mean())


def weights(losses: FloatArray, n_steps: int) -> FloatArray:
    """Return (M,) shares of the members, which add up to 1.

    Proportional to the inverse squared loss, as of independent errors (Bates & Granger 1969,
    doi:10.1057/jors.1969.103), and shrunk towards equal shares where few steps are known.

    Args:
        losses: (M, W) of each member's hindcasts; n_steps: of all hindcasts of one member.
    """
    equal = np.full(len(losses), 1 / len(losses))
    if not n_steps or not np.isfinite(losses).any():
        return equal
    inverse = 1.0 / np.maximum(np.nansum(losses, axis=1), _SMALLEST) ** _POWER
    known = n_steps / (n_steps + _PRIOR_STEPS)
    shares: FloatArray = known * inverse / inverse.sum() + (1 - known) * equal
    return shares


def pooled(predictions: Sequence[Prediction], shares: FloatArray, n_samples: int = 0) -> Prediction:
    """The forecast of all, each with its weight.

    Its distribution at each step is the weighted mixture of the members', moved to the weighted
    median of their point forecasts: one that goes astray does not pull it along. Futures take its
    quantiles in the order of futures that the members give in proportion to their weights, so that
    they keep the members' courses (ensemble copula coupling, Schefzik et al. 2013,
    doi:10.1214/13-STS443), drawn together by `_NARROWER`, and stay within what some member
    forecasts. The point forecast is their median, the 0.5 quantile.

    Args:
        predictions: M forecasts; one without samples gives its point forecast in their place.
        shares: (M,) weights.
        n_samples: futures; 0 for none.
    """
    points = np.stack([p.point for p in predictions])
    middle = weighted_median(points, shares)
    if n_samples < 1:
        return Prediction(middle)
    members = [p.point[None] if p.samples is None else p.samples for p in predictions]
    counts = _allotted(shares, n_samples)
    drawn = np.concatenate(
        [own[np.arange(n) * len(own) // max(n, 1)] for own, n in zip(members, counts, strict=True)]
    )
    quantiles = _mixture_quantiles(members, shares, n_samples)
    ranks = drawn.argsort(axis=0, kind="stable").argsort(axis=0, kind="stable")
    apart = np.take_along_axis(quantiles, ranks, axis=0) - np.median(quantiles, axis=0)
    moved = middle + _NARROWER * apart
    every = np.concatenate([points, *members])
    samples = np.clip(moved, every.min(axis=0), every.max(axis=0))
    return Prediction(np.median(samples, axis=0), samples)


def _mixture_quantiles(members: Sequence[FloatArray], shares: FloatArray, n: int) -> FloatArray:
    """(n, H, V) quantiles k / (n + 1) of a mixture of samples (S, H, V) with weights (M,)."""
    values = np.concatenate([own for own, s in zip(members, shares, strict=True) if s > 0])
    weights = np.concatenate(
        [np.full(len(own), s / len(own)) for own, s in zip(members, shares, strict=True) if s > 0]
    )
    weights /= weights.sum()
    # plotting positions i / (S + 1) where weights are equal, as of one member's own samples
    size = 1.0 / (weights**2).sum()
    levels = np.arange(1, n + 1) / (n + 1)
    order = np.argsort(values, axis=0, kind="stable")
    ordered, mass = np.take_along_axis(values, order, axis=0), weights[order]
    positions = ((np.cumsum(mass, axis=0) - mass / 2) * size + 0.5) / (size + 1)
    quantiles = np.empty((n, *values.shape[1:]))
    for at in np.ndindex(values.shape[1:]):
        column = (slice(None), *at)
        quantiles[column] = np.interp(levels, positions[column], ordered[column])
    return quantiles


def weighted_median(values: FloatArray, shares: FloatArray) -> FloatArray:
    """(H, V) of (M, H, V): half of the weight is not above it, half not below."""
    order = np.argsort(values, axis=0, kind="stable")
    ordered = np.take_along_axis(values, order, axis=0)
    reached = np.cumsum(shares[order], axis=0)
    low = np.argmax(reached >= 0.5 - _ROUNDING, axis=0)[None]
    high = np.argmax(reached > 0.5 + _ROUNDING, axis=0)[None]
    ends = [np.take_along_axis(ordered, at, axis=0)[0] for at in (low, high)]
    middle: FloatArray = (ends[0] + ends[1]) / 2
    return middle


def _allotted(shares: FloatArray, n: int) -> list[int]:
    """How many of n each gets: largest remainders, the first where they are equal."""
    quotas = shares * n
    counts = np.floor(quotas + 1e-9).astype(int)
    order = np.argsort(-(quotas - counts), kind="stable")
    counts[order[: n - int(counts.sum())]] += 1
    return [int(c) for c in counts]


class Hindcasts:
    """Hindcasts of histories from all of their origins, planned and priced, and not yet made.

    Args:
        forecasters: who makes those of each origin; they may have learnt from different data.
    """

    def __init__(
        self,
        forecasters: Sequence[Forecaster],
        histories: Sequence[Series],
        horizon: int,
        sampling: Sampling,
        *,
        context: int | None = None,
    ) -> None:
        self._histories = histories
        self._planned: list[tuple[list[Origin], PlannedForecasts]] = []
        for forecaster, of_one in zip(forecasters, by_origin(histories, horizon), strict=True):
            planned = forecaster.planned(
                [histories[origin.place].steps(0, origin.n_before) for origin in of_one],
                [origin.n_ahead for origin in of_one],
                forecaster.for_points(sampling),
                context=context,
                at_a_time=_AT_A_TIME,
            )
            self._planned.append((of_one, planned))
        self.n_units = sum(planned.n_units for _, planned in self._planned)
        self.price_bound = sum((planned.price_bound for _, planned in self._planned), NOTHING)

    def losses(
        self, progress: Progress | None = None
    ) -> Iterator[tuple[Part, dict[Origin, float]]]:
        """Make them; yield each part and the `loss` of each of its forecasts."""
        for origins, planned in self._planned:
            for part in planned.parts(progress):
                of_part = {}
                for place, forecast in zip(part.places, part.forecasts, strict=True):
                    origin = origins[place]
                    values = self._histories[origin.place].values
                    seen = values[: origin.n_before + origin.n_ahead]
                    of_part[origin] = loss(seen, forecast.median)
                yield part, of_part


class _Member(NamedTuple):
    """A forecaster, and what is planned for it."""

    forecaster: Forecaster
    hindcasts: Hindcasts
    forecasts: PlannedForecasts

    def result(self, n: int, patience: float | None, progress: Progress) -> _Result:
        """Make hindcasts and forecasts of n histories, as long as patience lasts."""
        losses, seconds = np.full((n, N_HINDCASTS), np.nan), 0.0
        is_rival = self.forecaster.kind == "rival"
        limit = np.inf if patience is None or not is_rival else patience * n
        for part, of_part in self.hindcasts.losses(progress):
            for origin, its_loss in of_part.items():
                losses[origin.place, origin.which] = its_loss
            seconds += part.seconds
            if seconds > limit:
                return _Result(losses, {}, seconds)
        forecasts: dict[int, Forecast] = {}
        for part in self.forecasts.parts(progress):
            forecasts |= zip(part.places, part.forecasts, strict=True)
            seconds += part.seconds
            if seconds > limit and len(forecasts) < n:
                return _Result(losses, {}, seconds)
        return _Result(losses, forecasts, seconds)


class _Result(NamedTuple):
    """Losses (n, W) of a member's hindcasts, its forecasts (none out of patience), and seconds."""

    losses: FloatArray
    forecasts: dict[int, Forecast]
    seconds: float


class Ensemble(Forecaster):
    """Forecasters in one, each weighted by its hindcasts of the history.

    Attributes:
        members: who takes part, in the order of ties.
        patience: seconds a history after which a rival is left out; None waits for all.
    """

    name, kind = NAME, KIND

    def __init__(self, members: Sequence[Forecaster], patience: float | None = None) -> None:
        self.members, self.patience = members, patience

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
        horizon = max(horizons, default=1)
        members = [
            _Member(
                member,
                Hindcasts([member] * N_HINDCASTS, histories, horizon, sampling, context=context),
                member.planned(histories, horizons, sampling, context=context, at_a_time=at_a_time),
            )
            for member in self.members
        ]
        every = [planned for m in members for planned in (m.hindcasts, m.forecasts)]
        seen = [h.last_steps(context) for h in histories]
        n_steps = [sum(n for _, n in recent_origins(len(h), horizon)) for h in histories]
        n_samples = 0 if sampling.greedy else sampling.samples
        return PlannedForecasts(
            lambda progress: self._parts(seen, n_steps, members, n_samples, progress),
            sum(planned.n_units for planned in every),
            sum((planned.price_bound for planned in every), NOTHING),
            readings=next((m.forecasts.readings for m in members if m.forecasts.readings), ()),
        )

    def _parts(
        self,
        histories: Sequence[Series],
        n_steps: Sequence[int],
        members: Sequence[_Member],
        n_samples: int,
        progress: Progress,
    ) -> Iterator[Part]:
        if not histories:
            return
        begin, n = time.perf_counter(), len(histories)
        results = {m.forecaster.name: m.result(n, self.patience, progress) for m in members}
        usable = {name: result for name, result in results.items() if result.forecasts}
        losses = np.stack([result.losses for result in usable.values()])
        shares = np.array([weights(losses[:, i], n) for i, n in enumerate(n_steps)])
        mean = dict(zip(usable, shares.mean(axis=0).tolist(), strict=True))
        by_weight = sorted(
            [
                EnsembleMember(name=name, weight=mean.get(name), seconds=result.seconds)
                for name, result in results.items()
            ],
            key=lambda member: -(member.weight or 0.0),
        )
        mixed = []
        for i, history in enumerate(histories):
            forecasts = [result.forecasts[i] for result in usable.values()]
            predictions = [
                Prediction(f.median, f.samples if n_samples else None) for f in forecasts
            ]
            forecast = pooled(predictions, shares[i], n_samples).of_series(
                history, forecasts[0].time
            )
            named = zip(usable, shares[i].tolist(), strict=True)
            mixed.append(replace(forecast, weights=dict(sorted(named, key=lambda one: -one[1]))))
        yield Part(range(n), mixed, time.perf_counter() - begin, members=by_weight)


def members_for(dataset: Dataset, season: Season = "auto") -> list[Rival]:
    """New rivals that take part in the ensemble: no one who only chooses."""
    return [r for r in default_rivals(season) if r.takes_part and not r.refusal(dataset)]
