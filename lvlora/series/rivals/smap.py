"""S-map: a linear map fitted anew at every step, to the states most like the present one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lvlora.series.dataset import FloatArray
from lvlora.series.rivals.parts.delay_maps import DelayMap, Step
from lvlora.series.rivals.parts.linear import count_product, product, solved

_THETAS = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)
_RIDGES = (1e-8, 1e-6, 1e-4, 1e-2)
_NEAR = 1e-12


class SMap(DelayMap):
    """Sugihara (1994), "Nonlinear forecasting for the classification of natural time series".

    doi:10.1098/rsta.1994.0106. The change of all variables is linear in their last E steps, by
    least squares whose rows have weights exp(-theta d / mean d), where d is the distance of a
    state from the present one. theta 0 is an autoregression, a large one sees neighbours only.
    theta, E, a small ridge and whether the history is smoothed first are chosen on the history; on
    logarithms of what is positive.
    """

    name = "s-map"
    n_lags = (1, 2, 3, 4)

    def own_settings(
        self, n_lags: int, n_known: int, n_variables: int, n_inputs: int
    ) -> list[tuple[float, float]]:
        """theta and the ridge; states need more steps than a map has coefficients, or nearly."""
        if n_lags > 1 and n_lags * n_variables + 1 > n_known - n_lags:
            return []
        return [(theta, penalty) for theta in _THETAS for penalty in _RIDGES]

    def learnt(
        self, states: FloatArray, changes: FloatArray, own: Sequence[tuple[float, float]]
    ) -> Step:
        """See `DelayMap.learnt`."""
        theta, penalty = (np.array(each) for each in zip(*own, strict=True))
        n, n_variables = changes.shape
        x = np.hstack([np.ones((n, 1)), states])
        n_terms = x.shape[1]
        # each state's share of the normal equations, (n, terms (terms + variables))
        targets = np.hstack([x, changes])
        shares = (x[:, :, None] * targets[:, None, :]).reshape(n, -1)
        ridges = penalty[:, None, None] * np.eye(n_terms)

        def step(state: FloatArray) -> FloatArray:
            distance = np.sqrt(np.sum((state[:, None] - states) ** 2, axis=2))
            count_product(len(state) * n, states.shape[1], 1)
            mean = np.maximum(distance.mean(axis=1, keepdims=True), _NEAR)
            # each row of the regression gets the weight, so its square enters with the weight's
            weights = np.exp(-2 * theta[:, None] * distance / mean)
            weights /= weights.sum(axis=1, keepdims=True)
            normal = product(weights, shares).reshape(-1, n_terms, n_terms + n_variables)
            coefficients = solved(normal[..., :n_terms] + ridges, normal[..., n_terms:])
            now = np.hstack([np.ones((len(state), 1)), state])
            return product(now[:, None, :], coefficients)[:, 0]

        return step
