"""Time and memory of a forecast of many series: a folder of Parquet files, part by part.

Usage: python benchmarks/panel.py [--series N] [--part N] [--folder DIR] [OPTIONS OF forecast]

Makes the folder, series of 60 noisy steps with a season of 12, and forecasts it with the bundled
model in a process of its own. Prints series, files, CPU and wall seconds and the peak of memory.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

N_STEPS, SEASON = 60, 12
OPTIONS = ("--horizon", "12", "--samples", "4", "--views", "1", "--no-hindcast")


def write_part(file: Path, first: int, n: int) -> None:
    """Write series of which each has a phase, a level and steps of its own."""
    rng, t = np.random.default_rng(first), np.arange(N_STEPS)
    waves = 0.3 * np.sin(2 * np.pi * (t / SEASON + rng.uniform(size=(n, 1))))
    values = np.exp(waves + rng.normal(0, 0.05, (n, N_STEPS)).cumsum(axis=1))
    ids = np.repeat([f"s{first + i:06d}" for i in range(n)], N_STEPS)
    table = pd.DataFrame({"id": ids, "t": np.tile(t, n), "y": values.ravel()})
    table.to_parquet(file, index=False)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--series", type=int, default=20_000)
    parser.add_argument("--part", type=int, default=500, help="series of a file")
    parser.add_argument("--folder", type=Path, help="where to work; default: a temporary one")
    arguments, options = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        (folder / "panel").mkdir(parents=True, exist_ok=True)
        for first in range(0, arguments.series, arguments.part):
            n = min(arguments.part, arguments.series - first)
            write_part(folder / "panel" / f"{first:06d}.parquet", first, n)
        words = ["forecast", "panel", "--output", "forecasts", *(options or OPTIONS)]
        begin = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "lvlora", *words],
            cwd=folder,
            check=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))},
        )
        seconds, spent = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
        n_files = len(list((folder / "forecasts").glob("*.parquet")))
    print(
        f"{arguments.series:,} series, {n_files} files: {spent.ru_utime + spent.ru_stime:.0f} CPU "
        f"seconds, {seconds:.0f} seconds, at most {spent.ru_maxrss / 2**20:.2f} GiB"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
