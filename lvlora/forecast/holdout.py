"""Steps that are set aside: the truth that a forecast is held to, and how near it came."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lvlora.data.dataset import Dataset, FloatArray, Series
from lvlora.data.histories import cut
from lvlora.data.metrics.measures import Errors
from lvlora.data.metrics.scores import score
from lvlora.data.seasons import seasons_of, seasons_used
from lvlora.errors import DataError
from lvlora.forecast.answers import HoldoutScores, RivalScores
from lvlora.forecast.forecast import Forecast
from lvlora.forecast.likelihood import Score
from lvlora.settings.base import Season

_FEW = 16
"""Series whose forecasts are held against all quick rivals; more, against the naive ones."""
_LEFT_OUT = {"median_series_mae"}
"""A table of one forecast has no need of it."""


@dataclass(frozen=True)
class Truth:
    """The true future.

    Attributes:
        futures: of each series, H steps; nll: (H, V) negative log-likelihood of each of its values,
            None where the forecaster has none.
    """

    futures: Sequence[Series]
    nll: Sequence[FloatArray] | None = None

    @property
    def columns(self) -> list[Mapping[str, FloatArray]]:
        """Further columns of a table of forecasts, for each series: ``truth`` and ``nll``."""
        if self.nll is None:
            return [{"truth": f.values} for f in self.futures]
        return [{"truth": f.values, "nll": n} for f, n in zip(self.futures, self.nll, strict=True)]


def hold_out(dataset: Dataset, n_held: int, n_steps: int) -> tuple[Dataset, list[Series]]:
    """The series without their last ``n_held`` steps, and the first ``n_steps`` of those.

    Raises:
        DataError: a series is too short, or none of its held-out values is known.
    """
    for series in dataset:
        if len(series) <= n_held:
            raise DataError(
                f"--holdout {n_held}: series {series.id!r} has {len(series)} steps, which leaves "
                "no history",
                "Hold fewer steps out; --series names the series to take.",
            )
    cuts = [cut(s, len(s) - n_held, n_steps) for s in dataset]
    futures = [c.future for c in cuts]
    if not any(np.isfinite(f.values).any() for f in futures):
        raise DataError(
            f"--holdout {n_held}: every value held out is missing", "Hold other steps out."
        )
    return replace(dataset, series=tuple(c.history for c in cuts)), futures


def scores(
    histories: Sequence[Series],
    truth: Truth,
    forecasts: Sequence[Forecast],
    quantiles: Sequence[float],
    season: Season = "auto",
) -> HoldoutScores:
    """How near forecasts came to the truth, beside rivals that cost next to nothing."""
    # not for forecasts without a truth
    from lvlora.forecast.rivals import naive_rivals, quick_rivals, rivals_for

    periods = np.stack([seasons_of(h, season) for h in histories])
    names = tuple(f"v{i}" for i in range(histories[0].values.shape[1]))
    seen = Dataset(tuple(histories), names)
    plain = quick_rivals(season) if len(histories) <= _FEW else naive_rivals(season)
    rivals, _ = rivals_for(seen, every=plain)
    for rival in rivals:
        rival.fit(seen, min(map(len, histories)), max(map(len, truth.futures)))
    beside = [
        RivalScores(
            name=rival.name,
            **_errors(
                np.stack([f.values for f in truth.futures]),
                histories,
                np.stack(
                    [
                        rival.forecast(np.concatenate([h.time, f.time]), h.values)
                        for h, f in zip(histories, truth.futures, strict=True)
                    ]
                ),
                periods,
            ).model_dump(exclude=_LEFT_OUT),
        )
        for rival in rivals
    ]
    values = np.stack([f.values for f in truth.futures])
    samples = np.stack([f.samples for f in forecasts])
    several = samples.shape[1] > 1
    pairs = central_pairs(quantiles) if several else []
    likelihood = None if truth.nll is None else Score.of(truth.nll)
    point = np.stack([f.median for f in forecasts])
    own = _errors(values, histories, point, periods, samples if several else None, quantiles)
    nearest = min(beside, key=_error)
    return HoldoutScores(
        **own.model_dump(exclude=_LEFT_OUT),
        coverage={
            f"{round(high - low, 10):g}": share_inside(values, forecasts, (low, high))
            for low, high in pairs
        },
        nll=None if likelihood is None else likelihood.per_dimension,
        nll_possible=None if likelihood is None else likelihood.possible,
        nll_impossible=None if likelihood is None else likelihood.n_impossible,
        n_values=int(np.isfinite(values).sum()),
        rivals=beside,
        mase_season=seasons_used(np.round(periods).tolist()),
        nearer=nearest.name if _error(nearest) < _error(own) else None,
    )


def _error(errors: Errors) -> float:
    """The scaled error, in which variables of any size count alike, where it is defined."""
    return next((e for e in (errors.mase, errors.mae) if e is not None), math.inf)


def _errors(
    truth: FloatArray,
    histories: Sequence[Series],
    point: FloatArray,
    periods: FloatArray,
    samples: FloatArray | None = None,
    quantiles: Sequence[float] = (),
) -> Errors:
    """Return the scores of a forecaster against the truth (n, H, V)."""
    history = [s.values for s in histories]
    return score(
        truth, point, history=history, periods=periods, quantiles=quantiles, samples=samples
    ).errors


def central_pairs(quantiles: Sequence[float]) -> list[tuple[float, float]]:
    """The pairs of quantiles that are as far from either end."""
    ordered = sorted(quantiles)
    return [
        (low, high)
        for low in ordered
        for high in ordered
        if low < 0.5 < high and abs(low + high - 1) < 1e-9
    ]


def bands_of(
    forecast: Forecast, levels: Sequence[float]
) -> dict[tuple[float, float], tuple[FloatArray, FloatArray]]:
    """Return the quantiles of each pair of levels that are as far from either end, (H, V) each."""
    if len(forecast.samples) < 2:
        return {}
    return {
        pair: (forecast.quantile(pair[0]), forecast.quantile(pair[1]))
        for pair in central_pairs(levels)
    }


def share_inside(
    truth: FloatArray, forecasts: Sequence[Forecast], ends: tuple[float, float]
) -> float:
    """Return the share of the known truths (n, H, V) between two quantiles; NaN without any."""
    low, high = (np.stack([f.quantile(q) for f in forecasts]) for q in ends)
    known = ~np.isnan(truth)
    inside = (truth >= low) & (truth <= high)
    return float(inside[known].mean()) if known.any() else float("nan")
