"""Draws of Gaussian processes whose kernels are random sums and products.

Source: KernelSynth (Ansari et al. 2024, "Chronos", arXiv:2403.07815, appendix B): one to five
kernels of a bank, joined by addition or multiplication.
"""

from __future__ import annotations

import numpy as np
from parameters import Array, Rng, log_uniform, periods


def kernel_draws(rng: Rng, n: int, n_steps: int, n_variables: int) -> Array:
    """(n, n_steps, V): the variables of a series are draws of one process; levels or logs."""
    out = np.empty((n, n_steps, n_variables))
    for i in range(n):
        covariance = _kernel(rng, n_steps)
        for _ in range(int(rng.integers(0, 4))):
            other = _kernel(rng, n_steps)
            covariance = covariance + other if rng.random() < 0.6 else covariance * other
        scale = float(np.mean(np.diag(covariance)))
        covariance[np.diag_indices(n_steps)] += scale * log_uniform(rng, 2e-6, 1e-2, 1)
        out[i] = np.linalg.cholesky(covariance) @ rng.normal(0, 1, (n_steps, n_variables))
    out /= np.maximum(out.std(axis=1, keepdims=True), 1e-9)
    logs = np.exp(np.clip(log_uniform(rng, 0.1, 1.2, (n, 1, 1)) * out, -9, 9))
    far = np.where(rng.random((n, 1, 1)) < 0.3, 0.0, log_uniform(rng, 2, 20, (n, 1, 1)))
    return np.where(rng.random((n, 1, 1)) < 0.5, logs, out + far)


def _kernel(rng: Rng, n_steps: int) -> Array:
    """(T, T) of one kernel of the bank."""
    t = np.arange(n_steps, dtype=float)
    kind = rng.random()
    if kind < 0.15:  # a straight line, from anywhere
        centred = (t - rng.uniform(0, n_steps)) / n_steps
        return 0.2 + np.outer(centred, centred)
    distance = np.arange(n_steps, dtype=float)
    length = float(log_uniform(rng, 2, max(4, n_steps), 1)[0])
    if kind < 0.4:
        row = np.exp(-0.5 * (distance / length) ** 2)
    elif kind < 0.55:  # rational quadratic
        shape = float(log_uniform(rng, 0.2, 5, 1)[0])
        row = (1 + 0.5 * (distance / length) ** 2 / shape) ** -shape
    elif kind < 0.65:  # white
        row = (distance == 0).astype(float)
    else:  # periodic
        narrow = float(log_uniform(rng, 0.3, 3, 1)[0])
        row = np.exp(-2 * (np.sin(np.pi * distance / periods(rng, 1)[0]) / narrow) ** 2)
    steps = np.arange(n_steps)
    return row[np.abs(steps[:, None] - steps[None])]
