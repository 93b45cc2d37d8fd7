"""Panda of Lai, Bao & Gilpin (trained on chaotic systems; weights under CC BY-NC 4.0).

    git clone https://github.com/abao1999/panda && pip install -e panda
    python examples/foreign/panda_chaos.py task panda.csv

The weights (GilpinLab/panda) come from the Hugging Face hub. Panda was trained on 512 steps; of a
shorter history it reads the last patches of 16. It forecasts points, no distribution, so the only
quantile is the median. Written after the repository of August 2025; the tests of lvlora run it with
a stand-in for the model.
"""

from __future__ import annotations

import numpy as np
import torch
from panda.patchtst.pipeline import PatchTSTPipeline
from task_folder import Task, main, without_gaps

LEVELS = (0.5,)


def forecast(task: Task) -> tuple[tuple[float, ...], list[np.ndarray]]:
    """Medians (1, horizon, variables) of each series."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    pipeline = PatchTSTPipeline.from_pretrained(
        mode="predict", pretrain_path="GilpinLab/panda", device_map=device
    )
    found = []
    for history in map(without_gaps, task.histories):
        context = torch.tensor(history, dtype=torch.float32)[None]  # (1, steps, variables)
        drawn = pipeline.predict(
            context, task.horizon, limit_prediction_length=False, verbose=False
        )
        # (1, samples, at least the horizon, variables)
        median = drawn[0].float().median(dim=0).values[: task.horizon]
        found.append(median.cpu().numpy()[None])
    return LEVELS, found


if __name__ == "__main__":
    main(forecast)
