"""How long the program takes to answer, beside a bare typer program with ten commands.

Usage: python benchmarks/startup.py [--runs N] [--out FILE.json]

Both are started as processes, in turns, so that whatever else the machine does falls on both;
medians, and their ratios. The bare program has the least that any program made with typer does.
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

BARE = """\
import typer

app = typer.Typer()


def command(number: int = 1, text: str = "x", flag: bool = False) -> None:
    \"\"\"Do a thing.\"\"\"
    print("done")


for i in range(10):
    app.command(f"command{i}")(command)

if __name__ == "__main__":
    app()
"""

LIMITS = {
    ("--help",): 1.0,
    ("flops",): 1.5,
    ("flops", "--json"): 1.5,
}
"""Command line → how many times as long as the bare program's help it may take."""

OTHERS = (
    ("--version",),
    ("trian",),
    ("train", "--help"),
    ("train", "--rnk", "4"),
    ("train", "--rank", "0"),
    ("train", "--print-config"),
    ("flops", "--budget", "1e17", "--vary", "rank=2,4,8"),
)
"""Further answers that need no model; no limit is set for them."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=15, help="starts of each program")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder) / "bare.py"
        bare.write_text(BARE)
        lvlora = [sys.executable, "-m", "lvlora"]
        programs = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "bare --help": [sys.executable, str(bare), "--help"],
            **{" ".join(("lvlora", *words)): [*lvlora, *words] for words in (*LIMITS, *OTHERS)},
        }
        seconds: dict[str, list[float]] = {name: [] for name in programs}
        for _ in range(args.runs):
            for name, command in programs.items():
                seconds[name].append(_timed(command, folder))
    medians = {name: statistics.median(taken) for name, taken in seconds.items()}
    limits = {" ".join(("lvlora", *words)): limit for words, limit in LIMITS.items()}
    rows = [
        {
            "command": name,
            "seconds": round(median, 4),
            "ratio": round(median / medians["bare --help"], 3),
            "limit": limits.get(name),
        }
        for name, median in medians.items()
    ]
    for row in rows:
        limit = "" if row["limit"] is None else f"  at most {row['limit']}"
        print(f"{row['command']:52} {row['seconds']:7.3f} s {row['ratio']:6.2f} x{limit}")
    if args.out:
        args.out.write_text(json.dumps({"runs": args.runs, "rows": rows}, indent=1) + "\n")
    return int(any(row["limit"] is not None and row["ratio"] > row["limit"] for row in rows))


def _timed(command: list[str], folder: str) -> float:
    root = str(Path(__file__).resolve().parents[1])
    environment = {k: v for k, v in os.environ.items() if not k.startswith("LVLORA_")}
    begin = time.perf_counter()
    done = subprocess.run(
        command,
        cwd=folder,
        env={**environment, "PYTHONPATH": root},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    seconds = time.perf_counter() - begin
    if done.returncode not in (0, 2):  # 2: a mistyped word
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}")
    return seconds


if __name__ == "__main__":
    sys.exit(main())
