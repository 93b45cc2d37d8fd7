"""Simulated series that are like given ones in size, noise and gaps: for training beside them.

Where a data set has few series, a model that is tuned on them alone learns them by heart. Series of
`simulate` beside them keep it to what trajectories do in general.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lvlora.data.dataset import Dataset, FloatArray, Series
from lvlora.data.simulate import SYSTEMS, VARIABLES, observe, simulate_series

MOST_STEPS = 256
"""The most steps of a simulated series; longer ones take long, and are cut into windows anyway."""
_MOST_NOISE = 0.9
"""Share of the spread that noise is at most: there is to be a course beneath it."""
_TIME_STEPS = (1.0, 4.0)
"""Time units between two samples: a cycle of 44 has 11 to 44 of them."""


@dataclass(frozen=True)
class Likeness:
    """Properties that simulated series take over from real ones.

    Attributes:
        n_variables, n_steps: of each.
        noise: standard deviation of the noise by that of all that is seen, 0 to 0.9.
        gaps: share of values that are missing.
    """

    n_variables: int
    n_steps: int
    noise: float
    gaps: float

    @classmethod
    def to(cls, dataset: Dataset) -> Likeness:
        """As many variables, as long as the longest series, as noisy and with as many gaps.

        Noise is what a value differs from the mean of its neighbours by (`noise_share`), of the
        median variable of the median series.
        """
        known = [np.isfinite(s.values) for s in dataset if len(s)]
        shares = [share for s in dataset for share in _shares(s.values)]
        return cls(
            len(dataset.variables),
            min(max((len(s) for s in dataset), default=1), MOST_STEPS),
            min(float(np.median(shares)), _MOST_NOISE) if shares else 0.0,
            1.0 - sum(float(k.sum()) for k in known) / max(sum(k.size for k in known), 1),
        )

    def series(self, seed: int, index: int) -> Series:
        """Number ``index`` of the endless data set that ``seed`` stands for, (T, V).

        Its variables are species of as many predator-prey systems as it needs, in any order: one
        variable is a prey or a predator alone. The systems, their parameters and the time between
        two samples are drawn anew for each series; noise is multiplicative and log-normal.

        Raises:
            NumericalError: none of ten draws of a system could be integrated.
        """
        rng = np.random.default_rng((seed, 3, index))
        n_systems = -(-self.n_variables // len(VARIABLES))
        low, high = np.log(_TIME_STEPS)
        time = np.arange(self.n_steps) * np.exp(rng.uniform(low, high))
        names = sorted(SYSTEMS)
        both = [
            simulate_series(
                SYSTEMS[names[rng.integers(len(names))]], time, seed, index * n_systems + i
            ).values
            for i in range(n_systems)
        ]
        order = rng.permutation(n_systems * len(VARIABLES))[: self.n_variables]
        values = np.concatenate(both, axis=1)[:, order]
        factor = self.noise / np.sqrt(1.0 - self.noise**2)
        seen = [
            observe(values[:, [v]], rng, noise=factor * float(np.log(values[:, v]).std()))
            for v in range(self.n_variables)
        ]
        return Series(str(index), time, observe(np.concatenate(seen, axis=1), rng, gaps=self.gaps))


def noise_share(values: FloatArray) -> float:
    """The standard deviation of the noise by that of all, from 0 to 1 and more for zigzags.

    Of three neighbours, the middle one differs from the mean of the others by noise of 1.5 times
    its variance, and by the curvature of the course (Gasser, Sroka and Jennen-Steinmetz 1986,
    doi:10.1093/biomet/73.3.625), so that a coarsely sampled course counts as noise, too.

    Args:
        values: (T,) without gaps, at even times.

    Returns:
        the share; 0 for fewer than three values, and for a constant.
    """
    spread = float(values.std()) if len(values) else 0.0
    if len(values) < 3 or spread <= 1e-12 * float(np.abs(values).max()):
        return 0.0
    residuals = values[1:-1] - (values[:-2] + values[2:]) / 2
    return float(np.sqrt(np.mean(residuals**2) / 1.5)) / spread


def _shares(values: FloatArray) -> Iterator[float]:
    """Yield each variable's share, in logs where all values are positive; gaps are closed up."""
    for column in values.T:
        known = column[np.isfinite(column)]
        if len(known) > 2:
            yield noise_share(np.log(known) if (known > 0).all() else known)
