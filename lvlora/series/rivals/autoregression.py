"""Vector autoregression on the logarithms of one history, its order chosen on that history.

Knows: one history, least squares. Does not know: other series, equations.
"""

from __future__ import annotations

from lvlora.series.rivals.nvar import Nvar


class VectorAutoregression(Nvar):
    """VAR(p): every variable is a linear function of the last p values of all of them.

    Lütkepohl (2005), New Introduction to Multiple Time Series Analysis. On logarithms of what is
    positive, else on levels. Coefficients by ridge regression; order, penalty and whether the
    history is smoothed first are chosen on the history.
    """

    name = "var on logs"
    n_lags = (1, 2, 3, 4, 6, 8, 10, 12)
    degrees = (1,)
    ridges = (1e-8, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
