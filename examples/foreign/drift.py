"""The drift method, with numpy alone: the pattern that a program of your own can follow.

    lvlora evaluate examples/simulated.h5 --export-task task
    python examples/foreign/drift.py task drift.csv
    lvlora evaluate examples/simulated.h5 --forecasts drift=drift.csv

The last value goes on with the mean change of the history, and is as uncertain as a random walk
with such steps (Hyndman & Athanasopoulos, Forecasting: Principles and Practice, 5.2 and 5.5).
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from task_folder import Task, main, without_gaps

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def forecast(task: Task) -> tuple[tuple[float, ...], list[np.ndarray]]:
    """Quantiles (levels, horizon, variables) of each series."""
    ahead = np.arange(1, task.horizon + 1)[None, :, None]
    z = np.array([NormalDist().inv_cdf(level) for level in LEVELS])[:, None, None]
    found = []
    for history in map(without_gaps, task.histories):
        changes = np.diff(history, axis=0)
        spread = changes.std(axis=0) * np.sqrt(ahead * (1 + ahead / len(history)))
        found.append(history[-1] + changes.mean(axis=0) * ahead + z * spread)
    return LEVELS, found


if __name__ == "__main__":
    main(forecast)
