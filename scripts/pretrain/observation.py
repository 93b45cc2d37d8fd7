"""Observation of a series: noise, shocks, counts, rounding, gaps, uneven and missing columns.

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
        shocks: outliers, changes that fade, and steps.
        ends: noise, counts and rounding that end with the history; apart from them, gaps that do.
        units: variables in units of their own.
        offset: levels far above the spread.
    """

    noise: float = 0.0
    counts: float = 0.0
    rounding: float = 0.0
    gaps: float = 0.0
    uneven: float = 0.0
    shocks: float = 0.0
    ends: float = 0.0
    units: float = 0.0
    offset: float = 0.0

    def observe(self, rng: Rng, values: Array, cut: int, *, clean_future: bool = False) -> Array:
        """Return what is noted of (T, V) true values: NaN for nothing, fewer rows if uneven.

        Args:
            cut: steps of the history. With steps left out, it reaches further.
            clean_future: noise, counts and rounding always end with the history.
        """
        positive = bool((values >= 0).all())
        if rng.random() < self.uneven:
            values = values[rng.random(len(values)) < rng.uniform(0.75, 0.97)]
        if rng.random() < self.shocks:
            values = shocked(rng, values, positive)
        noted = self._noisy(rng, values, positive) if rng.random() < self.noise else values
        if positive and rng.random() < self.counts:
            unit = count_unit(rng, noted)
            noted, values = counted(rng, noted * unit), values * unit
        elif rng.random() < self.rounding:
            noted = rounded(noted, int(rng.integers(1, 4)))
        if clean_future or rng.random() < self.ends:
            noted = np.concatenate([noted[:cut], values[cut:]])
        if noted.shape[1] > 1 and rng.random() < self.units:
            noted = noted * log_uniform(rng, 0.03, 30, noted.shape[1])
        if rng.random() < self.offset:
            noted = noted + log_uniform(rng, 5, 200, 1) * max(float(noted.std()), 1e-9)
        if rng.random() < self.gaps:
            noted = self._gappy(rng, noted, cut)
        return noted

    @staticmethod
    def _noisy(rng: Rng, values: Array, positive: bool) -> Array:
        share = log_uniform(rng, 0.005, 0.4, 1)
        noise = rng.normal(0, 1, values.shape)
        if positive:
            return np.asarray(values * np.exp(share * noise))
        return np.asarray(values + share * values.std(axis=0) * noise)

    def _gappy(self, rng: Rng, values: Array, cut: int) -> Array:
        missing = gaps(rng, *values.shape)
        if rng.random() < self.ends:
            missing[cut:] = False
        missing[0, missing[:cut].all(axis=0)] = False  # of each variable something is known
        return np.where(missing, np.nan, values)


def count_unit(rng: Rng, values: Array) -> float:
    """Return the factor after which the mean is 1 to 5,000 individuals."""
    return float(log_uniform(rng, 1, 5000, 1)[0]) / max(float(values.mean()), 1e-9)


def counted(rng: Rng, mean: Array) -> Array:
    """Draw Poisson counts of a mean, for half of the series clumped (negative binomial)."""
    mean = np.minimum(mean, 1e7)
    if rng.random() < 0.5:
        clumping = float(log_uniform(rng, 1, 100, 1)[0])
        mean = mean * rng.gamma(clumping, 1 / clumping, mean.shape)
    return rng.poisson(mean).astype(np.float64)


def shocked(rng: Rng, values: Array, positive: bool) -> Array:
    """Add one to three shocks: an outlier, a change that fades, or a step that stays.

    Source: the outliers of Chen & Liu 1993, doi:10.1080/01621459.1993.10594321. Positive series
    are multiplied, so that they stay positive.
    """
    course = np.zeros_like(values)
    spread = 1.0 if positive else np.maximum(values.std(axis=0), 1e-9)
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(len(values)))
        age = np.arange(len(values) - at)[:, None]
        share_kept = float(rng.choice([0.0, float(rng.uniform(0.5, 0.95)), 1.0]))
        height = rng.normal(0, 0.8, (1, values.shape[1])) * (rng.random(values.shape[1]) < 0.7)
        course[at:] += share_kept**age * height
    return np.asarray(values * np.exp(course) if positive else values + 2 * spread * course)


def rounded(values: Array, digits: int) -> Array:
    """Round to significant digits of the largest value, and never more coarsely than the spread."""
    top = max(float(np.abs(values).max()), 1e-12)
    spread = max(float(values.std(axis=0).max()), 1e-12)
    unit = 10.0 ** np.floor(min(np.log10(top) + 1 - digits, np.log10(spread)))
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
"""Nothing wrong but a few gaps."""
SURVEYED = Observer(noise=0.9, counts=0.06, rounding=0.08, gaps=0.2, uneven=0.05, ends=0.45)
"""Equations: noisy histories, nearly half of them with a clean future."""
COUNTED = Observer(
    noise=0.4,
    counts=0.4,
    rounding=0.25,
    gaps=0.15,
    uneven=0.1,
    shocks=0.08,
    ends=0.05,
    units=0.3,
    offset=0.05,
)
"""Populations with process and observation noise."""
RECORDED = Observer(rounding=0.3, gaps=0.1, shocks=0.12, units=0.3, offset=0.03)
"""Generators whose noise is their own: files of measurements."""
NOTED = Observer(noise=0.7, ends=0.45, gaps=0.1, units=0.1)
"""Noise, but no step left out: beside a column that tells the times."""
