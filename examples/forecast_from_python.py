"""Forecast a file from Python: samples, quantiles, a table, and how sure the model is.

    python examples/forecast_from_python.py

reads examples/trajectory.csv, sets its last ten steps aside and forecasts them with the bundled
model. With the path of a run (lvlora train makes one) it uses that run's adapter:

    python examples/forecast_from_python.py runs/20260101T120000Z-bundled
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import lvlora

HELD_OUT = 10


def main(adapter: str | None = None) -> None:
    """Print a forecast."""
    file = Path(__file__).parent / "trajectory.csv"
    data = lvlora.read(file)
    (series,) = data
    history = series.steps(0, len(series) - HELD_OUT)  # values (T, V), NaN where missing
    truth = series.steps(len(series) - HELD_OUT, len(series))

    forecaster = lvlora.open_model("bundled" if adapter is None else "auto", adapter or "none")
    sampling = lvlora.Sampling(samples=20, seed=0)  # the same seed draws the same futures

    # futures: one Forecast a history; samples (S, H, V) in the file's units
    (forecast,) = forecaster.predict([history], HELD_OUT, sampling)
    print("samples:", forecast.samples.shape, "median of the last step:", forecast.median[-1])

    # quantiles: (H, V) each
    low, high = forecast.quantile(0.1), forecast.quantile(0.9)
    inside = (truth.values >= low) & (truth.values <= high)
    print(f"80 % intervals cover {inside.mean():.0%} of the truth")
    print(f"mean absolute error {np.abs(forecast.median - truth.values).mean():.3f}")

    # a pandas table: a row a time and variable
    print(forecast.to_frame((0.1, 0.9)).head(4))

    # without sampling: how probable the truth was
    score = lvlora.Score.of(lvlora.negative_log_likelihood(forecaster, [history], [truth]))
    print(f"NLL per dimension {score.per_dimension:.2f} nats")

    spent = forecaster.usage.price
    print(f"{spent.executed:.3g} FLOPs")


if __name__ == "__main__":
    main(*sys.argv[1:2])
