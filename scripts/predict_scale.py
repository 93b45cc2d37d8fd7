"""The efficiencies that docs/notes/scale.md predicts, from its model and measurements.

Usage: python scripts/predict_scale.py
"""

from __future__ import annotations

import json
from typing import Any

STEP_FLOPS = 3_202_486_370_304
"""Executed by a micro-batch of 4 x 512 tokens: lvlora flops --model qwen2.5-0.5b --batch-size 4
--seq-len 512 --rank 8."""
TRAINED = 540_672
"""Parameters of that adapter."""
DEVICE = 2e14
"""FLOP/s of one GPU in such steps; assumed."""


def efficiency_of_ranks(
    size: int,
    seconds: float,
    n_bytes: float,
    validation: float,
    *,
    bandwidth: float,
    latency: float,
    agreement: float,
) -> float:
    """Of one run on ``size`` devices: docs/notes/scale.md derives it.

    Args:
        seconds: of a step on one device; n_bytes: of the gradients that travel.
        validation: share of the whole time on one device, which the first makes alone.
        bandwidth: bytes a second between two devices; latency, agreement: seconds of one hop and
            of what the processes tell each other besides.
    """
    exchange = 2 * (size - 1) * latency + 2 * (size - 1) / size * n_bytes / bandwidth + agreement
    steps = seconds / (seconds / size + exchange)  # their speed-up
    return 1 / (size * (validation + (1 - validation) / steps))


def efficiency_of_workers(
    workers: int, trials: int, seconds: float, start: float, serial: float
) -> float:
    """Of a sweep of equal trials: docs/notes/scale.md derives it.

    Args:
        seconds: of a trial; start: of a worker, once; serial: of the study for each trial, which
            one at a time can have.
    """
    rounds = -(-trials // workers)
    whole = max(start + rounds * (seconds + serial), trials * serial)
    return trials * seconds / (workers * whole)


def predict() -> dict[str, Any]:
    """The tables of docs/notes/scale.md, from its model and what was measured or assumed there."""
    gpu = {"bandwidth": 2e11, "latency": 20e-6, "agreement": 1.2e-3}
    step = STEP_FLOPS / DEVICE
    return {
        "eight GPUs, micro-batches a step: efficiency without and with 5 % validation": {
            micro: [
                round(efficiency_of_ranks(8, micro * step, 4 * TRAINED, share, **gpu), 2)
                for share in (0.0, 0.05)
            ]
            for micro in (8, 32, 128)
        },
        "64 workers, trials of so many seconds: efficiency for 64, 96 and 640 trials": {
            seconds: [
                round(efficiency_of_workers(64, n, seconds, 7.0, 0.07), 2) for n in (64, 96, 640)
            ]
            for seconds in (10, 60, 600)
        },
    }


if __name__ == "__main__":
    print(json.dumps(predict(), indent=1))
