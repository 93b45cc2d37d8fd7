"""The mixtures of the first three stages of pretraining, which made version 2."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from autoregressions import oscillating_levels
from oscillators import (
    food_chain,
    logistic_growth,
    oscillation,
    predator_prey,
    van_der_pol,
)
from parameters import Array, Rng

FAMILIES: dict[str, tuple[float, Callable[[Rng, int, int], Array], int]] = {
    "rosenzweig-macarthur": (0.62, lambda r, n, t: predator_prey(r, n, t, "saturating"), 2),
    "self-limited": (0.08, lambda r, n, t: predator_prey(r, n, t, "limited"), 2),
    "lotka-volterra": (0.06, lambda r, n, t: predator_prey(r, n, t, "classic"), 2),
    "food chain": (0.04, food_chain, 3),
    "van der pol": (0.04, van_der_pol, 2),
    "oscillation 1": (0.04, lambda r, n, t: oscillation(r, n, t, 1), 1),
    "oscillation 2": (0.04, lambda r, n, t: oscillation(r, n, t, 2), 2),
    "oscillation 4": (0.02, lambda r, n, t: oscillation(r, n, t, 4), 4),
    "logistic growth": (0.03, lambda r, n, t: logistic_growth(r, n, t, 2), 2),
    "autoregression": (0.03, lambda r, n, t: oscillating_levels(r, n, t, 1), 1),
}
"""Name: (share of the series, simulator, variables). Stage 1 drew from this mixture."""

MIXTURES = {
    "wide": FAMILIES,
    "default": {
        **FAMILIES,
        "rosenzweig-macarthur": (0.30, *FAMILIES["rosenzweig-macarthur"][1:]),
        "default systems": (0.32, lambda r, n, t: predator_prey(r, n, t, "default"), 2),
    },
}
"""Stage 2: half of the Rosenzweig-MacArthur systems are as `lvlora simulate` draws them."""

MIXTURES["waves"] = {
    name: (share, *MIXTURES["default"][name][1:])
    for name, share in {
        "default systems": 0.42,
        "rosenzweig-macarthur": 0.18,
        "self-limited": 0.07,
        "lotka-volterra": 0.06,
        "food chain": 0.04,
        "van der pol": 0.04,
        "oscillation 1": 0.03,
        "oscillation 2": 0.05,
        "oscillation 4": 0.06,
        "logistic growth": 0.02,
        "autoregression": 0.03,
    }.items()
}
"""Stage 3: more of the systems of `lvlora simulate`, and of the sums of sinusoids with two and four
variables, on which the second stage was still behind the seasonal naive forecast."""

ECOLOGY = ("rosenzweig-macarthur", "default systems", "self-limited", "lotka-volterra")


def scales(rng: Rng, values: Array, positive_ecology: bool) -> Array:
    """(n, 1, 1) divisors as the two rules of `lvlora.text.scaling` would give, jittered.

    Ecological series see the data-set rule half the time (one divisor for all, so that small
    systems stay small), everything else the history rule on a history of random length.
    """
    n, n_steps, _ = values.shape
    cut = rng.integers(max(2, n_steps // 5), n_steps + 1, n)
    seen = np.arange(n_steps)[None, :, None] < cut[:, None, None]
    top = np.max(np.abs(np.where(seen, values, 0)), axis=(1, 2), keepdims=True)
    own = np.maximum(top, 1e-6) / 5 * np.exp(rng.normal(0, 0.25, (n, 1, 1)))
    if not positive_ecology:
        return own
    common = 0.793 * np.exp(rng.normal(0, 0.2, (n, 1, 1)))
    return np.where(rng.random((n, 1, 1)) < 0.6, common, own)


def observe(rng: Rng, values: Array) -> Array:
    """Noise on a tenth of the series, gaps on a twentieth."""
    n = values.shape[0]
    noisy = (rng.random((n, 1, 1)) < 0.10) * rng.uniform(0, 0.08, (n, 1, 1))
    values = values * np.exp(noisy * rng.normal(0, 1, values.shape))
    gappy = (rng.random((n, 1, 1)) < 0.05) * rng.uniform(0, 0.2, (n, 1, 1))
    return np.where(rng.random(values.shape) < gappy, np.nan, values)


def draw(rng: Rng, n: int, n_tokens: int, mixture: str = "wide") -> list[tuple[Array, int]]:
    """n series in text units with their decimals, long enough for ``n_tokens`` each, shuffled."""
    families = MIXTURES[mixture]
    names = list(families)
    shares = np.array([families[name][0] for name in names])
    counts = rng.multinomial(n, shares / shares.sum())
    series: list[tuple[Array, int]] = []
    for name, count in zip(names, counts, strict=True):
        if count == 0:
            continue
        _, simulate, n_variables = families[name]
        n_steps = n_tokens // (5 * n_variables) + 2
        values = simulate(rng, int(count), n_steps)
        values = observe(rng, values / scales(rng, values, name in ECOLOGY))
        for one in values:
            finite = np.where(np.isfinite(one), one, 0.0)
            if np.abs(finite).max() < 200:
                series.append((one, int(rng.choice([2, 1, 3], p=[0.9, 0.04, 0.06]))))
    order = rng.permutation(len(series))
    return [series[i] for i in order]
