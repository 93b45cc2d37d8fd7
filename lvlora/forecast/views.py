"""Reading a history at several scales, and sharing its samples among them.

Knows: readings, samples. Does not know: models.

The model reads digits, and the same dynamics at another scale are other digits. Its errors at one
scale are partly of that scale, so the median over several is nearer to the truth than as many
samples from one (test-time augmentation; figures in docs/notes/results.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from lvlora.forecast.reading import Reading
from lvlora.forecast.sampling import Sampling
from lvlora.series.dataset import Series

_WIDEST = 1.25
"""How far the outermost scales are away; at a factor of two the bundled model's error doubles."""


def factors(n: int) -> list[float]:
    """n factors of the divisors: 1 first, the others evenly spread in the logarithm around it.

    Odd numbers are symmetric; an even one has its odd one out among the smaller numbers.
    """
    if n == 1:
        return [1.0]
    half = n // 2
    steps = sorted(range(-((n - 1) // 2), half + 1), key=abs)
    return [math.exp(k / half * math.log(_WIDEST)) for k in steps]


def read_all(
    read: Callable[[Series, float], Reading], histories: Sequence[Series], sampling: Sampling
) -> list[list[Reading]]:
    """Each history's readings, sample s with the reading s modulo their number."""
    n = min(sampling.views, sampling.n_futures)
    return [
        [
            replace(read(h, f), samples=tuple(range(v, sampling.n_futures, n)))
            for v, f in enumerate(factors(n))
        ]
        for h in histories
    ]
