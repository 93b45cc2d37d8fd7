"""Ctrl-C and SIGTERM: the first asks the loop to stop at the next step, the second stops at once.

Knows: signals. Does not know: what is being done.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


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
        self._tell("Stopping after this step, then saving; once more stops at once.")
