"""Weights & Biases: offline in the run's own folder, unless WANDB_MODE says otherwise.

Knows: wandb's calls. Does not know: runs, loops.
"""

from __future__ import annotations

import importlib
import os
import shlex
from collections.abc import Mapping
from typing import Any

from lvlora.train.trackers.tracked import PROJECT, TrackedRun, Tracker


class WeightsAndBiases:
    """A run of a W&B project."""

    def __init__(self) -> None:
        self._run: Any = None

    def start(self, run: TrackedRun) -> str:
        """Begin; a resumed run goes on under the id that it was given."""
        # before the import, which already reads it: crash reports would go to its makers
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        wandb = importlib.import_module("wandb")
        project = os.environ.get("WANDB_PROJECT") or PROJECT
        # nothing leaves the machine, and no login is asked for, unless a person says so
        mode = os.environ.get("WANDB_MODE") or "offline"
        self._run = wandb.init(
            project=project,
            name=run.name,
            config=dict(run.facts),
            dir=str(run.folder),
            id=run.remembered("wandb"),
            resume="allow",
            mode=mode,
            # the terminal is the program's; the environment's settings still count
            settings=wandb.Settings(console="off", silent=True),
        )
        run.remember("wandb", str(self._run.id))
        if mode == "online":
            return f"Weights & Biases: {self._run.url}"
        folder = shlex.quote(str(run.folder / "wandb"))
        return f"Weights & Biases, offline: wandb sync {folder}/offline-run-*"

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """All of a step at once; a validation joins its step."""
        self._run.log(dict(values), step=step)

    def finish(self, failed: bool) -> None:
        """End; a failed run is marked so."""
        self._run.finish(exit_code=int(failed))


def make() -> Tracker:
    """A tracker for one run."""
    return WeightsAndBiases()
