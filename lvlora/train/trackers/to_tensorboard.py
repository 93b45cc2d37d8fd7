"""TensorBoard event files in the run's own folder.

Knows: torch's writer of event files. Does not know: runs, loops. Nothing leaves the machine.
"""

from __future__ import annotations

import importlib
import shlex
from collections.abc import Mapping
from typing import Any

from lvlora.train.trackers.tracked import TrackedRun, Tracker

FOLDER = "tensorboard"


class TensorBoard:
    """Writes RUN/tensorboard; a resumed run's repeated steps replace the first ones."""

    def __init__(self) -> None:
        self._writer: Any = None

    def start(self, run: TrackedRun) -> str:
        """Open the file; the settings become hyperparameters."""
        board = importlib.import_module("torch.utils.tensorboard")
        folder = run.folder / FOLDER
        again = folder.is_dir()
        self._writer = board.SummaryWriter(
            str(folder), purge_step=run.first_step + 1 if again else None
        )
        shown = {"validation/mae": 0.0, "validation/loss": 0.0, "train/loss": 0.0}
        for summary in board.summary.hparams(dict(run.facts), shown):
            self._writer.file_writer.add_summary(summary)
        return f"TensorBoard: tensorboard --logdir {shlex.quote(str(run.runs))}"

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """One scalar each."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def finish(self, failed: bool) -> None:
        """Close the file; it has no place for how a run ended."""
        self._writer.close()


def make() -> Tracker:
    """A tracker for one run."""
    return TensorBoard()
