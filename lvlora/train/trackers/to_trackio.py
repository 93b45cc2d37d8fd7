"""Trackio: a local data base and dashboard with the interface of wandb.

Knows: trackio's calls. Does not know: runs, loops. It stays on this machine unless a variable of
trackio's own (TRACKIO_SPACE_ID, TRACKIO_SERVER_URL) names another.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from typing import Any

from lvlora.train.trackers.tracked import PROJECT, TrackedRun, Tracker


class Trackio:
    """A run of a Trackio project."""

    def __init__(self) -> None:
        self._trackio: Any = None

    def start(self, run: TrackedRun) -> str:
        """Begin; a resumed run goes on under its name."""
        self._trackio = importlib.import_module("trackio")
        project = os.environ.get("TRACKIO_PROJECT") or PROJECT
        again = run.first_step > 0 or run.remembered("trackio") is not None
        self._trackio.init(
            project=project,
            name=run.name,
            config=dict(run.facts),
            resume="allow" if again else "never",
            # no notebook to embed it in, and no samples of a machine that others may share
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )
        run.remember("trackio", run.name)
        return f"Trackio: trackio show --project {project}"

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """All of a step at once."""
        self._trackio.log(dict(values), step=step)

    def finish(self, failed: bool) -> None:
        """Write what is still waiting; it has no place for how a run ended."""
        self._trackio.finish()


def make() -> Tracker:
    """A tracker for one run."""
    return Trackio()
