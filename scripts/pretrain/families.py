"""Simulated series of many kinds for pretraining the bundled model; never the shared file.

Knows: vectorised simulation of families of series. Does not know: text, tokens, models.

Unlike `lvlora simulate` (one system at a time, adaptive integrator), pretraining draws hundreds of
thousands of systems, so all systems of a batch are integrated together by a fixed-step fourth-order
Runge-Kutta scheme in the logarithms; its error is far below the text's rounding.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from lvlora.series.simulate import INITIAL_RANGE, SYSTEMS

Array = NDArray[np.float64]
Rng = np.random.Generator

SEED_STEP = 200.0 / 99.0
"""Sampling interval of `lvlora simulate`'s default."""


def runge_kutta(rate: Callable[[Array], Array], state: Array, dt: Array, n_steps: int) -> Array:
    """(n, V) states to (n, n_steps, V) samples dt (n,) apart; about 0.1 time units a substep."""
    substeps = int(np.ceil(dt.max() / 0.125))
    h = (dt / substeps)[:, None]
    out = np.empty((state.shape[0], n_steps, state.shape[1]))
    out[:, 0] = state
    for t in range(1, n_steps):
        for _ in range(substeps):
            k1 = rate(state)
            k2 = rate(state + 0.5 * h * k1)
            k3 = rate(state + 0.5 * h * k2)
            k4 = rate(state + h * k3)
            state = state + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        out[:, t] = state
    return out


def _uniform(rng: Rng, n: int, low: float, high: float) -> Array:
    return rng.uniform(low, high, n)


def _time_steps(rng: Rng, n: int) -> Array:
    """Half the systems at the default interval, half anywhere from 0.5 to 4 time units."""
    return np.where(rng.random(n) < 0.6, SEED_STEP, rng.uniform(0.5, 4.0, n))


def predator_prey(rng: Rng, n: int, n_steps: int, kind: str) -> Array:
    """(n, n_steps, 2): Rosenzweig-MacArthur, self-limited, or classic Lotka-Volterra.

    Parameter ranges contain those of `lvlora simulate`, a bit wider; the kind "default" has
    exactly those, and its sampling interval.
    """
    if kind == "default":
        low_high = SYSTEMS["rosenzweig-macarthur"].ranges
        alpha, beta, gamma, conversion, capacity, h = (
            _uniform(rng, n, *low_high[name])
            for name in ("alpha", "beta", "gamma", "conversion", "K", "h")
        )
        delta, share_wide, dt = conversion * beta, 0.0, np.full(n, SEED_STEP)
    else:
        alpha, gamma = _uniform(rng, n, 0.08, 0.33), _uniform(rng, n, 0.08, 0.33)
        beta = _uniform(rng, n, 0.18, 0.55)
        delta = beta * _uniform(rng, n, 0.28, 0.75)
        capacity = np.full(n, np.inf) if kind == "classic" else _uniform(rng, n, 3.5, 16.0)
        h = _uniform(rng, n, 0.04, 0.24) if kind == "saturating" else np.zeros(n)
        share_wide, dt = 0.3, _time_steps(rng, n)
    wide = rng.random(n) < share_wide
    start = np.where(
        wide[:, None], np.exp(rng.normal(0, 0.6, (n, 2))), rng.uniform(*INITIAL_RANGE, (n, 2))
    )

    def rate(logs: Array) -> Array:
        x, y = np.exp(np.clip(logs, -40, 8)).T
        eaten = beta / (1 + h * x)
        return np.stack(
            [alpha * (1 - x / capacity) - eaten * y, delta / beta * eaten * x - gamma], 1
        )

    return np.exp(runge_kutta(rate, np.log(start), dt, n_steps))


def food_chain(rng: Rng, n: int, n_steps: int) -> Array:
    """(n, n_steps, 3): prey, predator, top predator with saturating responses (Hastings-Powell)."""
    r = _uniform(rng, n, 0.1, 0.3)
    a1, a2 = _uniform(rng, n, 0.2, 0.5), _uniform(rng, n, 0.05, 0.2)
    h1, h2 = _uniform(rng, n, 0.1, 0.6), _uniform(rng, n, 0.1, 0.6)
    m1, m2 = _uniform(rng, n, 0.05, 0.15), _uniform(rng, n, 0.01, 0.05)
    capacity = _uniform(rng, n, 2, 8)

    def rate(logs: Array) -> Array:
        x, y, z = np.exp(np.clip(logs, -40, 8)).T
        f1, f2 = a1 / (1 + h1 * x), a2 / (1 + h2 * y)
        return np.stack([r * (1 - x / capacity) - f1 * y, f1 * x - f2 * z - m1, f2 * y - m2], 1)

    start = np.log(rng.uniform(0.5, 1.5, (n, 3)))
    return np.exp(runge_kutta(rate, start, _time_steps(rng, n), n_steps))


def van_der_pol(rng: Rng, n: int, n_steps: int) -> Array:
    """(n, n_steps, 2), signed: relaxation oscillators, x'' = mu (1 - x^2) x' - w^2 x."""
    mu, w = _uniform(rng, n, 0.05, 1.5), _uniform(rng, n, 0.1, 0.8)

    def rate(s: Array) -> Array:
        x, v = s.T
        return np.stack([w * v, mu * w * (1 - np.clip(x, -5, 5) ** 2) * v - w * x], 1)

    return runge_kutta(rate, rng.normal(0, 1.5, (n, 2)), _time_steps(rng, n), n_steps)


def oscillation(rng: Rng, n: int, n_steps: int, n_variables: int) -> Array:
    """(n, n_steps, V): damped or growing sums of two sinusoids with trend, one phase a variable."""
    t = np.arange(n_steps)[None, :, None]

    def draw(low: float, high: float, shape: tuple[int, ...] = (1, 1)) -> Array:
        return rng.uniform(low, high, (n, *shape))

    period = np.exp(draw(np.log(4), np.log(60)))
    growth = np.where(rng.random((n, 1, 1)) < 0.5, draw(-0.03, 0.005), 0.0)
    per_variable = (1, n_variables)
    phase = draw(0, 2 * np.pi, per_variable)
    wave = draw(0.3, 1.5, per_variable) * np.sin(2 * np.pi * t / period + phase)
    second = np.where(rng.random((n, 1, 1)) < 0.5, draw(0, 0.6), 0.0)
    wave += second * np.sin(2 * np.pi * t / np.exp(draw(np.log(4), np.log(60))) + 2 * phase)
    trend = np.where(rng.random((n, 1, 1)) < 0.4, draw(-0.02, 0.02, per_variable), 0.0)
    level = np.where(rng.random((n, 1, 1)) < 0.7, draw(1.5, 4.0, per_variable), 0.0)
    return np.exp(growth * t) * wave + trend * t + level


def logistic_growth(rng: Rng, n: int, n_steps: int, n_variables: int) -> Array:
    """(n, n_steps, V): growth to, or decay from, a plateau."""
    t = np.arange(n_steps)[None, :, None]
    shape = (n, 1, n_variables)
    middle, width = rng.uniform(-10, n_steps, shape), rng.uniform(2, 25, shape)
    sign = rng.choice([-1.0, 1.0], shape)
    return rng.uniform(0.1, 1, shape) + rng.uniform(0.5, 4, shape) / (
        1 + np.exp(np.clip(-sign * (t - middle) / width, -50, 50))
    )


def autoregression(rng: Rng, n: int, n_steps: int, n_variables: int) -> Array:
    """(n, n_steps, V), signed: stochastic oscillators of order two, and random walks."""
    radius = np.where(rng.random((n, 1)) < 0.3, 1.0, rng.uniform(0.6, 0.995, (n, 1)))
    angle = np.where(rng.random((n, 1)) < 0.3, 0.0, 2 * np.pi / rng.uniform(4, 40, (n, 1)))
    a1, a2 = 2 * radius * np.cos(angle), -(radius**2)
    walk = rng.random((n, 1)) < 0.3
    a1, a2 = np.where(walk, radius, a1), np.where(walk, 0.0, a2)
    x = np.zeros((n, n_steps + 30, n_variables))
    noise = rng.normal(0, 1, x.shape)
    for i in range(2, n_steps + 30):
        x[:, i] = a1 * x[:, i - 1] + a2 * x[:, i - 2] + noise[:, i]
    x = x[:, 30:]
    return x + rng.choice([0.0, 3.0], (n, 1, 1)) * x.std(axis=1, keepdims=True)


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
    "autoregression": (0.03, lambda r, n, t: autoregression(r, n, t, 1), 1),
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
