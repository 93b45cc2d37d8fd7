"""The numbers of a fixed run of every verb, to hold one version of the program to another.

    python scripts/same_numbers.py before.json
    python scripts/same_numbers.py after.json --against before.json

Simulates, trains, goes on from the middle, sweeps, evaluates, forecasts and prices through the real
command, in a new folder and with one thread, and writes every number of the answers, of the
metrics and of the adapters' tensors. With ``--against`` it says where the two differ, and ends
with 1 if they do: equal means equal to the last bit. Times, paths and versions are left out.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

UNSTABLE = re.compile(
    r"seconds|created|folder|files|file|^run$|^adapter$|command|version|tokens_per_second|bytes"
    r"|source|_at$|started|ended|estimate|sha256|^series_file$|path|eta|memory|host|pid|^name$"
    r"|^forecaster$|^mae_minus$|workers|report"
)
"""Keys whose values are times, places or names made of times."""
SMALL = ("--validation-series", "2", "--validate-every", "2", "--threads", "1")
COMMANDS: dict[str, tuple[str, ...]] = {
    "simulate": ("simulate", "data.csv", "--n-series", "24", "--n-steps", "60", "--seed", "5"),
    "analyze": ("analyze", "data.csv"),
    "tokenize": ("tokenize", "data.csv"),
    "flops": ("flops", "--seq-len", "512"),
    "train": ("train", "data.csv", "--max-steps", "6", "--seed", "1", *SMALL),
    "train by FLOPs": (
        *("train", "data.csv", "--max-flops", "3e11", "--seed", "2", "--train-head", "numeric"),
        *("--dropout", "0.1", *SMALL),
    ),
    "train dry": ("train", "data.csv", "--max-steps", "6", "--seed", "1", "--dry-run", *SMALL),
    "sweep": ("sweep", "data.csv", "--max-steps", "4", "--trials", "2", *SMALL),
    "baseline": (
        *("baseline", "data.csv", "--context", "30", "--horizon", "20", "--limit", "3"),
        *("--threads", "1"),
    ),
    "evaluate": (
        *("evaluate", "data.csv", "--context", "30", "--horizon", "20", "--limit", "2"),
        *("--samples", "3", "--threads", "1", "--adapter", "runs/sweep/trial-0000"),
    ),
    "evaluate noisy": (
        *("evaluate", "data.csv", "--context", "30", "--horizon", "10", "--limit", "2"),
        *("--samples", "2", "--threads", "1", "--adapter", "none"),
        *("--no-rivals",),
    ),
    "forecast": (
        *("forecast", "data.csv", "--series", "3", "--holdout", "10", "--samples", "4"),
        *("--threads", "1", "--adapter", "runs/sweep/trial-0001"),
    ),
    "forecast greedy": (
        *("forecast", "data.csv", "--series", "3", "--horizon", "12", "--greedy"),
        *("--threads", "1", "--adapter", "none"),
    ),
    "ledger": ("flops", "--ledger"),
}


def numbers_of(value: Any, at: str = "") -> dict[str, Any]:
    """Every stable number and word of an answer by its path."""
    results: dict[str, Any] = {}
    if isinstance(value, dict):
        for key, inner in value.items():
            if not UNSTABLE.search(key):
                results |= numbers_of(inner, f"{at}/{key}")
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            results |= numbers_of(inner, f"{at}/{i}")
    elif not isinstance(value, str):
        results[at] = value
    return results


def run(folder: Path) -> dict[str, Any]:
    """All commands in a folder."""
    results: dict[str, Any] = {}
    for name, words in COMMANDS.items():
        call = [sys.executable, "-m", "lvlora", *words]
        if words[0] != "simulate":
            call.append("--json")
        done = subprocess.run(call, cwd=folder, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{name}: {done.stderr}")
        print(f"{name}: done", file=sys.stderr)
        if words[0] != "simulate":
            results[name] = numbers_of(json.loads(done.stdout))
    results["data"] = {"sha256": hashlib.sha256((folder / "data.csv").read_bytes()).hexdigest()}
    runs = sorted(p for p in folder.rglob("metrics.jsonl") if not p.parent.is_symlink())
    for i, metrics in enumerate(runs):
        lines = [json.loads(line) for line in metrics.read_text().splitlines()]
        results[f"metrics {i}"] = numbers_of(lines)
    tensors = sorted(folder.rglob("adapter_model.safetensors"))
    tensors = [t for t in tensors if "latest" not in t.parts]
    for i, file in enumerate(tensors):
        results[f"adapter {i}"] = {"sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--against", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = run(Path(folder))
    chosen.out.write_text(json.dumps(results, indent=1) + "\n")
    print(f"{sum(len(v) for v in results.values()):,} numbers of {len(results)} results")
    if chosen.against is None:
        return
    before = json.loads(chosen.against.read_text())
    results = json.loads(chosen.out.read_text())  # NaN and inf as the file has them
    differing = 0
    for name in before | results:
        old, new = before.get(name, {}), results.get(name, {})
        keys = [k for k in old | new if repr(old.get(k)) != repr(new.get(k))]
        differing += len(keys)
        for key in keys[:5]:
            print(f"{name} {key}: {old.get(key)!r} before, {new.get(key)!r} now")
        if len(keys) > 5:
            print(f"{name}: … {len(keys)} in all")
    print(f"{differing:,} differ")
    sys.exit(differing > 0)


if __name__ == "__main__":
    main()
