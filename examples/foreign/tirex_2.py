"""TiRex-2 of NXAI (82 million parameters, Apache-2.0): all variables of a series together.

    pip install tirex-2
    python examples/foreign/tirex_2.py task tirex.csv

The weights (NX-AI/TiRex-2) come from the Hugging Face hub. Written after the README of tirex-2
0.4; the tests of lvlora run it with a stand-in for the model.
"""

from __future__ import annotations

import numpy as np
import torch
from task_folder import Task, main
from tirex2 import TimeseriesType, load_model

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def forecast(task: Task) -> tuple[tuple[float, ...], list[np.ndarray]]:
    """Quantiles (levels, horizon, variables) of each series."""
    model = load_model("NX-AI/TiRex-2", device="cuda" if torch.cuda.is_available() else "cpu")
    # targets are (variables, steps); missing values stay NaN
    series = [
        TimeseriesType(
            target=torch.tensor(history.T, dtype=torch.float32),
            past_covariates=None,
            future_covariates=None,
        )
        for history in task.histories
    ]
    found = model.forecast(series, prediction_length=task.horizon, output_type="numpy")
    # each (variables, levels, horizon)
    return LEVELS, [np.asarray(f).transpose(1, 2, 0) for f in found]


if __name__ == "__main__":
    main(forecast)
