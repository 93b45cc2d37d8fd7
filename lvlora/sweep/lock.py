"""The lock of a study's journal, which says when it has to be waited for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from optuna.storages.journal import JournalFileOpenLock

_PATIENCE_SECONDS = 2.0
"""A living process holds the lock while it writes a line; one that was killed holds it for ever."""
_GRACE_SECONDS = 30


class JournalLock(JournalFileOpenLock):
    """Optuna's lock: a file that only one process can make, taken over when it is abandoned.

    Args:
        note: told once if the lock is not free for longer than a line takes to write.
    """

    def __init__(self, journal: Path, note: Callable[[str], None] | None) -> None:
        super().__init__(str(journal), grace_period=_GRACE_SECONDS)
        self._journal = journal
        self._note = note

    def acquire(self) -> bool:
        """Wait for the lock and take it."""
        teller = threading.Timer(_PATIENCE_SECONDS, self._tell)
        teller.daemon = True
        teller.start()
        try:
            return super().acquire()
        finally:
            teller.cancel()

    def _tell(self) -> None:
        if self._note is not None:
            self._note(
                f"Waiting for {self._journal}.lock: another process writes there, or was killed "
                f"while it did; after {_GRACE_SECONDS} s without a change it is taken over."
            )
