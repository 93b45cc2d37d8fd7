"""The learning rate of each step: pure functions of the step's number.

Knows: warm-up and shapes. Does not know: optimisers.
"""

from __future__ import annotations

import math

from lvlora.settings.training import Schedule

_ONE_CYCLE_START = 1 / 25
_ONE_CYCLE_END = 1e-4
_COSINE_END = 0.1


def learning_rate(step: int, n_steps: int, peak: float, warmup: float, schedule: Schedule) -> float:
    """The rate of ``step`` (from 0) in a run of ``n_steps``.

    - cosine: linear warm-up, then half a cosine down to a tenth of the peak (Loshchilov & Hutter
      2016, arXiv:1608.03983).
    - one-cycle: cosine up from peak/25, cosine down to peak/10,000 (Smith & Topin 2017,
      arXiv:1708.07120).
    - constant: linear warm-up, then the peak.

    Args:
        warmup: share of the steps in which the rate rises.
    """
    rising = round(warmup * n_steps)
    if step < rising:
        if schedule == "one-cycle":
            way = (step + 1) / rising
            return peak * _between(_ONE_CYCLE_START, 1.0, 0.5 - 0.5 * math.cos(math.pi * way))
        return peak * (step + 1) / rising
    if schedule == "constant":
        return peak
    way = (step - rising) / max(1, n_steps - rising)
    end = _ONE_CYCLE_END if schedule == "one-cycle" else _COSINE_END
    return peak * _between(end, 1.0, 0.5 + 0.5 * math.cos(math.pi * way))


def _between(low: float, high: float, part: float) -> float:
    return low + (high - low) * part
