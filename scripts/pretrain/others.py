"""Families that are in no mixture and in no test, to fit the widths of intervals to.

A model draws as closely on what it never saw as on what it was made from. Intervals that are fitted
to its own kinds alone are too narrow on all others (README.md, "Widths").
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from oscillators import runge_kutta
from parameters import Array, Rng, log_uniform


def brusselator(rng: Rng, n: int, n_steps: int) -> Array:
    """(n, n_steps, 2): an autocatalytic reaction (Prigogine & Lefever 1968)."""
    a = rng.uniform(0.6, 1.4, n)
    b = (1 + a**2) * rng.uniform(0.8, 1.5, n)

    def rate(logs: Array) -> Array:
        x, y = np.exp(np.clip(logs, -20, 5)).T
        return np.stack([a / x + x * y - b - 1, b * x / y - x**2], 1)

    start = np.log(rng.uniform(0.4, 2.5, (n, 2)))
    return np.exp(runge_kutta(rate, start, rng.uniform(0.3, 1.0, n), n_steps))


def glycolysis(rng: Rng, n: int, n_steps: int) -> Array:
    """(n, n_steps, 2): two sugars of a cell (Sel'kov 1968)."""
    a, b = rng.uniform(0.04, 0.12, n), rng.uniform(0.4, 0.8, n)

    def rate(logs: Array) -> Array:
        x, y = np.exp(np.clip(logs, -20, 5)).T
        production = a * y + x**2 * y
        return np.stack([production / x - 1, (b - production) / y], 1)

    start = np.log(rng.uniform(0.3, 2.0, (n, 2)))
    return np.exp(runge_kutta(rate, start, rng.uniform(0.5, 1.5, n), n_steps))


def switching_predators(rng: Rng, n: int, n_steps: int) -> Array:
    """(n, n_steps, 2): predators that leave rare prey alone (Holling 1959, type III)."""
    r, eaten, half = rng.uniform(0.3, 1.0, n), rng.uniform(0.6, 1.5, n), rng.uniform(0.1, 0.4, n)
    death = eaten * rng.uniform(0.2, 0.7, n)

    def rate(logs: Array) -> Array:
        x, y = np.exp(np.clip(logs, -40, 5)).T
        taken = eaten * x / (half**2 + x**2)
        return np.stack([r * (1 - x) - taken * y, taken * x - death], 1)

    start = np.log(rng.uniform(0.1, 0.9, (n, 2)))
    return np.exp(runge_kutta(rate, start, rng.uniform(1.0, 4.0, n), n_steps))


def pendulum(rng: Rng, n: int, n_steps: int) -> Array:
    """(n, n_steps, 2), signed: angle and speed of a damped pendulum, up to nearly upside down."""
    w, damping = rng.uniform(0.3, 0.9, n), rng.uniform(0.0, 0.06, n)

    def rate(s: Array) -> Array:
        angle, speed = s.T
        return np.stack([speed, -(w**2) * np.sin(angle) - damping * speed], 1)

    start = np.stack([rng.uniform(0.3, 3.0, n), np.zeros(n)], 1)
    return runge_kutta(rate, start, rng.uniform(0.7, 2.0, n), n_steps)


def roessler(rng: Rng, n: int, n_steps: int) -> Array:
    """(n, n_steps, 2), signed: two of three variables of a band that folds (Roessler 1976)."""
    a, c = rng.uniform(0.1, 0.25, n), rng.uniform(3.0, 6.0, n)

    def rate(s: Array) -> Array:
        x, y, z = s.T
        return np.stack([-y - z, x + a * y, 0.2 + z * (x - c)], 1)

    start = np.stack([rng.normal(0, 2, n), rng.normal(0, 2, n), np.full(n, 0.1)], 1)
    return runge_kutta(rate, start, rng.uniform(0.3, 0.9, n), n_steps)[:, :, :2]


def lorenz(rng: Rng, n: int, n_steps: int) -> Array:
    """(n, n_steps, 1), signed: one of three variables of convection (Lorenz 1963)."""
    rho = rng.uniform(15, 35, n)

    def rate(s: Array) -> Array:
        x, y, z = s.T
        return np.stack([10 * (y - x), x * (rho - z) - y, x * y - 8 / 3 * z], 1)

    start = np.stack([rng.normal(0, 6, n), rng.normal(0, 6, n), rng.uniform(10, 30, n)], 1)
    # a tenth as fast: the integrator's steps are made for slower systems
    slow = runge_kutta(lambda s: rate(s) / 10, start, rng.uniform(0.4, 1.0, n), n_steps)
    return slow[:, :, :1]


def late_brake(rng: Rng, n: int, n_steps: int) -> Array:
    """(n, n_steps, 1): growth that crowding slows a while later (Hutchinson 1948)."""
    h, delay = 0.05, rng.integers(20, 60, n)
    r = rng.uniform(1.2, 2.3, n) / (delay * h)
    total, every = 400 + 10 * n_steps, 10
    logs = np.full((n, total), np.log(0.5)) + rng.normal(0, 0.3, (n, 1))
    rows = np.arange(n)
    for t in range(200, total - 1):
        logs[:, t + 1] = logs[:, t] + h * r * (1 - np.exp(logs[rows, t - delay]))
    return np.exp(logs[:, 400::every, None])[:, :n_steps]


def exponential_autoregression(rng: Rng, n: int, n_steps: int) -> Array:
    """(n, n_steps, 1): logs whose lags matter less the larger they are (Haggan & Ozaki 1981)."""
    first, second = rng.uniform(1.2, 1.9, n), rng.uniform(-0.98, -0.8, n)
    sd = log_uniform(rng, 0.03, 0.3, n)
    x, before = rng.normal(0, 0.3, n), rng.normal(0, 0.3, n)
    out = np.empty((n, n_steps + 30))
    for t in range(n_steps + 30):
        fades = np.exp(-(x**2))
        x, before = (first + 0.1 * fades) * x + (second - 0.1 * fades) * before, x
        x = np.clip(x + sd * rng.normal(0, 1, n), -4, 4)
        out[:, t] = x
    return np.exp(out[:, 30:, None])


OTHERS: dict[str, Callable[[Rng, int, int], Array]] = {
    "brusselator": brusselator,
    "glycolysis": glycolysis,
    "switching predators": switching_predators,
    "pendulum": pendulum,
    "roessler": roessler,
    "lorenz": lorenz,
    "late brake": late_brake,
    "exponential autoregression": exponential_autoregression,
}
