"""Poorer histories: what a forecaster would have seen of noisier or less complete data."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from lvlora.answers import Shape

if TYPE_CHECKING:
    from lvlora.data.dataset import Dataset, Series
    from lvlora.evaluation.settings import EvaluateSettings


class Disturbance(Shape):
    """Poorer histories than the data have; what is to be forecast stays as it is."""

    noise: float
    """Standard deviation of the log of a multiplicative log-normal factor (median 1)."""
    gaps: float
    """Probability with which each value is missing."""
    seed: int
    """Seed of noise and gaps; each series draws its own, by its name."""

    @classmethod
    def of_settings(cls, settings: EvaluateSettings) -> Disturbance:
        """Return the disturbance that the options of an evaluation describe."""
        return cls(
            noise=settings.history_noise,
            gaps=settings.history_gaps,
            seed=settings.seed,
        )

    def __bool__(self) -> bool:
        return bool(self.noise or self.gaps)

    def of(self, history: Series) -> Series:
        """A history as it is seen; a variable that would lose all its values keeps the last."""
        import numpy as np

        noisy, gappy = self._observed(history)
        values = gappy.values.copy()
        for seen, before in zip(values.T, noisy.values.T, strict=True):
            known = np.flatnonzero(np.isfinite(before))
            if len(known) and np.isnan(seen).all():
                seen[known[-1]] = before[known[-1]]
        return replace(gappy, values=values)

    def of_training(self, train: Dataset) -> Dataset:
        """Training series made as noisy and incomplete, at their full length."""
        return replace(train, series=tuple(self._observed(s)[1] for s in train))

    def _observed(self, series: Series) -> tuple[Series, Series]:
        """The values with noise, and the same with gaps as well."""
        import numpy as np

        from lvlora.data.simulate import observe

        name = hashlib.sha256(series.id.encode()).digest()[:8]
        rng = np.random.default_rng((self.seed, int.from_bytes(name, "big")))
        noisy = observe(series.values, rng, noise=self.noise)
        gappy = observe(noisy, rng, gaps=self.gaps)
        return replace(series, values=noisy), replace(series, values=gappy)

    def __str__(self) -> str:
        """In words, for a table: ``5 % noise, the last 20 steps``."""
        words = []
        if self.noise:
            words.append(f"{100 * self.noise:g} % noise")
        if self.gaps:
            words.append(f"{100 * self.gaps:g} % of the values missing")
        return ", ".join(words)


NO_DISTURBANCE = Disturbance(noise=0.0, gaps=0.0, seed=0)
