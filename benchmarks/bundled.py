"""How long the bundled model's forecasts take, as commands from the shell, all included.

usage: python benchmarks/bundled.py [--runs 7] [--series 150] [--model bundled] [--out FILE.json]

`lvlora forecast examples/trajectory.csv` (20 futures of 20 steps) and `python -c "import torch"`,
without which nothing is computed here, are started in turns, so that whatever else the machine does
falls on both: medians, and their ratio. Then once 20 futures of 50 steps of each of 150 simulated
series of 50 steps. With fewer --series the time of 150 is reckoned: what a forecast of one step of
one series does not take, too, grows with their number. The exit code is 1 if a limit is passed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TRAJECTORY = str(ROOT / "examples" / "trajectory.csv")
MOST_OF_IMPORT = 1.25
"""Times as long as `import torch` a forecast may take."""
SERIES, STEPS, SAMPLES = 150, 50, 20
MOST_SECONDS = 300.0
"""Of forecasting them on two cores."""
PYTHON = sys.executable
IMPORT = (PYTHON, "-c", "import torch")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=7, help="starts of each; 0: leave them out")
    parser.add_argument("--series", type=int, default=SERIES, help="0: leave them out")
    parser.add_argument("--model", default="bundled", help="or a folder")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(args, folder)
    if args.out:
        args.out.write_text(json.dumps(figures, indent=1) + "\n")
    return int(not all(figure.get("held", True) for figure in figures.values()))


def measure(args: argparse.Namespace, folder: str) -> dict[str, dict[str, Any]]:
    """All figures; each line is printed when it is known."""
    lvlora = (PYTHON, "-m", "lvlora")
    model = ("--model", args.model, "--adapter", "none")
    forecast = (*lvlora, "forecast", TRAJECTORY, *model)
    run(IMPORT, folder), run(forecast, folder)  # compiles, and fills the file cache
    taken: dict[str, list[float]] = {"import torch": [], "forecast": []}
    for _ in range(max(1, args.runs)):
        taken["import torch"].append(run(IMPORT, folder)[0])
        if args.runs:
            taken["forecast"].append(run(forecast, folder)[0])
    start = statistics.median(taken["import torch"])
    figures: dict[str, dict[str, Any]] = {"import torch": {"seconds": start, "all": taken}}
    print(f'python -c "import torch"                  {start:7.2f} s', flush=True)
    if args.runs:
        seconds = statistics.median(taken["forecast"])
        ratio = seconds / start
        figures["forecast"] = {"seconds": seconds, "ratio": ratio, "held": ratio <= MOST_OF_IMPORT}
        print(
            f"lvlora forecast trajectory.csv            {seconds:7.2f} s {ratio:6.2f} x, "
            f"at most {MOST_OF_IMPORT} x",
            flush=True,
        )
    if args.series:
        n = str(args.series)
        run((*lvlora, "simulate", "many.h5", "-n", n, "--n-steps", str(STEPS)), folder)
        words = ("--horizon", str(STEPS), "--samples", str(SAMPLES), "--output", "futures.csv")
        seconds, peak = run((*lvlora, "forecast", "many.h5", *model, *words), folder)
        total, reckoned = seconds, ""
        if args.series != SERIES:
            least, _ = run((*forecast, "--horizon", "1", "--greedy"), folder)
            total = of_all(seconds, args.series, least)
            reckoned = f" (of {n}: {seconds:.1f} s)"
        figures["many"] = {
            "series": args.series,
            "seconds": seconds,
            "seconds_of_all": total,
            "peak_bytes": peak,
            "held": total <= MOST_SECONDS,
        }
        print(
            f"{SERIES} series, {SAMPLES} futures, {STEPS} -> {STEPS}{reckoned}  {total:7.1f} s, at "
            f"most {MOST_SECONDS:.0f} s, {peak / 2**30:.2f} GiB",
            flush=True,
        )
    return figures


def of_all(seconds: float, n_series: int, once: float) -> float:
    """Seconds of `SERIES` series where so many took ``seconds``, of which ``once`` for all."""
    return once + (seconds - once) * SERIES / n_series


def run(command: tuple[str, ...], folder: str) -> tuple[float, int]:
    """Seconds and peak memory of a process; SystemExit if it fails."""
    # as it is installed: with compiled files, and with no settings of ours
    left_out = ("LVLORA_", "PYTHONDONTWRITEBYTECODE")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(left_out)}
    begin = time.perf_counter()
    process = subprocess.Popen(
        command,
        cwd=folder,
        env={**environment, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begin
    if status:
        raise SystemExit(f"{' '.join(command)}: exit code {os.waitstatus_to_exitcode(status)}")
    return seconds, usage.ru_maxrss * 1024


if __name__ == "__main__":
    sys.exit(main())
