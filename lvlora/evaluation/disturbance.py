"""Poorer histories: noisier or less complete data than those that are scored."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from lvlora.answers import Shape

if TYPE_CHECKING:
    from lvlora.data.dataset import Dataset, Series


class Disturbance(Shape):
    """Poorer histories than the data have; what is to be forecast stays as it is."""

    noise: float
    """Standard deviation of the log of a multiplicative log-normal factor (median 1)."""
    gaps: float
    """Probability with which each value is missing."""
    seed: int
    """Seed of noise and gaps; each series draws its own, by its name."""

    def __bool__(self) -> bool:
        return bool(self.noise or self.gaps)

    def of(self, history: Series) -> Series:
        """Return a disturbed history; a variable never loses all of its values."""
        import numpy as np

        noisy, gappy = self._observed(history)
        values = gappy.values.copy()
        for seen, before in zip(values.T, noisy.values.T, strict=True):
            known = np.flatnonzero(np.isfinite(before))
            if len(known) and np.isnan(seen).all():
                seen[known[-1]] = before[known[-1]]
        return replace(gappy, values=values)

    def of_training(self, train: Dataset) -> Dataset:
        """Return training series made as noisy and incomplete, at their full length."""
        return replace(train, series=tuple(self._observed(s)[1] for s in train))

    def _observed(self, series: Series) -> tuple[Series, Series]:
        """Return the series with noise, and the same with gaps as well."""
        import numpy as np

        from lvlora.data.simulate import observe

        name = hashlib.sha256(series.id.encode()).digest()[:8]
        rng = np.random.default_rng((self.seed, int.from_bytes(name, "big")))
        noisy = observe(series.values, rng, noise=self.noise)
        gappy = observe(noisy, rng, gaps=self.gaps)
        return replace(series, values=noisy), replace(series, values=gappy)

    def __str__(self) -> str:
        noise = f"{100 * self.noise:g} % noise" if self.noise else ""
        gaps = f"{100 * self.gaps:g} % of the values missing" if self.gaps else ""
        return ", ".join(filter(None, (noise, gaps)))


NO_DISTURBANCE = Disturbance(noise=0.0, gaps=0.0, seed=0)
