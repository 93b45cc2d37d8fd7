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
import os
import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch

from lvlora import __version__
from lvlora.errors import SettingsError, reason
from lvlora.narrator import Narrator
from lvlora.train.loop import Loaded
from lvlora.train.record import Observer, RunPlan, StepRecord, ValidationRecord
from lvlora.train.run_folder import RunFolder

_PROJECT = "lvlora"
"""Project or experiment where the tracker's own variable names no other."""
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


def tracked(inner: Observer, loaded: Loaded, folder: RunFolder, narrator: Narrator) -> Observer:
    """Return an observer that tells the settings' trackers, too; the narrator hears of failures."""
    trackers = loaded.plan.settings.tracker
    return _Tracked(inner, loaded, folder, narrator) if trackers else inner


class _Tracked(Observer):
    """An observer that tells trackers first and ``inner`` then."""

    def __init__(
        self, inner: Observer, loaded: Loaded, folder: RunFolder, narrator: Narrator
    ) -> None:
        self.inner, self.loaded, self.folder, self.narrator = inner, loaded, folder, narrator
        self._trackers: dict[str, Any] = {}
        self._convention = loaded.plan.settings.convention

    def started(self, plan: RunPlan) -> None:
        for variable, value in _VARIABLES.items():
            os.environ.setdefault(variable, value)
        for name in dict.fromkeys(self.loaded.plan.settings.tracker):
            with self._guarded(name):
                self._trackers[name] = self._start(name, plan)
        self.inner.started(plan)

    def step(self, record: StepRecord) -> None:
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
        values = {
            "validation/loss": float("nan") if record.loss is None else record.loss,
            "validation/seconds": record.seconds,
            "validation/best": float(record.best),
            "flops/validation": float(record.price.of(self._convention)),
            **({} if record.mae is None else {"validation/mae": record.mae}),
        }
        self._log(record.step, values)
        self.inner.validated(record)

    def finished(self) -> None:
        self.inner.finished()
        for name, tracker in tuple(self._trackers.items()):
            with self._guarded(name):
                tracker.finish()

    def _log(self, step: int, values: Mapping[str, float]) -> None:
        for name, tracker in tuple(self._trackers.items()):
            with self._guarded(name):
                tracker.log(dict(values), step=step)

    @contextlib.contextmanager
    def _guarded(self, name: str) -> Iterator[None]:
        """Say a failure once and go on without that tracker; its chatter stays off stdout."""
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                yield
        except (Exception, SystemExit) as error:  # some libraries exit where they should raise
            self._trackers.pop(name, None)
            self.narrator.warning(
                f"--tracker {name} failed and is left out from here on: {reason(error)} "
                "(metrics.jsonl has every number)."
            )

    def _start(self, name: str, plan: RunPlan) -> Any:
        """Begin a tracker's run, a new one where this run was resumed, and say where to look."""
        threads = torch.get_num_threads()
        importlib.import_module("accelerate").PartialState(cpu=True)  # its logging needs one
        torch.set_num_threads(threads)
        tracking: Any = importlib.import_module("accelerate.tracking")
        path, runs, facts = self.folder.path, self.loaded.plan.settings.runs, _facts_of(self.loaded)
        part = f"-from-step-{plan.first_step + 1}" if plan.first_step else ""
        run_name = f"{self.folder.name}{part}"
        if name == "tensorboard":
            tracker = tracking.TensorBoardTracker(f"{name}/events{part}", str(path))
            address = f"tensorboard --logdir {shlex.quote(str(runs))}"
        elif name == "trackio":
            project = os.environ.get("TRACKIO_PROJECT", _PROJECT)
            # no notebook to embed it in, and no samples of a machine that others may share
            off = dict.fromkeys(("embed", "auto_log_gpu", "auto_log_cpu"), False)
            tracker = tracking.TrackioTracker(project, name=run_name, config=facts, **off)
            address = f"trackio show --project {project}"
        elif name == "wandb":
            project = os.environ.get("WANDB_PROJECT", _PROJECT)
            tracker = tracking.WandBTracker(
                project,
                name=run_name,
                config=facts,
                dir=str(path),
                mode=os.environ.get("WANDB_MODE", "offline"),
                settings={"console": "off", "silent": True},  # the terminal is the program's
            )
            address = f"wandb sync {shlex.quote(str(path / name))}/offline-run-*"
        else:
            store = f"sqlite:///{runs.resolve() / 'mlflow.db'}"
            store = os.environ.get("MLFLOW_TRACKING_URI", store)
            importlib.import_module("mlflow").set_tracking_uri(store)
            tracker = tracking.MLflowTracker(_PROJECT, run_name=run_name)
            address = f"mlflow ui --backend-store-uri {shlex.quote(store)}"
        # the first process alone comes here; accelerate need not ask which it is
        tracker.main_process_only = False
        tracker.start()
        if name in ("tensorboard", "mlflow"):  # the others had it at their start
            tracker.store_init_configuration(dict(facts))
        self.narrator.note(f"--tracker {name}: {address}")
        return tracker


def _facts_of(loaded: Loaded) -> dict[str, str | int | float]:
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
    return {
        key: value if isinstance(value, str | int | float) else ",".join(map(str, value))
        for key, value in facts.items()
        if value is not None
    }
