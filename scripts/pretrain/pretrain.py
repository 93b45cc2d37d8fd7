"""Make the bundled model from nothing: one mixture, one stage, one schedule, 3e15 FLOPs.

    python scripts/pretrain/pretrain.py

The same command goes on where a run was stopped. The weights are written to ``work/pretrain/model``
with a manifest that names the recipe, the seed and the commit; ``--install`` puts them in the
package once they are better on the development set (README.md).
"""

from __future__ import annotations

import argparse
import json
import subprocess
from dataclasses import asdict
from pathlib import Path

from rows import Rows
from training import Recipe, export, train

from lvlora.model.devices import keep_freed_memory, set_threads

RECIPE = Recipe(budget=3e15, rows=Rows("numbers"), fourier=True, hidden=128)
INSTALLED = Path("lvlora/model/bundled")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("work/pretrain"))
    parser.add_argument("--threads", type=int, help="CPU threads; default: all cores")
    parser.add_argument("--install", action="store_true", help="write the weights to the package")
    args = parser.parse_args()
    set_threads(args.threads)
    keep_freed_memory()
    trained = train(RECIPE, args.out)
    folder = INSTALLED if args.install else args.out / "model"
    export(trained, folder, RECIPE.rows.vocabulary)
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    facts = {"recipe": asdict(RECIPE), "commit": commit, "executed_flops": trained.executed}
    (args.out / "manifest.json").write_text(json.dumps(facts, indent=2) + "\n")
    print(f"{trained.executed:,} FLOPs executed in {trained.seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
