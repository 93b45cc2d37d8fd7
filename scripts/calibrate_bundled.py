"""Write the bundled model's calibration: `python scripts/calibrate_bundled.py` (five minutes).

40 simulated Rosenzweig-MacArthur systems of 100 samples, seed 6021, which no other file or test
uses and no training saw: the last 50 steps are forecast from the first 50 as `lvlora forecast` does
it without an adapter (scale from each history alone, 20 samples, float32).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from lvlora.forecast.calibration import files as calibration_files
from lvlora.forecast.calibration.facts import describe
from lvlora.forecast.calibration.offsets import calibrate, units_of
from lvlora.forecast.forecast import Forecast
from lvlora.forecast.forecaster import Forecaster
from lvlora.forecast.sampling import Sampling
from lvlora.model.catalogue import BUNDLED, resolve
from lvlora.model.devices import choose, set_threads
from lvlora.model.loading import load
from lvlora.series.dataset import Series
from lvlora.series.simulate import simulate
from lvlora.settings.data import SimulateSettings

SEED = 6021
QUANTILES = (0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975)
CONTEXT = HORIZON = 50
SAMPLING = Sampling(samples=20, views=4)


def forecasts_of(
    forecaster: Forecaster, n_series: int, seed: int, at_a_time: int = 8
) -> tuple[list[Series], np.ndarray, list[Forecast]]:
    """Histories, truth (n, H, V) and forecasts of simulated systems."""
    data = simulate(SimulateSettings(n_series=n_series, n_steps=CONTEXT + HORIZON, seed=seed))
    histories = [s.steps(0, CONTEXT) for s in data]
    found: list[Forecast] = []
    for begin in range(0, len(histories), at_a_time):
        part = histories[begin : begin + at_a_time]
        found += forecaster.predict(part, HORIZON, SAMPLING)
        print(f"{len(found)} of {n_series} series", flush=True)
    return histories, np.stack([s.values[CONTEXT:] for s in data]), found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=BUNDLED / calibration_files.NAME)
    parser.add_argument("--series", type=int, default=40)
    parser.add_argument("--threads", type=int, default=None)
    args = parser.parse_args()
    set_threads(args.threads)
    base = load(resolve("bundled"), choose("cpu", "float32"))
    forecaster = Forecaster(base)
    histories, truth, found = forecasts_of(forecaster, args.series, SEED)
    units = np.array([units_of(h, f) for h, f in zip(histories, found, strict=True)])
    facts = describe(
        forecaster,
        SAMPLING,
        source="simulated predator-prey systems",
        seed=SEED,
        variables=["prey", "predator"],
        units=units,
        context=CONTEXT,
        horizon=HORIZON,
        general=True,
        flops=forecaster.usage.price.executed,
    )
    made = calibrate(truth, np.stack([f.samples for f in found]), units, QUANTILES, facts)
    calibration_files.save(args.out, made, base, None)
    print(f"written: {args.out}")


if __name__ == "__main__":
    main()
