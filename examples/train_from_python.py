"""Train and forecast from Python: data, a run, a table with rivals, what it cost.

    python examples/train_from_python.py

simulates forty predator-prey systems, tunes the bundled model on them for a few steps, and scores
it beside forecasters that are no language model. Everything is written below the folder runs, as
`lvlora train` would; `lvlora report` shows the run.
"""

from __future__ import annotations

import lvlora


class Tell(lvlora.Observer):
    """An observer is told of every step, validation and note; this one prints the validations."""

    def validated(self, record: lvlora.ValidationRecord) -> None:
        """A validation was made."""
        print(f"after step {record.step}: validation loss {record.loss}")


def main(steps: int = 50, runs: str = "runs", series: int = 6) -> list[lvlora.Entry]:
    """Train, score, say what it cost; returns the table."""
    data = lvlora.simulate(n_series=40, n_steps=60, duration=120, noise=0.05, seed=1)
    # any option of `lvlora train`, with underscores; a misspelt one is an error
    result = lvlora.fine_tune(
        data,
        model="bundled",
        rank=4,
        max_steps=steps,
        validation_series=series,
        runs=runs,
        max_flops=10**13,
        observer=Tell(),
    )
    print(f"{result.steps} steps, loss {result.loss:.3f}, adapter in {result.adapter}")

    forecaster = lvlora.open_model(adapter=result.adapter)
    base = lvlora.open_model("bundled")
    rows = lvlora.evaluate(
        data,
        [forecaster, base],
        split="validation",
        context=40,
        horizon=20,
        limit=series,
        samples=10,
    )
    for row in sorted(rows, key=lambda row: row.mae):
        print(f"{row.name:50} MAE {row.mae:.3f}")

    spent = lvlora.spent(runs)  # what the ledger has: the training
    scored = forecaster.usage.price + base.usage.price
    print(f"{spent.executed:.3g} FLOPs of training, {scored.executed:.3g} of forecasts")
    return rows


if __name__ == "__main__":
    main()
