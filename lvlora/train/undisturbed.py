"""A program that trains finds its random numbers and its threads as they were.

Dropout can only draw from the generator that the whole process shares. So that two trainings in two
threads give what each would give alone, one step of one of them draws at a time, from a seed of its
own, and puts back what it found.
"""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

_drawing = threading.Lock()
_counting = threading.Lock()
_n_inside = 0
_found: dict[str, Any] = {}


@contextlib.contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Draw from a seed of one's own; nobody else that does so draws meanwhile."""
    devices = [device] if device.type == "cuda" else []
    with _drawing, torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Put back the process' random states and number of threads, when the last one is done."""
    global _n_inside, _found
    with _counting:
        if _n_inside == 0:
            _found = _states()
        _n_inside += 1
    try:
        yield
    finally:
        with _counting:
            _n_inside -= 1
            if _n_inside == 0:
                with _drawing:
                    _put_back(_found)


def _states() -> dict[str, Any]:
    return {
        "threads": torch.get_num_threads(),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else None,
        "numpy": np.random.get_state(),
        "python": random.getstate(),
    }


def _put_back(found: dict[str, Any]) -> None:
    torch.set_num_threads(found["threads"])
    torch.set_rng_state(found["torch"])
    if found["cuda"] is not None:
        torch.cuda.set_rng_state_all(found["cuda"])
    np.random.set_state(found["numpy"])
    random.setstate(found["python"])
