"""An observer that tells trackers, by names that stay; one that fails is left behind.

A run is whole without any of this: metrics.jsonl has every number exactly. So whatever a tracker
raises is said once, and the run goes on without that tracker.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lvlora import __version__
from lvlora.errors import SettingsError, reason
from lvlora.train.loop import Loaded
from lvlora.train.observer import Observer, RunPlan, StepRecord, ValidationRecord
from lvlora.train.run_folder import RunFolder
from lvlora.train.trackers.adapters import Scalar, TrackedRun, Tracker


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
    """An observer that tells the settings' trackers, too.

    Raises:
        SettingsError: a tracker's package is missing.
    """
    names = loaded.plan.settings.tracker
    if not names:
        return inner
    check_installed(names)
    return Tracked(inner, names, folder, loaded.plan.settings.runs, facts_of(loaded))


class Tracked:
    """An observer that tells trackers first and ``inner`` then.

    Args:
        names: of the trackers.
        facts: as in `TrackedRun`.
    """

    def __init__(
        self,
        inner: Observer,
        names: Iterable[str],
        folder: RunFolder,
        runs: Path,
        facts: Mapping[str, Scalar],
    ) -> None:
        self.inner = inner
        self.folder = folder
        self.runs = runs
        self.facts = facts
        self._names = tuple(dict.fromkeys(names))
        self._trackers: dict[str, Tracker] = {}
        self._outer: BaseException | None = None

    def started(self, plan: RunPlan) -> None:
        """Begin with every tracker, before anything is drawn."""
        self._outer = sys.exception()
        run = TrackedRun(self.folder.name, self.folder.path, self.runs, plan.first_step, self.facts)
        for name in self._names:
            with self._guarded(name):
                tracker = Tracker(name)
                where = tracker.start(run)
                self._trackers[name] = tracker
                self.inner.note(where)
        self.inner.started(plan)

    def step(self, record: StepRecord) -> None:
        """A training step's numbers."""
        self._log(record.step, step_values(record))
        self.inner.step(record)

    def validated(self, record: ValidationRecord) -> None:
        """A validation's numbers."""
        self._log(record.step, validation_values(record))
        self.inner.validated(record)

    def note(self, message: str) -> None:
        """Pass it on."""
        self.inner.note(message)

    def finished(self) -> None:
        """End with every tracker, after the drawing."""
        self.inner.finished()
        failed = sys.exception() is not self._outer
        for name in tuple(self._trackers):
            with self._guarded(name):
                self._trackers[name].finish(failed)
        self._trackers.clear()

    def _log(self, step: int, values: Mapping[str, float]) -> None:
        for name in tuple(self._trackers):
            with self._guarded(name):
                self._trackers[name].log(step, values)

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


def step_values(record: StepRecord) -> dict[str, float]:
    """A step's numbers by their lasting names; see docs/trackers.md."""
    seconds = max(record.seconds, 1e-9)
    return {
        "train/loss": record.loss,
        "train/learning_rate": record.learning_rate,
        "train/grad_norm": record.grad_norm,
        "train/tokens_per_second": record.tokens / seconds,
        "train/seconds": record.seconds,
        "flops/step": float(record.flops),
        "flops/total": float(record.total_flops),
    }


def validation_values(record: ValidationRecord) -> dict[str, float]:
    """A validation's numbers by their lasting names; no MAE where no forecast was made."""
    values = {
        "validation/loss": record.loss,
        "validation/seconds": record.seconds,
        "validation/best": float(record.kept),
        "flops/validation": float(record.flops),
    }
    if record.mae is not None:
        values["validation/mae"] = record.mae
    return values


def facts_of(loaded: Loaded) -> dict[str, Scalar]:
    """The run's settings and what was made of them, flat; lists as text."""
    base, plan = loaded.base, loaded.plan
    settings = plan.settings
    found: dict[str, Any] = {
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
        "dtype": str(base.placement.dtype).removeprefix("torch."),
        "lvlora_version": __version__,
    }
    return {key: _plain(value) for key, value in found.items() if value is not None}


def _plain(value: Any) -> Scalar:
    if isinstance(value, bool | float | str):
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**53 else str(value)
    return ",".join(map(str, value))
