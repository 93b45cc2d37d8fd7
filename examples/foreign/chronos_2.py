"""Chronos-2 of Amazon (120 million parameters, Apache-2.0): all variables of a series together.

    pip install "chronos-forecasting>=2.2"
    python examples/foreign/chronos_2.py task chronos.csv

The weights (amazon/chronos-2) come from the Hugging Face hub. Written for version 2.2, whose
documentation gives the shapes below; the tests of lvlora run it with a stand-in for the model.
"""

from __future__ import annotations

import numpy as np
import torch
from chronos import BaseChronosPipeline
from task_folder import Task, main

LEVELS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


def forecast(task: Task) -> tuple[tuple[float, ...], list[np.ndarray]]:
    """Quantiles (levels, horizon, variables) of each series."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    pipeline = BaseChronosPipeline.from_pretrained("amazon/chronos-2", device_map=device)
    # a list of (variables, steps), of any lengths; missing values stay NaN
    inputs = [torch.tensor(history.T, dtype=torch.float32) for history in task.histories]
    quantiles, _ = pipeline.predict_quantiles(
        inputs, prediction_length=task.horizon, quantile_levels=list(LEVELS)
    )
    # each (variables, horizon, levels)
    return LEVELS, [q.float().cpu().numpy().transpose(2, 1, 0) for q in quantiles]


if __name__ == "__main__":
    main(forecast)
