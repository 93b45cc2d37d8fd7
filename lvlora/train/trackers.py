"""Outside trackers beside a run's own record: TensorBoard and Weights & Biases.

Nothing leaves the machine unless WANDB_MODE says so. Whatever a tracker raises is said once, and
the run goes on without that tracker: metrics.jsonl has every number exactly.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import os
import shlex
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lvlora import __version__
from lvlora.errors import SettingsError, reason
from lvlora.narrator import Narrator
from lvlora.train.loop import Loaded
from lvlora.train.record import Observer, RunPlan, StepRecord, ValidationRecord
from lvlora.train.run_folder import RunFolder


class _TensorBoard:
    """A folder of event files, with the methods of a run of wandb."""

    def __init__(self, folder: Path, facts: dict[str, Any]) -> None:
        self._writer = importlib.import_module("torch.utils.tensorboard").SummaryWriter(str(folder))
        self._writer.add_hparams(facts, metric_dict={})

    def log(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, global_step=step)
        self._writer.flush()

    def finish(self) -> None:
        self._writer.close()


def check_installed(names: Iterable[str]) -> None:
    """Raise a SettingsError for a tracker whose package is missing, before anything is spent."""
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise SettingsError(
                f"--tracker {name}: the package {name} is not installed",
                f"pip install 'lvlora[{name}]', or leave {name} out.",
            )


class Tracked(Observer):
    """An observer that tells the settings' trackers first and ``inner`` then."""

    def __init__(
        self, inner: Observer, loaded: Loaded, folder: RunFolder, narrator: Narrator
    ) -> None:
        self.inner, self.loaded, self.folder, self.narrator = inner, loaded, folder, narrator
        self._trackers: dict[str, Any] = {}
        self._convention = loaded.plan.settings.convention

    def started(self, plan: RunPlan) -> None:
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
                tracker.log(values, step=step)

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
        folder, facts = self.folder.path, self._facts()
        part = f"-from-step-{plan.first_step + 1}" if plan.first_step else ""
        if name == "tensorboard":
            tracker: Any = _TensorBoard(folder / name / f"events{part}", facts)
            runs = str(self.loaded.plan.settings.runs)
            address = f"tensorboard --logdir {shlex.quote(runs)}"
        else:
            os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # wandb reads it when imported
            tracker = importlib.import_module("wandb").init(
                project=os.environ.get("WANDB_PROJECT", "lvlora"),
                name=f"{self.folder.name}{part}",
                config=facts,
                dir=str(folder),
                mode=os.environ.get("WANDB_MODE", "offline"),
                settings={"console": "off", "silent": True},  # the terminal is the program's
            )
            address = f"wandb sync {shlex.quote(str(folder / name))}/offline-run-*"
        self.narrator.note(f"--tracker {name}: {address}")
        return tracker

    def _facts(self) -> dict[str, Any]:
        """Return the run's settings and what came of them, flat; lists as text."""
        base, plan = self.loaded.base, self.loaded.plan
        facts = {
            **plan.settings.deciding("result", "data", "model", "placement", "limit", "resources"),
            "alpha": plan.settings.effective_alpha,
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
