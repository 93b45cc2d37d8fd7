"""Quantiles of drawn futures, by one convention for every interval, score and picture.

The quantile of level p of S samples is the order statistic (S + 1) p, linearly between the two
nearest, and the least or the largest sample beyond them (Weibull's plotting position; type 6 of
Hyndman & Fan 1996, doi:10.1080/00031305.1996.10473566).

Why: where the truth is exchangeable with the samples, as it is of a forecaster that draws from the
truth's own distribution, each of the S + 1 gaps between them is as likely to hold it, so that

    P(truth <= x_(k)) = k / (S + 1)        for any continuous distribution,

and an interval between the orders (S + 1) (1 - level) / 2 and (S + 1) (1 + level) / 2 holds it with
the probability ``level``: exactly where these are whole numbers, and nearly where they lie between
two samples. numpy's usual convention (type 7) puts x_(k) at (k - 1) / (S - 1), which is for the
shape of the sample itself: its 80 % interval of 20 samples holds about 73 % of such truths.

S samples cannot bound more than their range, which holds (S - 1) / (S + 1): an interval of 80 %
takes 9 samples, one of 90 % takes 19, one of 95 % takes 39. Beyond, the range is what is given.
The median is the same in both conventions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from lvlora.data.dataset import FloatArray

METHOD: Final = "weibull"
"""numpy's name of the method."""


def of_samples(samples: FloatArray, levels: float | Sequence[float], axis: int = 0) -> FloatArray:
    """Quantiles over an axis of samples; several levels are the first axis of what is returned."""
    values = np.asarray(np.quantile(samples, levels, axis=axis, method=METHOD), dtype=np.float64)
    middle = np.asarray(levels) == 0.5
    if middle.any():  # to the last bit, as everybody takes it
        values[middle] = np.median(samples, axis=axis)
    return values


def of_function(values: FloatArray, levels: float | Sequence[float], axis: int = 0) -> FloatArray:
    """Quantiles off a quantile function that is told at even levels from 0 to 1, linearly.

    Such values are no draws: the first is the quantile of level 0 and the last that of 1.
    """
    return np.asarray(np.quantile(values, levels, axis=axis), dtype=np.float64)
