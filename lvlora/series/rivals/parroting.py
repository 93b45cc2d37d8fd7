"""Context parroting: find where the history did what it does now, and repeat what came after."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lvlora.series.dataset import FloatArray
from lvlora.series.rivals.parts.delay_maps import DelayMap, Step
from lvlora.series.rivals.parts.linear import count_product

_NEIGHBOURS = (1, 2, 4, 8)


class ContextParroting(DelayMap):
    """Zhang & Gilpin (2025), "Context parroting", arXiv:2505.11349, with simplex neighbours.

    The last D steps of all variables are the query. Among all earlier stretches of D steps the
    nearest (Euclidean) are taken, weighted by exp(-distance / nearest distance) (Sugihara & May
    1990, doi:10.1038/344734a0); what followed them comes next, either as values or as changes.
    That step is appended, and the search repeats. D, the number of neighbours, which of the two is
    copied, and whether the history is smoothed first are chosen on the history; variables have
    unit variance, as logarithms where they are positive.
    """

    name = "context parroting"
    speed: str = "quick"
    n_lags = (1, 2, 3, 4, 6, 8)

    def own_settings(
        self, n_lags: int, n_known: int, n_variables: int, n_inputs: int
    ) -> list[tuple[int, bool]]:
        """Neighbours, and whether changes are copied."""
        return [
            (n, changes)
            for n in _NEIGHBOURS
            if n <= max(1, n_known - n_lags)
            for changes in (False, True)
        ]

    def learnt(
        self, states: FloatArray, changes: FloatArray, own: Sequence[tuple[int, bool]]
    ) -> Step:
        """See `DelayMap.learnt`."""
        n_variables = changes.shape[1]
        n_neighbours = np.array([n for n, _ in own])
        copies = np.array([as_changes for _, as_changes in own])
        most = min(int(n_neighbours.max()), len(states))

        def step(state: FloatArray) -> FloatArray:
            distance = np.sqrt(np.sum((state[:, None] - states) ** 2, axis=2))
            count_product(len(state) * len(states), states.shape[1], 1)
            nearest = np.argsort(distance, axis=1, kind="stable")[:, :most]
            near = np.take_along_axis(distance, nearest, axis=1)
            unit = np.maximum(near[:, :1], np.finfo(float).tiny)
            weights = np.exp(-np.minimum(near / unit, 700.0))
            weights *= np.arange(most) < n_neighbours[:, None]
            weights /= weights.sum(axis=1, keepdims=True)
            change = np.sum(weights[:, :, None] * changes[nearest], axis=1)
            where = np.sum(weights[:, :, None] * states[nearest, :n_variables], axis=1)
            count_product(2 * n_variables, most, 1, len(state))
            there = where - state[:, :n_variables]
            return np.asarray(np.where(copies[:, None], change, change + there))

        return step
