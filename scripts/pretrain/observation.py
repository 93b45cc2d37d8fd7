"""What an observer notes of a series: noise, counts, rounding, gaps, uneven and missing columns.

Up to a cut a series is history, and from there it is to be forecast. What is wrong with a history
may end at the cut: a model that has seen clean continuations of noisy histories learns what the
noise hid, and one that has seen noisy ones learns how wide the noise makes an interval.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from parameters import Array, Rng, log_uniform


@dataclass(frozen=True)
class Observer:
    """How often which fault is met; each share is of the series.

    Attributes:
        noise: log-normal noise of 0.5 to 40 % on each value, in the logarithm uniform.
        counts: Poisson or negative-binomial counts of 1 to 5,000 individuals on average.
        rounding: to one to three significant digits of the largest value.
        gaps: values that are missing (singly, in blocks, every so many steps, or of one variable).
        uneven: steps left out without a trace.
        ends: of the noise, and of the gaps, the share that ends with the history.
        units: variables in units of their own.
        offset: levels far above the spread.
    """

    noise: float = 0.0
    counts: float = 0.0
    rounding: float = 0.0
    gaps: float = 0.0
    uneven: float = 0.0
    ends: float = 0.0
    units: float = 0.0
    offset: float = 0.0

    def observe(self, rng: Rng, values: Array, cut: int) -> Array:
        """What is noted of (T, V) true values, NaN where nothing is; fewer rows if uneven.

        Args:
            cut: steps of the history. With steps left out, it reaches further.
        """
        positive = bool((values >= 0).all())
        if rng.random() < self.uneven:
            values = values[rng.random(len(values)) < rng.uniform(0.75, 0.97)]
        if rng.random() < self.noise:
            values = self._noisy(rng, values, cut, positive)
        if positive and rng.random() < self.counts:
            values = counted(rng, values)
        elif rng.random() < self.rounding:
            values = rounded(values, int(rng.integers(1, 4)))
        if values.shape[1] > 1 and rng.random() < self.units:
            values = values * log_uniform(rng, 0.03, 30, values.shape[1])
        if rng.random() < self.offset:
            values = values + log_uniform(rng, 5, 200, 1) * max(float(values.std()), 1e-9)
        if rng.random() < self.gaps:
            values = self._gappy(rng, values, cut)
        return values

    def _noisy(self, rng: Rng, values: Array, cut: int, positive: bool) -> Array:
        share = log_uniform(rng, 0.005, 0.4, 1)
        shocks = rng.normal(0, 1, values.shape)
        if rng.random() < self.ends:
            shocks[cut:] = 0
        if positive:
            return np.asarray(values * np.exp(share * shocks))
        return np.asarray(values + share * values.std(axis=0) * shocks)

    def _gappy(self, rng: Rng, values: Array, cut: int) -> Array:
        missing = gaps(rng, *values.shape)
        if rng.random() < self.ends:
            missing[cut:] = False
        missing[0, missing[:cut].all(axis=0)] = False  # of each variable something is known
        return np.where(missing, np.nan, values)


def counted(rng: Rng, values: Array) -> Array:
    """Individuals: Poisson counts, of half the series with overdispersion (negative binomial)."""
    mean = values * (log_uniform(rng, 1, 5000, 1) / max(float(values.mean()), 1e-9))
    mean = np.minimum(mean, 1e7)
    if rng.random() < 0.5:
        clumping = float(log_uniform(rng, 1, 100, 1)[0])
        mean = mean * rng.gamma(clumping, 1 / clumping, mean.shape)
    return rng.poisson(mean).astype(np.float64)


def rounded(values: Array, digits: int) -> Array:
    """To so many significant digits of the largest value, as tables have them."""
    top = max(float(np.abs(values).max()), 1e-12)
    unit = 10.0 ** (np.floor(np.log10(top)) + 1 - digits)
    return np.asarray(np.round(values / unit) * unit)


def gaps(rng: Rng, n_steps: int, n_variables: int) -> np.ndarray:
    """(T, V) where nothing was noted."""
    kind = rng.random()
    if kind < 0.5:  # single values
        return rng.random((n_steps, n_variables)) < log_uniform(rng, 0.01, 0.5, 1)
    if kind < 0.65:  # whole steps
        missing = rng.random((n_steps, 1)) < log_uniform(rng, 0.01, 0.5, 1)
    elif kind < 0.85:  # blocks
        missing = np.zeros((n_steps, 1), dtype=bool)
        for _ in range(int(rng.integers(1, 5))):
            start = int(rng.integers(n_steps))
            missing[start : start + int(rng.integers(2, 12))] = True
    else:  # all but every so many steps, or one variable's
        every = int(rng.integers(2, 6))
        missing = (np.arange(n_steps)[:, None] + int(rng.integers(every))) % every == 0
        if rng.random() < 0.3:
            missing = ~missing
    of = np.ones(n_variables, dtype=bool) if rng.random() < 0.6 else rng.random(n_variables) < 0.5
    return missing & of


CLEAN = Observer(gaps=0.04, units=0.03, uneven=0.02, offset=0.02)
"""As the mixtures before: nothing wrong but a few gaps."""
SURVEYED = Observer(noise=0.9, counts=0.06, rounding=0.08, gaps=0.2, uneven=0.05, ends=0.45)
"""Of equations: noisy histories, nearly half of them with a clean future."""
COUNTED = Observer(
    noise=0.4, counts=0.4, rounding=0.25, gaps=0.15, uneven=0.1, ends=0.05, units=0.3, offset=0.05
)
"""Of populations and measurements: as files of real data are."""
NOTED = Observer(noise=0.7, ends=0.45, gaps=0.1, units=0.1)
"""Noise, but no step left out: beside a column that tells the times."""
