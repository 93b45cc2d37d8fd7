"""What makes fine-tuning better: variants of `lvlora train` at the same FLOPs, scored alike.

    python scripts/compare_training.py DATA --work /tmp/ablation     # goes on where it stopped

Every variant is a training of its own that may spend --flops (executed) from the same base model;
all are then scored by one `lvlora evaluate`. The last column is its error minus the base model's,
series by series, with the 95 % interval.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

WHOLE = "--batch-size 2 --seq-len 1000"
ALL = f"--targets all-linear {WHOLE}"

VARIANTS = {
    "q, v, rank 8, 4 x 512, rate 1e-3": "",
    "windows of 1000": WHOLE,
    "windows of 256": "--batch-size 8 --seq-len 256",
    "scale jitter 0.2": "--scale-jitter 0.2",
    "rate 3e-4": "--learning-rate 3e-4",
    "rate 3e-3": "--learning-rate 3e-3",
    "rank 2": "--rank 2",
    "rank 32": "--rank 32",
    "dropout 0.05": "--dropout 0.05",
    "attention's four": "--targets q_proj,k_proj,v_proj,o_proj",
    "all-linear": "--targets all-linear",
    "upper half of the layers": "--layers 4-7",
    "alphabet's head trained": "--train-head numeric",
    "batch 16": "--batch-size 16",
    "all-linear, windows of 1000": ALL,
    "the same, rank 32": f"{ALL} --rank 32",
    "the same, rank 32, rsLoRA": f"{ALL} --rank 32 --rslora",
    "all-linear, windows of 1000, jitter": f"{ALL} --scale-jitter 0.2",
    "the same, rate 3e-4": f"{ALL} --scale-jitter 0.2 --learning-rate 3e-4",
    "the same, rate 3e-3": f"{ALL} --scale-jitter 0.2 --learning-rate 3e-3",
    "the same, rank 32, rate 1e-3": f"{ALL} --scale-jitter 0.2 --rank 32",
    "the same, rank 32, 8 a batch": f"{ALL} --scale-jitter 0.2 --rank 32 --batch-size 8",
}


def lvlora(*arguments: object) -> Any:
    """The answer of a command of this checkout."""
    command = [sys.executable, "-m", "lvlora", *map(str, arguments), "--json"]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data")
    parser.add_argument("--work", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--flops", default="2e13", help="of each training")
    parser.add_argument("--series", type=int, default=64, help="of the validation part")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs="+", help="numbers of variants (v07 v12); default: all")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    common = ["--model", args.model, "--threads", args.threads, "--runs", args.work, "--quiet"]
    chosen = {
        f"v{i:02}": (name, flags)
        for i, (name, flags) in enumerate(VARIANTS.items())
        if not args.only or f"v{i:02}" in args.only
    }
    for run, (name, flags) in chosen.items():
        done = args.work / run / "answer.json"
        if not done.is_file():
            answer = lvlora(
                "train", args.data, *common, "--out", args.work / run, "--overwrite",
                "--no-validation", "--max-flops", args.flops, *flags.split(),
            )  # fmt: skip
            done.write_text(json.dumps(answer))
        print(f"{run}  {json.loads(done.read_text())['steps']:6} steps  {name}", flush=True)
    adapters = [word for run in chosen for word in ("--adapter", args.work / run)]
    table = lvlora(
        "evaluate", args.data, *common, *adapters, "--limit", args.series, "--no-rivals",
        "--out", args.work / f"scores-{args.series}",
    )  # fmt: skip
    (args.work / f"scores-{args.series}.json").write_text(json.dumps(table, indent=2))
    for row in sorted(table["forecasters"], key=lambda row: float(row["mae"])):
        name = row["name"].rpartition(" + ")[2]
        gap = next((d for who, d in row["mae_minus"].items() if who.endswith("zero-shot")), None)
        print(
            f"{chosen.get(name, (name,))[0]:40} MAE {row['mae']:.4f}  CRPS {row['crps']:.4f}  "
            f"NLL/D {row['nll']:.3f}  "
            + (f"{gap['mean']:+.4f} ({gap['low']:+.4f} to {gap['high']:+.4f})" if gap else "")
        )


if __name__ == "__main__":
    main()
