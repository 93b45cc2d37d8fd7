"""Write the data files of `examples/` that are made here: the same bytes every time.

Usage: python scripts/make_examples.py [FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from lvlora.data.dataset import Dataset, Series
from lvlora.data.dates import Calendar
from lvlora.data.files import write_dataset
from lvlora.data.files.hdf5 import write_hdf5
from lvlora.data.settings import SimulateSettings
from lvlora.data.simulate import simulate

# Furs of the Hudson's Bay Company, in thousands; see examples/README.md
YEARS = range(1900, 1921)
HARE = (
    30,
    47.2,
    70.2,
    77.4,
    36.3,
    20.6,
    18.1,
    21.4,
    22,
    25.4,
    27.1,
    40.3,
    57,
    76.6,
    52.3,
    19.5,
    11.2,
    7.6,
    14.6,
    16.2,
    24.7,
)
LYNX = (
    4,
    6.1,
    9.8,
    35.2,
    59.4,
    41.7,
    19,
    13,
    8.3,
    9.1,
    7.4,
    8,
    12.3,
    19.5,
    45.7,
    51.1,
    29.7,
    15.8,
    9.7,
    10.1,
    8.6,
)


def main(folder: Path) -> None:
    """Write all four files, replacing what is there."""
    folder.mkdir(parents=True, exist_ok=True)
    many = simulate(SimulateSettings(n_series=24, seed=2024))
    write_hdf5(many, folder / "simulated.h5", "float32")

    lone = simulate(SimulateSettings(n_series=1, n_steps=80, duration=160, seed=1926))
    rounded = Series("0", np.round(lone.series[0].time, 3), np.round(lone.series[0].values, 4))
    trajectory = Dataset((rounded,), lone.variables)
    write_dataset(trajectory, folder / "trajectory.csv", overwrite=True)

    record = Series("0", np.array(YEARS, dtype=float), np.array([HARE, LYNX], dtype=float).T)
    furs = Dataset((record,), ("hare", "lynx"), time_name="year")
    write_dataset(furs, folder / "hare_lynx.csv", overwrite=True)

    # made up: 2021 to 2024 without July 2022
    months = np.delete(np.arange(48.0), 18)
    visitors = 40 + 0.4 * months - 15 * np.cos(2 * np.pi * months / 12)
    noisy = np.round(visitors * np.random.default_rng(7).normal(1, 0.04, len(months)), 1)
    dated = Series("0", 612 + months, noisy[:, None], Calendar("month", precision="M"))
    monthly = Dataset((dated,), ("visitors",), time_name="month")
    write_dataset(monthly, folder / "monthly.csv", overwrite=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "examples")
