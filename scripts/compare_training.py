"""What makes fine-tuning better: variants of `lvlora train` at the same FLOPs, scored alike.

    python scripts/compare_training.py DATA --work /tmp/ablation     # goes on where it stopped

Every variant is a training of its own that may spend --flops (executed) from the same base model;
all are then scored by one `lvlora evaluate`. The last column is its error minus the base model's,
series by series, with the 95 % interval.
"""

from __future__ import annotations

import json

from comparison import common, lvlora, options, run_of, scores

FIRST = "--targets q_proj,v_proj --batch-size 4 --seq-len 512 --scale-jitter 0"
"""What the first variant trains; the others say what they do otherwise."""

WHOLE = "--batch-size 2 --seq-len 1000"
ALL = f"--targets all-linear {WHOLE}"
JITTER = f"{ALL} --scale-jitter 0.2"

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
    "all-linear, windows of 1000, jitter": JITTER,
    "the same, rate 3e-4": f"{JITTER} --learning-rate 3e-4",
    "the same, rate 3e-3": f"{JITTER} --learning-rate 3e-3",
    "the same, rank 32, rate 1e-3": f"{JITTER} --rank 32",
    "the same, rank 32, 8 a batch": f"{JITTER} --rank 32 --batch-size 8",
    "all-linear, windows of 1000, jitter, alpha 8": f"{JITTER} --alpha 8",
    "all-linear, windows of 1000, jitter, 1 decimal": f"{JITTER} --decimals 1",
    "all-linear, windows of 1000, jitter, 3 decimals": f"{JITTER} --decimals 3",
    "all-linear, windows of 1000, jitter, head": f"{JITTER} --train-head numeric",
    "all-linear, windows of 1000, jitter, lower half": f"{JITTER} --layers 0-3",
    "all-linear, windows of 1000, jitter, upper half": f"{JITTER} --layers 4-7",
}


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--only", nargs="+", help="numbers of variants (v07 v12); default: all")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    chosen = {
        f"v{i:02}": (name, flags)
        for i, (name, flags) in enumerate(VARIANTS.items())
        if not args.only or f"v{i:02}" in args.only
    }
    for run, (name, flags) in chosen.items():
        done = args.work / run / "answer.json"
        if not done.is_file():
            answer = lvlora(
                "train",
                args.data,
                *common(args),
                "--out",
                args.work / run,
                "--overwrite",
                "--no-validation",
                "--max-flops",
                args.flops,
                *FIRST.split(),
                *flags.split(),
            )
            done.write_text(json.dumps(answer))
        print(f"{run}  {json.loads(done.read_text())['steps']:6} steps  {name}", flush=True)
    for row in scores(args, list(chosen)):
        name = run_of(row)
        gap = next((d for who, d in row["mae_minus"].items() if who.endswith("zero-shot")), None)
        print(
            f"{chosen.get(name, (name,))[0]:40} MAE {row['mae']:.4f}  CRPS {row['crps']:.4f}  "
            f"NLL/D {row['nll']:.3f}  "
            + (f"{gap['mean']:+.4f} ({gap['low']:+.4f} to {gap['high']:+.4f})" if gap else "")
        )


if __name__ == "__main__":
    main()
