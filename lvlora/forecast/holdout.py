"""Steps that are set aside, or forecast once more: how near a forecast comes to the truth."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lvlora.data.dataset import Dataset, FloatArray, Series
from lvlora.data.metrics import Errors, Scores
from lvlora.data.metrics.scores import score
from lvlora.data.seasons import seasons_of, seasons_used
from lvlora.data.splits import cut
from lvlora.errors import DataError
from lvlora.forecast.answers import HindcastScores, HoldoutScores, RivalScores
from lvlora.forecast.forecast import Forecast
from lvlora.forecast.forecaster import Forecaster, PlannedForecasts, in_order
from lvlora.forecast.likelihood import Score
from lvlora.forecast.sampling import Sampling
from lvlora.settings.base import Season

_FEW = 16
"""Series whose forecasts are held against all quick rivals; more, against the naive ones."""
CHEAP = 5 * 10**11
"""The most FLOPs of a hindcast that nobody asked for: six seconds of a core by the bundled model.
"""
_SHOWN = set(Errors.model_fields) - {"median_series_mae"}
"""A table of one forecast has no need of that one."""


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
    histories: Dataset,
    truth: Truth,
    forecasts: Sequence[Forecast],
    quantiles: Sequence[float],
    season: Season = "auto",
) -> HoldoutScores:
    """How near forecasts came to the truth, beside rivals that cost next to nothing."""
    # not for forecasts without a truth
    from lvlora.forecast.rivals import naive_rivals, quick_rivals, rivals_for
    from lvlora.forecast.rivals.contract import GREEDY

    values = np.stack([f.values for f in truth.futures])
    seen = [s.values for s in histories]
    periods = np.stack([seasons_of(s, season) for s in histories])

    def scored(
        forecasts: Sequence[Forecast], samples: FloatArray | None = None
    ) -> tuple[dict[str, Any], Scores]:
        point = np.stack([f.median for f in forecasts])
        result = score(
            values, point, history=seen, periods=periods, quantiles=quantiles, samples=samples
        )
        return result.model_dump(include=_SHOWN), result

    plain = quick_rivals(season) if len(histories) <= _FEW else naive_rivals(season)
    rivals, _ = rivals_for(histories, every=plain)
    alone = [replace(s, known=None) for s in histories]
    beside = []
    for rival in rivals:
        parts = rival.planned(alone, [values.shape[1]] * len(alone), GREEDY).parts()
        beside.append(RivalScores(name=rival.name, **scored(in_order(parts))[0]))
    samples = np.stack([f.samples for f in forecasts])
    own, result = scored(forecasts, samples if samples.shape[1] > 1 else None)
    likelihood = None if truth.nll is None else Score.of(truth.nll)
    nearest = min(beside, key=_error)
    return HoldoutScores(
        **own,
        coverage=result.coverage,
        nll=None if likelihood is None else likelihood.per_dimension,
        nll_possible=None if likelihood is None else likelihood.possible,
        nll_impossible=None if likelihood is None else likelihood.n_impossible,
        n_values=result.n_values,
        rivals=beside,
        mase_season=seasons_used(np.round(periods).tolist()),
        nearer=nearest.name if _error(nearest) < _error(result) else None,
    )


@dataclass(frozen=True)
class Hindcast:
    """A forecast of the history's own last steps, planned and not yet made.

    Attributes:
        histories: without these steps.
        futures: these steps, of each series.
    """

    histories: Dataset
    futures: list[Series]
    planned: PlannedForecasts

    @classmethod
    def plan(
        cls,
        forecaster: Forecaster,
        data: Dataset,
        n_steps: int,
        sampling: Sampling,
        *,
        context: int | None = None,
    ) -> Hindcast | None:
        """Plan one of as many steps as the forecast, at most a quarter of the shortest history.

        Returns:
            None where a history is too short for one, or does not know its last steps.
        """
        # not for forecasts that are told the truth
        from lvlora.forecast.rivals.parts.futures import recent_origins

        origins = recent_origins(min(len(series) for series in data), n_steps)
        if not origins:
            return None
        n_ahead = origins[-1][1]
        try:
            histories, futures = hold_out(data, n_ahead, n_ahead)
            planned = forecaster.planned(
                histories.series, [n_ahead] * len(futures), sampling, context=context
            )
        except DataError:  # nothing is known of the end, or not enough of what is left
            return None
        return cls(histories, futures, planned)

    def scored(
        self, forecasts: Sequence[Forecast], quantiles: Sequence[float], season: Season
    ) -> HindcastScores:
        """Return how near it came, beside plain forecasters."""
        result = scores(self.histories, Truth(self.futures), forecasts, quantiles, season)
        return HindcastScores(**dict(result), steps=len(self.futures[0]))


def _error(errors: Errors) -> float:
    """The scaled error, in which variables of any size count alike, where it is defined."""
    return next((e for e in (errors.mase, errors.mae) if e is not None), math.inf)
