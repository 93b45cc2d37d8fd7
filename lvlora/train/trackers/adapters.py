"""TensorBoard, Trackio, Weights & Biases and MLflow behind one interface of three calls.

An adapter knows its tracker's own calls and nothing of runs. Nothing leaves the machine, and no
login is asked for, unless a variable of the tracker's own says so.
"""

from __future__ import annotations

import importlib
import json
import os
import shlex
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from lvlora import durable
from lvlora.errors import DataError

PROJECT = "lvlora"
"""What a tracker's project or experiment is called where its own variable names no other."""

FOLDER = "tensorboard"
"""Where TensorBoard's files are in a run."""

SECONDS_BETWEEN_WRITES = 5.0
"""MLflow's write is a transaction, which would cost more than a small step does."""

_MOST_METRICS = 1000
"""MLflow takes no more in one call."""

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
        found = self._ids().get(tracker)
        return found if isinstance(found, str) else None

    def remember(self, tracker: str, name: str) -> None:
        """Keep a tracker's id, so that a resumed run goes on where it was."""
        ids = {**self._ids(), tracker: name}
        durable.write_text(self.folder / _IDS, json.dumps(ids, indent=1) + "\n")

    def _ids(self) -> dict[str, Any]:
        try:
            return durable.read_json_object(self.folder / _IDS)
        except DataError:
            return {}


class Tracker(Protocol):
    """One outside tracker; anything it raises ends its part in the run, not the run."""

    def start(self, run: TrackedRun) -> str:
        """Begin, or go on; returns where to look, as a sentence."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers that belong to a step."""

    def finish(self, failed: bool) -> None:
        """The run is over, whole or not."""


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


class MLflow:
    """A run of an MLflow experiment."""

    def __init__(self) -> None:
        self._client: Any = None
        self._entities: Any = None
        self._id = ""
        self._waiting: list[Any] = []
        self._written = 0.0

    def start(self, run: TrackedRun) -> str:
        """Begin; a resumed run goes on under the id that it was given."""
        # before the import, which already sends: usage reports would go to its makers
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")  # the terminal is the program's
        with warnings.catch_warnings():  # of the packages that MLflow uses
            warnings.simplefilter("ignore")
            tracking = importlib.import_module("mlflow.tracking")
            self._entities = importlib.import_module("mlflow.entities")
            store = os.environ.get("MLFLOW_TRACKING_URI")
            if not store:
                run.runs.mkdir(parents=True, exist_ok=True)
                store = f"sqlite:///{run.runs.resolve() / 'mlflow.db'}"
            self._client = tracking.MlflowClient(tracking_uri=store)
            self._id = run.remembered("mlflow") or self._begin(run)
        run.remember("mlflow", self._id)
        self._written = time.monotonic()
        return f"MLflow: mlflow ui --backend-store-uri {shlex.quote(store)}"

    def _begin(self, run: TrackedRun) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or PROJECT
        found = self._client.get_experiment_by_name(name)
        experiment = found.experiment_id if found else self._client.create_experiment(name)
        made = self._client.create_run(
            experiment, run_name=run.name, tags={"lvlora.folder": str(run.folder)}
        )
        param = self._entities.Param
        facts = [param(key, str(value)) for key, value in run.facts.items()]
        self._client.log_batch(made.info.run_id, params=facts)
        return str(made.info.run_id)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Kept for the next write."""
        now = int(time.time() * 1000)
        metric = self._entities.Metric
        self._waiting += [metric(name, value, now, step) for name, value in values.items()]
        if time.monotonic() - self._written >= SECONDS_BETWEEN_WRITES:
            self._write()

    def finish(self, failed: bool) -> None:
        """Write what is still waiting, and how the run ended."""
        self._write()
        self._client.set_terminated(self._id, "FAILED" if failed else "FINISHED")

    def _write(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:_MOST_METRICS], self._waiting[_MOST_METRICS:]
            self._client.log_batch(self._id, metrics=batch)
        self._written = time.monotonic()


ADAPTERS: dict[str, Callable[[], Tracker]] = {
    "tensorboard": TensorBoard,
    "trackio": Trackio,
    "wandb": WeightsAndBiases,
    "mlflow": MLflow,
}
"""Tracker → its adapter, made for one run; it needs the package of the tracker's name."""
