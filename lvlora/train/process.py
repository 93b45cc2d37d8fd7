"""Effects of a training on its process: signals, random states, threads.

A program that trains finds its random numbers and its threads as they were. Dropout can only draw
from the generator that the whole process shares. So that two trainings in two threads give what
each would give alone, one step of one of them draws at a time, from a seed of its own, and puts
back what it found.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import stat
import threading
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Any

import numpy as np
import torch

_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
_ASKED = (signal.SIGINT, signal.SIGTERM)
"""Always taken: a shell's background jobs, and their workers, are started with SIGINT ignored."""
_drawing = threading.Lock()
_counting = threading.Lock()
_n_inside = 0
_found: dict[str, Any] = {}


class StopRequest:
    """A context in which a first signal only sets ``requested``.

    Outside the main thread, where Python allows no handlers, nothing is changed.

    Args:
        tell: is given a sentence for people when the first signal comes.
    """

    def __init__(self, tell: Callable[[str], None] = lambda sentence: None) -> None:
        self.requested = False
        self._tell = tell
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                ignored = signal.getsignal(number) is signal.SIG_IGN
                if ignored and number not in _ASKED:
                    continue  # nohup, which is to outlast its terminal
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
            outer = getattr(handler, "__self__", None)
            if self.requested and isinstance(outer, StopRequest):
                outer.requested = True  # whatever runs around this must stop, too

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        if number not in _ASKED:
            _leave_terminal()
        self._tell("Stopping after this step, then saving; once more stops at once.")


def _leave_terminal() -> None:
    """Write no more to a terminal that is gone: every write would fail before all is saved."""
    for descriptor in (1, 2):
        # one that is gone is no terminal to isatty any more
        if stat.S_ISCHR(os.fstat(descriptor).st_mode):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, descriptor)
            os.close(nowhere)


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


def _put_back(states: dict[str, Any]) -> None:
    torch.set_num_threads(states["threads"])
    torch.set_rng_state(states["torch"])
    if states["cuda"] is not None:
        torch.cuda.set_rng_state_all(states["cuda"])
    np.random.set_state(states["numpy"])
    random.setstate(states["python"])
