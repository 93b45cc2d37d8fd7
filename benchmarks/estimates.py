"""Does `--dry-run` tell the truth? Its time and memory beside those of the command itself.

usage: python benchmarks/estimates.py [--model MODEL] [--only train,forecast,...] [--out FILE.json]

Runs each command twice, with `--dry-run` and without, in processes of their own, and prints the
estimated and the real wall-clock time and peak memory of the process. Without --model the bundled
one. A ratio of 1.00 is exact; 0.80 to 1.25 is what is promised.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).parents[1] / "examples"
DATA, TRAJECTORY = str(EXAMPLES / "simulated.h5"), str(EXAMPLES / "trajectory.csv")
BUNDLED = {
    "train": ["train", "--max-steps", "200"],
    "train all layers": ["train", "--max-steps", "60", "--targets", "all-linear", "--rank", "16"],
    "train compiled": ["train", "--max-steps", "600", "--no-validation"],
    "sweep": ["sweep", DATA, "--max-steps", "20", "--trials", "4", "--validation-series", "8"],
    "forecast": ["forecast", TRAJECTORY, "--samples", "200"],
    "far forecast": ["forecast", TRAJECTORY, "--horizon", "150"],
    "baseline": ["baseline", DATA, "--limit", "16"],
}
LARGE = {
    "train": ["train", "--max-steps", "20"],
    "forecast": ["forecast", TRAJECTORY, "--samples", "20"],
    "baseline": ["baseline", DATA, "--limit", "8", "--samples", "4", "--no-rivals"],
}


def run(words: list[str], folder: str) -> tuple[dict[str, Any], float, int]:
    """The command's JSON, its seconds, and its peak memory in bytes."""
    words = [sys.executable, "-m", "lvlora", *words, "--runs", folder, "--json", "--quiet"]
    begin = time.perf_counter()
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(words, stdout=out)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begin
        if status:
            raise SystemExit(f"{' '.join(words)}: exit code {os.waitstatus_to_exitcode(status)}")
        out.seek(0)
        return json.loads(out.read()), seconds, usage.ru_maxrss * 1024


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model")
    parser.add_argument("--only", help="names of commands, comma-separated")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    commands = LARGE if options.model else BUNDLED
    only = options.only.split(",") if options.only else list(commands)
    rows: dict[str, dict[str, float]] = {}
    print(f"{'command':20} {'told s':>8} {'took s':>8} {'ratio':>6} {'told MB':>8} {'took MB':>8}")
    for name in (n for n in commands if n in only):
        words = [*commands[name], "--model", options.model or "bundled"]
        with tempfile.TemporaryDirectory() as folder:
            estimate = run([*words, "--dry-run"], folder)[0]["estimate"]
            _, seconds, peak = run(words, folder)
        rows[name] = {
            "promised_seconds": estimate["seconds"],
            "seconds": seconds,
            "promised_bytes": estimate["peak_bytes"],
            "bytes": peak,
        }
        promised_seconds, promised_bytes = estimate["seconds"], estimate["peak_bytes"]
        print(
            f"{name:20} {promised_seconds:8.1f} {seconds:8.1f} {promised_seconds / seconds:6.2f} "
            f"{promised_bytes / 1e6:8.0f} {peak / 1e6:8.0f} {promised_bytes / peak:6.2f}",
            flush=True,
        )
    if options.out:
        options.out.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
