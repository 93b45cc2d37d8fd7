"""Outside trackers beside a run's own record: TensorBoard, Trackio, Weights & Biases and MLflow.

accelerate's trackers do the work. Nothing leaves the machine, and no login is needed, unless a
variable of the tracker's own says so. Whatever a tracker raises is said once, and the run goes on
without that tracker: metrics.jsonl has every number exactly.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import json
import os
import shlex
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch

from lvlora import __version__, durable
from lvlora.errors import DataError, SettingsError, reason
from lvlora.train.loop import Loaded
from lvlora.train.record import Observer, RunPlan, StepRecord, ValidationRecord
from lvlora.train.run_folder import RunFolder

_PROJECT = "lvlora"
"""Project or experiment where the tracker's own variable names no other."""
_IDS = "trackers.json"
_VARIABLES = {
    "WANDB_ERROR_REPORTING": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}
"""No reports to their makers, a quiet terminal; the packages read these when they are imported."""


def check_installed(names: Iterable[str]) -> None:
    """Refuse a tracker whose package is missing, before anything is spent.

    Raises:
        SettingsError: one is.
    """
    for name in names:
        for package in (name, "accelerate"):
            if importlib.util.find_spec(package) is None:
                raise SettingsError(
                    f"--tracker {name}: the package {package} is not installed",
                    f"pip install 'lvlora[{name}]', or leave {name} out.",
                )


def tracked(inner: Observer, loaded: Loaded, folder: RunFolder) -> Observer:
    """Return an observer that tells the settings' trackers, too.

    Raises:
        SettingsError: a tracker's package is missing.
    """
    names = loaded.plan.settings.tracker
    check_installed(names)
    return Tracked(inner, loaded, folder) if names else inner


class Tracked(Observer):
    """An observer that tells trackers first and ``inner`` then."""

    def __init__(self, inner: Observer, loaded: Loaded, folder: RunFolder) -> None:
        self.inner, self.loaded, self.folder = inner, loaded, folder
        self._trackers: dict[str, Any] = {}
        self._convention = loaded.plan.settings.convention
        self._outer: BaseException | None = None

    def started(self, plan: RunPlan) -> None:
        """Begin with every tracker, before anything is drawn."""
        self._outer = sys.exception()
        for name in dict.fromkeys(self.loaded.plan.settings.tracker):
            with self._guarded(name):
                self._trackers[name], address = _start(name, self.loaded, self.folder, plan)
                self.inner.note(address)
        self.inner.started(plan)

    def step(self, record: StepRecord) -> None:
        """Log a step under the names of docs/trackers.md."""
        values = {
            "train/loss": record.loss,
            "train/learning_rate": record.learning_rate,
            "train/grad_norm": record.grad_norm,
            "train/tokens_per_second": record.tokens / max(record.seconds, 1e-9),
            "train/seconds": record.seconds,
            "flops/step": float(record.price.of(self._convention)),
            "flops/total": float(record.spent.of(self._convention)),
        }
        self._log(record.step, values)
        self.inner.step(record)

    def validated(self, record: ValidationRecord) -> None:
        """Log a validation; no MAE where no forecast was made."""
        values = {
            "validation/loss": float("nan") if record.loss is None else record.loss,
            "validation/seconds": record.seconds,
            "validation/best": float(record.best),
            "flops/validation": float(record.price.of(self._convention)),
            **({} if record.mae is None else {"validation/mae": record.mae}),
        }
        self._log(record.step, values)
        self.inner.validated(record)

    def note(self, message: str) -> None:
        """Pass it on."""
        self.inner.note(message)

    def finished(self) -> None:
        """End with every tracker, after the drawing; wandb and MLflow keep how the run ended."""
        self.inner.finished()
        failed = sys.exception() is not self._outer
        for name, tracker in tuple(self._trackers.items()):
            with self._guarded(name):
                if name == "wandb":
                    tracker.tracker.finish(exit_code=int(failed))
                elif name == "mlflow":
                    mlflow = importlib.import_module("mlflow")
                    mlflow.flush_async_logging()
                    mlflow.end_run("FAILED" if failed else "FINISHED")
                else:
                    tracker.finish()
        self._trackers.clear()

    def _log(self, step: int, values: Mapping[str, float]) -> None:
        for name, tracker in tuple(self._trackers.items()):
            # MLflow's write is a transaction, which would cost more than a small step does
            options = {"synchronous": False} if name == "mlflow" else {}
            with self._guarded(name):
                tracker.log(dict(values), step=step, **options)

    @contextlib.contextmanager
    def _guarded(self, name: str) -> Iterator[None]:
        """Say a failure once and go on without that tracker; its chatter stays off stdout."""
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                yield
        except (Exception, SystemExit) as error:  # some libraries exit where they should raise
            self._trackers.pop(name, None)
            self.inner.note(
                f"--tracker {name} failed and is left out from here on: {reason(error)} "
                "(metrics.jsonl has every number)."
            )


def _start(name: str, loaded: Loaded, folder: RunFolder, plan: RunPlan) -> tuple[Any, str]:
    """Begin, or go on with a resumed run; the tracker, and a sentence on where to look."""
    for variable, value in _VARIABLES.items():
        os.environ.setdefault(variable, value)
    threads = torch.get_num_threads()
    importlib.import_module("accelerate").PartialState(cpu=True)  # its logging needs one
    torch.set_num_threads(threads)
    tracking: Any = importlib.import_module("accelerate.tracking")
    path, runs = folder.path, loaded.plan.settings.runs
    facts, ids = facts_of(loaded), {}
    with contextlib.suppress(DataError):
        ids = durable.read_json_object(path / _IDS)
    match name:
        case "tensorboard":
            # a resumed run's repeated steps replace the first ones
            purge = plan.first_step + 1 if (path / name).is_dir() else None
            tracker = tracking.TensorBoardTracker(name, str(path), purge_step=purge)
            address = f"TensorBoard: tensorboard --logdir {shlex.quote(str(runs))}"
        case "trackio":
            project = os.environ.get("TRACKIO_PROJECT") or _PROJECT
            tracker = tracking.TrackioTracker(
                project,
                name=folder.name,
                config=facts,
                resume="allow",
                # no notebook to embed it in, and no samples of a machine that others may share
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )
            address = f"Trackio: trackio show --project {project}"
        case "wandb":
            tracker = tracking.WandBTracker(
                os.environ.get("WANDB_PROJECT") or _PROJECT,
                name=folder.name,
                config=facts,
                dir=str(path),
                id=ids.get(name),
                resume="allow",
                mode=os.environ.get("WANDB_MODE") or "offline",
                # the terminal is the program's; the environment's settings still count
                settings=importlib.import_module("wandb").Settings(console="off", silent=True),
            )
            runs_there = f"{shlex.quote(str(path / name))}/offline-run-*"
            address = f"Weights & Biases, offline: wandb sync {runs_there}"
        case _:
            store = os.environ.get("MLFLOW_TRACKING_URI")
            if not store:
                runs.mkdir(parents=True, exist_ok=True)
                store = f"sqlite:///{runs.resolve() / 'mlflow.db'}"
            importlib.import_module("mlflow").set_tracking_uri(store)
            tags = {"lvlora.folder": str(path)}
            tracker = tracking.MLflowTracker(
                _PROJECT, run_id=ids.get(name), run_name=folder.name, tags=tags
            )
            address = f"MLflow: mlflow ui --backend-store-uri {shlex.quote(store)}"
    # the first process alone comes here; accelerate need not ask which it is
    tracker.main_process_only = False
    with warnings.catch_warnings():  # of the packages that MLflow uses
        warnings.simplefilter("ignore")
        tracker.start()
    if plan.first_step == 0 and name in (
        "tensorboard",
        "mlflow",
    ):  # the others had it at their start
        tracker.store_init_configuration(dict(facts))
    if name == "wandb" and os.environ.get("WANDB_MODE") == "online":
        address = f"Weights & Biases: {tracker.tracker.url}"
    if name in ("wandb", "mlflow"):  # a resumed run goes on under the id that it was given
        run = tracker.tracker
        ids[name] = str(run.id if name == "wandb" else run.info.run_id)
        durable.write_text(path / _IDS, json.dumps(ids, indent=1) + "\n")
    return tracker, address


def facts_of(loaded: Loaded) -> dict[str, str | int | float | bool]:
    """The run's settings and what was made of them, flat; lists as text."""
    base, plan = loaded.base, loaded.plan
    settings = plan.settings
    facts: dict[str, Any] = {
        **settings.deciding("result", "data", "model", "placement", "limit", "resources"),
        "alpha": settings.effective_alpha,
        "model": base.name,
        "model_sha256": base.sha256,
        "data_sha256": plan.dataset.sha256(),
        "series": len(plan.dataset),
        "variables": plan.dataset.variables,
        "steps": plan.n_steps,
        "trainable_parameters": plan.trained.n_parameters,
        "device": str(base.placement.device),
        "dtype": base.placement.dtype_name,
        "lvlora_version": __version__,
    }
    return {key: _plain(value) for key, value in facts.items() if value is not None}


def _plain(value: Any) -> str | int | float | bool:
    if isinstance(value, bool | float | str):
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**53 else str(value)
    return ",".join(map(str, value))
