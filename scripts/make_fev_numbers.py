"""Write tests/evaluation/fev_leaderboard.json: errors, and what the package fev makes of them.

Usage: python scripts/make_fev_numbers.py (after `pip install fev`; made with fev 0.10.0)

fev brings the package datasets with it, which is too much for the tests alone.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import fev
import numpy as np
import pandas as pd

FILE = Path(__file__).parents[1] / "tests/evaluation/fev_leaderboard.json"
MODELS = ("seasonal_naive", "good", "bad", "mixed")


def errors() -> np.ndarray:
    """(12, 4) of tasks and models: beyond both ends of the clipping, and with ties."""
    rng = np.random.default_rng(7)
    errors = np.exp(rng.normal(0, 1, (12, 4))) * (1, 0.5, 2, 1)
    errors[0, 1], errors[1, 2], errors[2] = 1e-5, 1e5, 0.5
    errors[3, 3] = errors[3, 0]
    return errors


def main() -> None:
    """Write both."""
    values = errors()
    rows = [
        {"dataset_path": f"task{i:02}", "model_name": name, "test_error": error}
        for i, row in enumerate(values)
        for name, error in zip(MODELS, row, strict=True)
    ]
    facts = {
        "fev_version": fev.__version__,
        "training_time_s": 0.0,
        "inference_time_s": 0.0,
        "trained_on_this_dataset": False,
        "horizon": 1,
        "quantile_levels": "[]",
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        board = fev.leaderboard(pd.DataFrame(rows).assign(**facts), n_resamples=1000, seed=123)
    columns = [
        f"{name}{end}" for name in ("skill_score", "win_rate") for end in ("", "_lower", "_upper")
    ]
    numbers = {
        "fev_version": fev.__version__,
        "seed": 123,
        "columns": columns,
        "models": MODELS,
        "errors": values.tolist(),
        "leaderboard": [board.loc[m, columns].tolist() for m in MODELS],
    }
    FILE.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
