"""MLflow: a SQLite file among the runs, unless MLFLOW_TRACKING_URI names another store.

Knows: MLflow's client. Does not know: runs, loops.
"""

from __future__ import annotations

import importlib
import os
import shlex
import time
import warnings
from collections.abc import Mapping
from typing import Any

from lvlora.train.trackers.tracked import PROJECT, TrackedRun, Tracker

SECONDS_BETWEEN_WRITES = 5.0
"""A write is a transaction, which would cost more than a small step does."""

_MOST_METRICS = 1000
"""MLflow takes no more in one call."""


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


def make() -> Tracker:
    """A tracker for one run."""
    return MLflow()
