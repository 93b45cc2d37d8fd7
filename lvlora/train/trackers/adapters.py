"""TensorBoard, Trackio, Weights & Biases and MLflow, by accelerate's trackers.

Nothing leaves the machine, and no login is asked for, unless a variable of the tracker's own says
so.
"""

from __future__ import annotations

import importlib
import json
import os
import shlex
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lvlora import durable
from lvlora.errors import DataError

PROJECT = "lvlora"
"""What a tracker's project or experiment is called where its own variable names no other."""

FOLDER = "tensorboard"
"""Where TensorBoard's files are in a run."""

_IDS = "trackers.json"

Scalar = str | int | float | bool


@dataclass(frozen=True)
class TrackedRun:
    """A run as a tracker is told of it.

    Attributes:
        name: the run's name, as in the ledger.
        folder: the run's folder, in which a tracker may keep files.
        runs: the folder of all runs.
        first_step: steps that were done before; 0 is a fresh run.
        facts: settings and what was made of them, flat; no value is None.
    """

    name: str
    folder: Path
    runs: Path
    first_step: int
    facts: Mapping[str, Scalar]

    def remembered(self, tracker: str) -> str | None:
        """The id that a tracker gave this run when it began."""
        name = self._ids().get(tracker)
        return name if isinstance(name, str) else None

    def remember(self, tracker: str, name: str) -> None:
        """Keep a tracker's id, so that a resumed run goes on where it was."""
        ids = {**self._ids(), tracker: name}
        durable.write_text(self.folder / _IDS, json.dumps(ids, indent=1) + "\n")

    def _ids(self) -> dict[str, Any]:
        try:
            return durable.read_json_object(self.folder / _IDS)
        except DataError:
            return {}


class Tracker:
    """One of accelerate's trackers; anything it raises ends its part in the run, not the run.

    Args:
        name: one of `NAMES`.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._tracker: Any = None

    def start(self, run: TrackedRun) -> str:
        """Begin, or go on; returns where to look, as a sentence."""
        self._tracker, where = _MAKERS[self.name](run, _tracking())
        # the first process alone calls this; accelerate need not ask which it is
        self._tracker.main_process_only = False
        with warnings.catch_warnings():  # of the packages that MLflow uses
            warnings.simplefilter("ignore")
            self._tracker.start()
        is_new = run.first_step == 0 and run.remembered(self.name) is None
        if is_new and self.name in ("tensorboard", "mlflow"):  # the others had it at their start
            self._tracker.store_init_configuration(dict(run.facts))
        inner = self._tracker.tracker
        if self.name == "trackio":
            run.remember(self.name, run.name)
        elif self.name != "tensorboard":
            run.remember(self.name, str(inner.id if self.name == "wandb" else inner.info.run_id))
        is_online = self.name == "wandb" and os.environ.get("WANDB_MODE") == "online"
        return f"Weights & Biases: {inner.url}" if is_online else where

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers that belong to a step."""
        # MLflow's write is a transaction, which would cost more than a small step does
        how = {"synchronous": False} if self.name == "mlflow" else {}
        self._tracker.log(dict(values), step=step, **how)

    def finish(self, failed: bool) -> None:
        """End, and say where there is a place for it how the run ended."""
        if self.name == "wandb":
            self._tracker.tracker.finish(exit_code=int(failed))
        elif self.name == "mlflow":
            mlflow = importlib.import_module("mlflow")
            mlflow.flush_async_logging()
            mlflow.end_run("FAILED" if failed else "FINISHED")
        else:
            self._tracker.finish()


def _tracking() -> Any:
    """Import accelerate's trackers, whose logging needs a state; keep the number of threads."""
    threads = torch.get_num_threads()
    accelerate = importlib.import_module("accelerate")
    accelerate.PartialState(cpu=True)
    torch.set_num_threads(threads)
    return importlib.import_module("accelerate.tracking")


def _tensorboard(run: TrackedRun, tracking: Any) -> tuple[Any, str]:
    """RUN/tensorboard; a resumed run's repeated steps replace the first ones."""
    purge = run.first_step + 1 if (run.folder / FOLDER).is_dir() else None
    tracker = tracking.TensorBoardTracker(FOLDER, str(run.folder), purge_step=purge)
    return tracker, f"TensorBoard: tensorboard --logdir {shlex.quote(str(run.runs))}"


def _trackio(run: TrackedRun, tracking: Any) -> tuple[Any, str]:
    """A run of a Trackio project; a resumed one goes on under its name."""
    project = os.environ.get("TRACKIO_PROJECT") or PROJECT
    is_new = run.first_step == 0 and run.remembered("trackio") is None
    tracker = tracking.TrackioTracker(
        project,
        name=run.name,
        config=dict(run.facts),
        resume="never" if is_new else "allow",
        # no notebook to embed it in, and no samples of a machine that others may share
        embed=False,
        auto_log_gpu=False,
        auto_log_cpu=False,
    )
    return tracker, f"Trackio: trackio show --project {project}"


def _wandb(run: TrackedRun, tracking: Any) -> tuple[Any, str]:
    """A run of a W&B project; a resumed one goes on under the id that it was given."""
    # before the import, which already reads it: crash reports would go to its makers
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    wandb = importlib.import_module("wandb")
    tracker = tracking.WandBTracker(
        os.environ.get("WANDB_PROJECT") or PROJECT,
        name=run.name,
        config=dict(run.facts),
        dir=str(run.folder),
        id=run.remembered("wandb"),
        resume="allow",
        mode=os.environ.get("WANDB_MODE") or "offline",
        # the terminal is the program's; the environment's settings still count
        settings=wandb.Settings(console="off", silent=True),
    )
    folder = shlex.quote(str(run.folder / "wandb"))
    return tracker, f"Weights & Biases, offline: wandb sync {folder}/offline-run-*"


def _mlflow(run: TrackedRun, tracking: Any) -> tuple[Any, str]:
    """A run of an MLflow experiment; a resumed one goes on under the id that it was given."""
    # before the import, which already reads them: usage would be sent to its makers
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")  # the terminal is the program's
    mlflow = importlib.import_module("mlflow")
    store = os.environ.get("MLFLOW_TRACKING_URI")
    if not store:
        run.runs.mkdir(parents=True, exist_ok=True)
        store = f"sqlite:///{run.runs.resolve() / 'mlflow.db'}"
    mlflow.set_tracking_uri(store)
    tracker = tracking.MLflowTracker(
        PROJECT,
        run_id=run.remembered("mlflow"),
        run_name=run.name,
        tags={"lvlora.folder": str(run.folder)},
    )
    return tracker, f"MLflow: mlflow ui --backend-store-uri {shlex.quote(store)}"


_MAKERS: dict[str, Callable[[TrackedRun, Any], tuple[Any, str]]] = {
    "tensorboard": _tensorboard,
    "trackio": _trackio,
    "wandb": _wandb,
    "mlflow": _mlflow,
}
NAMES = tuple(_MAKERS)
"""Trackers; each needs accelerate and the package of its name."""
