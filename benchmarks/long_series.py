"""The memory and time of every command on one series of a million steps.

    python benchmarks/long_series.py [--steps 1000000] [--noise 0.3] [--only analyze,forecast]

Each command is a process of its own, in a temporary folder; what is shown is the largest resident
memory that the system saw of it, its time, its exit code and, where it refused, the first line of
what it said. The series has two variables, a period of 20 steps, and noise.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np

TRAIN = ("--max-steps", "2")
COMMANDS: dict[str, tuple[str, ...]] = {
    "simulate": ("simulate", "made.h5", "-n", "1", "--n-steps", "STEPS", "--duration", "STEPS"),
    "analyze": ("analyze", "long.h5"),
    "analyze, CSV": ("analyze", "long.csv"),
    "analyze, figures": ("analyze", "long.h5", "--out", "figures"),
    "tokenize": ("tokenize", "long.h5"),
    "baseline": ("baseline", "three.h5", "--no-model", "--context", "HALF", "--horizon", "50"),
    "baseline, model": (
        *("baseline", "three.h5", "--no-rivals", "--samples", "2"),
        *("--context", "HALF", "--horizon", "50"),
    ),
    "evaluate": (
        *("evaluate", "three.h5", "--adapter", "none", "--samples", "2"),
        *("--context", "50", "--horizon", "50"),
    ),
    "forecast": ("forecast", "long.h5", "--samples", "2", "--horizon", "20"),
    "forecast, plot": (
        *("forecast", "long.h5", "--samples", "2", "--horizon", "20"),
        *("--plot", "forecast.svg", "-o", "forecast.csv"),
    ),
    "train": ("train", "long.h5", "--out", "run", *TRAIN),
    "report": ("report", "run"),
}


def main() -> None:
    """Measure what was asked for and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--noise", type=float, default=0.3)
    parser.add_argument("--only", default="")
    parser.add_argument("--timeout", type=float, default=600.0)
    arguments = parser.parse_args()
    chosen = [name.strip() for name in arguments.only.split(",") if name.strip()]
    print("| command | memory | time | exit code | said |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), arguments.steps, arguments.noise)
        for name, words in COMMANDS.items():
            if not chosen or any(name.startswith(each) for each in chosen):
                measure(name, words, folder, arguments.steps, arguments.timeout)


def write(folder: Path, steps: int, noise: float) -> None:
    """long.h5 and long.csv with one series, three.h5 with three."""
    rng = np.random.default_rng(0)
    moments = np.arange(float(steps))
    wave = np.sin(2 * np.pi * moments / 20)
    series = [
        np.stack([5 + wave, 5 + np.roll(wave, 4)], axis=1) + noise * rng.normal(size=(steps, 2))
        for _ in range(3)
    ]
    for name, chosen in (("long", series[:1]), ("three", series)):
        with h5py.File(folder / f"{name}.h5", "w") as file:
            file["trajectories"] = np.stack(chosen)
            file["time"] = moments
    table = np.column_stack([moments, series[0]])
    np.savetxt(folder / "long.csv", table, "%.6g", ",", header="time,prey,predator", comments="")


def measure(name: str, words: tuple[str, ...], folder: str, steps: int, timeout: float) -> None:
    """Run one command and print its line."""
    sizes = {"STEPS": str(steps), "HALF": str(steps // 2)}
    command = [sys.executable, "-m", "lvlora", *(sizes.get(word, word) for word in words)]
    paths = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    begin = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=said
        )
        while True:
            done, status, used = os.wait4(process.pid, os.WNOHANG)
            if done:
                break
            if time.perf_counter() - begin > timeout:
                process.kill()
                _, status, used = os.wait4(process.pid, 0)
                break
            time.sleep(0.05)
        seconds = time.perf_counter() - begin
        process.returncode = code = os.waitstatus_to_exitcode(status)
        said.seek(0)
        lines = said.read().decode(errors="replace").splitlines()
    error = next((line for line in lines if line.startswith("Error")), "") if code else ""
    print(f"| {name} | {used.ru_maxrss / 1e6:.2f} GB | {seconds:.0f} s | {code} | {error} |")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
