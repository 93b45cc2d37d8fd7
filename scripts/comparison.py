"""What the comparisons of trainings share: their options, lvlora's commands, the scores."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def options(description: str | None) -> argparse.ArgumentParser:
    """The command line: data, the folder of the runs, the model, FLOPs, series, threads."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data")
    parser.add_argument("--work", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--flops", default="2e13", help="of each training")
    parser.add_argument("--series", type=int, default=64, help="of the validation part")
    parser.add_argument("--threads", type=int, default=1)
    return parser


def lvlora(*arguments: object) -> Any:
    """The answer of a command of this checkout."""
    command = [sys.executable, "-m", "lvlora", *map(str, arguments), "--json"]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def common(args: argparse.Namespace) -> list[object]:
    """What every command is told."""
    return ["--model", args.model, "--threads", args.threads, "--runs", args.work, "--quiet"]


def scores(args: argparse.Namespace, runs: Sequence[str], *flags: str) -> list[dict[str, Any]]:
    """The base model and the runs' adapters in one evaluation, the least error first.

    It goes on where it was stopped, and is kept in a folder beside the runs.
    """
    adapters = [word for run in runs for word in ("--adapter", args.work / run)]
    name = ["scores", str(args.series), *(flag.strip("-") for flag in flags), *runs]
    table = lvlora(
        "evaluate",
        args.data,
        *common(args),
        *adapters,
        "--limit",
        args.series,
        "--no-rivals",
        *flags,
        "--out",
        args.work / "-".join(name),
    )
    found: list[dict[str, Any]] = table["forecasters"]
    return sorted(found, key=lambda row: float(row["mae"]))


def run_of(row: dict[str, Any]) -> str:
    """The run whose adapter a row is about."""
    return str(row["name"]).rpartition(" + ")[2]
