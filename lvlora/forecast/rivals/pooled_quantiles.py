"""One quantile regression for all series, learnt on their histories."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from lvlora.data.dataset import Dataset, FloatArray
from lvlora.forecast.rivals.contract import EachByItself, OwnDistribution, Variable
from lvlora.forecast.rivals.futures import recent_origins, stream
from lvlora.forecast.rivals.standardising import standardised

_LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)
_LAGS = 5
_RECENT = 10
_LEAST_HISTORIES = 5
_MOST_ROWS = 12_000
_LONGEST_LEARNT = 100
"""Steps ahead that are learnt; later ones are forecast as the last of these."""
_ITERATIONS, _LEAVES, _LEAST_ROWS_OF_A_LEAF = 60, 8, 25


class PooledQuantiles(EachByItself):
    """Gradient boosting of five quantiles, with one model for all histories and steps ahead.

    A row is a variable of a history at one of its steps, and a number of steps ahead: the last
    changes, the recent and the whole mean, the value one season before the target, and the steps
    ahead. Its target is the change until then. All are in standard deviations of the variable's
    own history, on logarithms of what is positive. The idea won the M5 competition (Makridakis et
    al. 2022, doi:10.1016/j.ijforecast.2021.11.013). Futures have one quantile at all steps.
    """

    name = "pooled quantiles"
    uses_season = True
    learns = True
    max_samples = 200

    def __init__(self) -> None:
        self._models: list[Any] = []
        self._longest = 0
        self._train: Dataset | None = None
        self._horizon = 0
        self._before: PooledQuantiles | None = None

    def refusal(self, dataset: Dataset) -> str:
        """See `Rival.refusal`: too few histories to learn from."""
        long = sum(len(s) >= 2 * self.fewest for s in dataset)
        if long * len(dataset.variables) >= _LEAST_HISTORIES:
            return ""
        return f"it learns from at least {_LEAST_HISTORIES} histories of {2 * self.fewest} steps"

    def before(self) -> OwnDistribution:
        """See `OwnDistribution.before`; learnt when futures are first asked for."""
        if self._train is None:
            return self
        if self._before is None:
            parts = [
                series.steps(0, at[0][0])
                for series in self._train
                if (at := recent_origins(len(series), self._horizon))
            ]
            self._before = PooledQuantiles()
            self._before.season = self.season
            self._before.fit(replace(self._train, series=tuple(parts)), self._horizon)
        return self._before if self._before._models else self

    def fit(self, train: Dataset, horizon: int) -> None:
        """Learn from all steps of the series; too few of them leave it unfitted."""
        from sklearn.base import clone
        from sklearn.ensemble import HistGradientBoostingRegressor

        self._train, self._horizon, self._before = train, horizon, None
        self._models = []
        self._longest = min(horizon, _LONGEST_LEARNT)
        rows, targets = [], []
        each = max(_MOST_ROWS // max(len(train) * len(train.variables), 1), 20)
        rng = stream("pooled quantiles")
        for series in train:
            if len(series) < 2 * self.fewest:
                continue
            scaled = standardised(series.time, series.values)
            periods, columns = (
                self.whole_seasons(series.time, scaled.filled),
                scaled.problem.values.T,
            )
            for values, season in zip(columns, periods, strict=True):
                origins = rng.integers(self.fewest - 1, len(values) - 1, each)
                ahead = rng.integers(1, self._longest + 1, each)
                inside = origins + ahead < len(values)
                origins, ahead = origins[inside], ahead[inside]
                rows.append(_features(values, origins, ahead, season))
                targets.append(values[origins + ahead] - values[origins])
        if not rows or sum(map(len, rows)) < 4 * _LEAST_ROWS_OF_A_LEAF:
            return
        features, changes = np.concatenate(rows), np.concatenate(targets)
        # scikit-learn refuses a column without a number, here the season where none has one
        features[:, np.isnan(features).all(axis=0)] = 0.0
        boosting = HistGradientBoostingRegressor(
            loss="quantile",
            max_iter=_ITERATIONS,
            max_leaf_nodes=_LEAVES,
            min_samples_leaf=_LEAST_ROWS_OF_A_LEAF,
            early_stopping=False,
            random_state=0,
        )
        models = [clone(boosting).set_params(quantile=level) for level in _LEVELS]
        self._models = [model.fit(features, changes) for model in models]

    def longest_season(self, n_steps: int) -> int:
        return n_steps - 1

    def continued(self, of: Variable, n_samples: int, rng: np.random.Generator) -> FloatArray:
        """See `EachByItself.continued`; unfitted, it is the last value."""
        from scipy.special import ndtri

        paths = np.full((1 + n_samples, of.n_ahead), of.values[-1])
        if self._models:
            ahead = np.minimum(np.arange(1, of.n_ahead + 1), self._longest)
            origin = np.full(of.n_ahead, len(of.values) - 1)
            features = _features(of.values, origin, ahead, of.season)
            changes = np.sort(np.stack([m.predict(features) for m in self._models]), axis=0)
            knots = ndtri(np.array(_LEVELS))
            paths[0] += changes[len(_LEVELS) // 2]
            for path, rank in zip(paths[1:], ndtri(rng.random(n_samples)), strict=True):
                path += _between(rank, knots, changes)
        return paths


def _features(
    values: FloatArray, origins: np.ndarray[Any, Any], ahead: np.ndarray[Any, Any], season: int
) -> FloatArray:
    """(N, F) of N steps of a variable, from nothing that is later than they are."""
    last = values[origins]
    lags = [last - values[origins - lag] for lag in range(1, _LAGS + 1)]
    sums = np.concatenate([[0.0], np.cumsum(values)])
    begin = np.maximum(origins + 1 - _RECENT, 0)
    recent = (sums[origins + 1] - sums[begin]) / (origins + 1 - begin)
    overall = sums[origins + 1] / (origins + 1)
    seasonal = np.full(len(origins), np.nan)
    if season > 1:
        before = origins + ahead - season * -(-ahead // season)
        there = before >= 0
        seasonal[there] = values[before[there]] - last[there]
    return np.stack([*lags, last - recent, last - overall, seasonal, ahead, last], axis=1)


def _between(rank: float, knots: FloatArray, changes: FloatArray) -> FloatArray:
    """(H,) quantiles at a standard normal rank, linearly between and beyond the knots (Q, H)."""
    place = int(np.clip(np.searchsorted(knots, rank), 1, len(knots) - 1))
    share = (rank - knots[place - 1]) / (knots[place] - knots[place - 1])
    return np.asarray(changes[place - 1] + share * (changes[place] - changes[place - 1]))
