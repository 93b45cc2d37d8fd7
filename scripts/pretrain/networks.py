"""Random recurrent networks in continuous time: orbits, spirals and chaos of no particular law."""

from __future__ import annotations

import numpy as np
from parameters import Array, Rng, log_uniform

_UNITS = 6
_SUBSTEP = 0.1
_BEFORE = 200
"""Substeps that pass before the first sample of those that are seen on their attractor."""


def networks(rng: Rng, n: int, n_steps: int, n_variables: int) -> Array:
    """(n, n_steps, V) of `runs`, of twice as many those that move most in the end."""
    drawn = runs(rng, 2 * n, n_steps, n_variables)
    late = drawn[:, n_steps // 2 :]
    moving = (late.std(axis=1) / np.maximum(np.abs(drawn).max(axis=1), 1e-9)).mean(axis=1)
    # nearly half come to rest, which the logistic curves of `oscillators` teach as well
    return drawn[np.sort(np.argsort(-moving)[:n])]


def runs(rng: Rng, n: int, n_steps: int, n_variables: int) -> Array:
    """(n, n_steps, V) of the 3 to 6 units of x' = -x + W tanh(x) + b, at random W and b.

    Gains of 1.2 to 4 give fixed points, limit cycles of any form, and chaos (Sompolinsky, Crisanti
    and Sommers 1988, "Chaos in random neural networks", Phys. Rev. Lett. 61). In two fifths of the
    networks a unit also hears another one as it was a while ago, as in delayed feedback.
    Half begin anywhere and are seen going to where they stay. Half are in logarithms.
    """
    alive = np.arange(_UNITS)[None] < rng.integers(3, _UNITS + 1, (n, 1))
    gain = rng.uniform(1.2, 4.0, (n, 1, 1)) / np.sqrt(alive.sum(1))[:, None, None]
    weights = gain * rng.normal(0, 1, (n, _UNITS, _UNITS)) * alive[:, :, None] * alive[:, None]
    # a part that turns: without it four in five networks come to rest
    turning = weights - np.swapaxes(weights, 1, 2)
    weights = np.where(rng.random((n, 1, 1)) < 0.6, 0.4 * weights + 0.8 * turning, weights)
    bias = 0.5 * rng.normal(0, 1, (n, _UNITS))
    longest = 80
    delay = rng.integers(5, longest, n)
    late = np.where(rng.random((n, 1)) < 0.4, 3 * rng.normal(0, 1, (n, _UNITS)), 0.0) * alive
    stride = np.round(log_uniform(rng, 2, 15, n)).astype(int)
    state = rng.normal(0, 1.5, (n, _UNITS))
    total = _BEFORE + int(stride.max()) * n_steps
    past = np.zeros((longest, n))
    out = np.empty((n, n_steps, _UNITS))
    first = np.where(rng.random(n) < 0.5, 0, _BEFORE)
    every = np.arange(n)
    for i in range(total):
        sample, rest = np.divmod(i - first, stride)
        due = (rest == 0) & (sample >= 0) & (sample < n_steps)
        out[every[due], sample[due]] = state[due]
        delayed = past[(i - delay) % longest, every]
        change = np.einsum("nij,nj->ni", weights, np.tanh(state))
        change = change - state + bias + late * np.tanh(delayed)[:, None]
        past[i % longest] = state[:, 0]
        state = state + _SUBSTEP * change
    order = np.argsort(rng.random((n, _UNITS)) + 2 * ~alive, axis=1)[:, None, :n_variables]
    seen = np.take_along_axis(out, order, axis=2)
    spread = np.maximum(seen.std(axis=1, keepdims=True), 1e-3)
    level = seen.mean(axis=1, keepdims=True)
    scaled = (seen - level) / spread
    logs = np.exp(np.clip(rng.uniform(0.3, 1.2, (n, 1, 1)) * scaled, -6, 4))
    return np.where(rng.random((n, 1, 1)) < 0.5, logs, seen)
