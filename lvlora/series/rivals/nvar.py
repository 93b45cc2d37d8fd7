"""Vector autoregressions of one history: linear, and with polynomials of the last few steps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lvlora.series.dataset import FloatArray
from lvlora.series.rivals.parts.delay_maps import DelayMap, Step
from lvlora.series.rivals.parts.linear import product, ridge
from lvlora.series.rivals.parts.polynomials import evaluated, monomials, n_monomials

_RIDGES = (1e-10, 1e-8, 1e-6, 1e-4, 1e-3, 1e-2, 1e-1)


class Nvar(DelayMap):
    """Gauthier, Bollt, Griffith & Barbosa (2021), "Next generation reservoir computing".

    doi:10.1038/s41467-021-25801-2. The change of all variables is a polynomial of degree 2 or 3 of
    their last one to three steps and of known columns, by ridge regression (arXiv:2505.00846 on why
    it is needed). Lags, degree, penalty and whether the history is smoothed first are chosen on the
    history; on logarithms of what is positive.
    """

    name = "nvar"
    uses_known = True
    degrees: tuple[int, ...] = (2, 3)
    ridges: tuple[float, ...] = _RIDGES

    def own_settings(
        self, n_lags: int, n_known: int, n_variables: int, n_inputs: int
    ) -> list[tuple[int, float]]:
        """Degree and penalty; at most about 1.5 times as many products as steps."""
        return [
            (degree, penalty)
            for degree in self.degrees
            if n_monomials(n_lags * n_variables + n_inputs, degree) <= 1.5 * n_known + 10
            for penalty in self.ridges
        ]

    def learnt(
        self, states: FloatArray, changes: FloatArray, own: Sequence[tuple[int, float]]
    ) -> Step:
        """See `DelayMap.learnt`."""
        products = monomials(states.shape[1], max(degree for degree, _ in own))
        weights = np.zeros((len(own), len(products), changes.shape[1]))
        features = evaluated(states, products)
        for degree in {degree for degree, _ in own}:
            which = [i for i, (d, _) in enumerate(own) if d == degree]
            used = n_monomials(states.shape[1], degree)
            penalties = np.array([own[i][1] for i in which])
            weights[which, :used] = ridge(features[:, :used], changes, penalties)

        def step(state: FloatArray) -> FloatArray:
            return product(evaluated(state, products)[:, None, :], weights)[:, 0]

        return step


class VectorAutoregression(Nvar):
    """VAR(p): every variable is a linear function of the last p values of all of them.

    Lütkepohl (2005), New Introduction to Multiple Time Series Analysis. On logarithms of what is
    positive, else on levels. Coefficients by ridge regression; order, penalty and whether the
    history is smoothed first are chosen on the history.
    """

    name = "var on logs"
    speed = "quick"
    n_lags = (1, 2, 3, 4, 6, 8, 10, 12)
    degrees = (1,)
    ridges = (1e-8, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
