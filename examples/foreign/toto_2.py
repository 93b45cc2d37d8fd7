"""Toto 2.0 of Datadog (4 million to 2.5 billion parameters, Apache-2.0).

    pip install toto-2  # Python 3.12 or newer
    python examples/foreign/toto_2.py task toto.csv

The weights (Datadog/Toto-2.0-22m here) come from the Hugging Face hub. Written after the page of
toto-2 on PyPI; the tests of lvlora run it with a stand-in for the model.
"""

from __future__ import annotations

import numpy as np
import torch
from task_folder import Task, main
from toto2 import Toto2Model

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
PATCH = 32
"""Steps that the model reads together; shorter histories are filled up in front, and masked."""


def forecast(task: Task) -> tuple[tuple[float, ...], list[np.ndarray]]:
    """Quantiles (levels, horizon, variables) of each series."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = Toto2Model.from_pretrained("Datadog/Toto-2.0-22m").to(device).eval()
    found = []
    for history in task.histories:
        n_filled = -len(history) % PATCH
        values = np.pad(history.T, ((0, 0), (n_filled, 0)), constant_values=np.nan)
        target = torch.tensor(values, dtype=torch.float32, device=device)[None]
        known = torch.isfinite(target)
        inputs = {
            "target": torch.where(known, target, 0.0),  # (1, variables, steps)
            "target_mask": known,
            # variables of one id are forecast together
            "series_ids": torch.zeros(target.shape[:2], dtype=torch.long, device=device),
        }
        with torch.no_grad():
            quantiles = model.forecast(
                inputs, horizon=task.horizon, has_missing_values=not bool(known.all())
            )
        # (levels, 1, variables, horizon)
        found.append(quantiles[:, 0].float().cpu().numpy().transpose(0, 2, 1))
    return LEVELS, found


if __name__ == "__main__":
    main(forecast)
