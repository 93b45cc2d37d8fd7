"""One run, one folder that holds all that is needed to repeat it.

Knows: the names of its files, and how each is written. Does not know: what they mean.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from lvlora import __version__, durable
from lvlora.errors import LvloraError, SettingsError
from lvlora.model.adapter_search import IN_RUN, LATEST

_PACKAGES = ("torch", "transformers", "numpy", "safetensors", "pydantic", "h5py", "scipy")


@dataclass(frozen=True)
class RunFolder:
    """The paths of a run."""

    path: Path

    @property
    def name(self) -> str:
        """The run's name, also in the ledger."""
        return self.path.name

    @property
    def config(self) -> Path:
        """The resolved settings, a file for --config."""
        return self.path / "config.toml"

    @property
    def sources(self) -> Path:
        """Where each setting came from."""
        return self.path / "sources.json"

    @property
    def metrics(self) -> Path:
        """One JSON object a step, and one a validation."""
        return self.path / "metrics.jsonl"

    @property
    def adapter(self) -> Path:
        """The best adapter (the last, without validation)."""
        return self.path / IN_RUN

    @property
    def last_adapter(self) -> Path:
        """The adapter after the last step."""
        return self.path / "adapter-last"

    @property
    def state(self) -> Path:
        """Checkpoints to resume from."""
        return self.path / "state"

    @property
    def figures(self) -> Path:
        """Pictures of the run."""
        return self.path / "figures"

    def append(self, record: Mapping[str, Any]) -> None:
        """One line more in metrics.jsonl."""
        with self.metrics.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(record) + "\n")

    def read_metrics(self) -> list[dict[str, Any]]:
        """Every whole line of metrics.jsonl; a torn last one is left out."""
        if not self.metrics.is_file():
            return []
        records = []
        for line in self.metrics.read_text(encoding="utf-8", errors="replace").splitlines():
            with contextlib.suppress(ValueError):
                records.append(json.loads(line))
        return [r for r in records if isinstance(r, dict)]

    def keep_metrics_until(self, step: int) -> None:
        """Drop what was recorded after a checkpoint: those steps are made again."""
        kept = [r for r in self.read_metrics() if _step_of(r) <= step]
        durable.write_text(self.metrics, "".join(json.dumps(r) + "\n" for r in kept))

    def write_environment(self, device: str, threads: int) -> None:
        """environment.json: versions and machine, for whoever repeats the run."""
        facts = {
            "lvlora": __version__,
            "python": platform.python_version(),
            "platform": platform.platform(),
            "processors": os.cpu_count(),
            "threads": threads,
            "device": device,
            "packages": {name: _version(name) for name in _PACKAGES},
        }
        durable.write_text(self.path / "environment.json", json.dumps(facts, indent=1) + "\n")

    def make_latest(self) -> None:
        """runs/latest names this run (only if it lies in a folder of runs)."""
        durable.write_text(self.path.parent / LATEST, self.name + "\n")


def create(runs: Path, out: Path | None, slug: str, overwrite: bool) -> RunFolder:
    """A new run's folder: ``out`` itself, or runs/<UTC time>-<slug>.

    Raises:
        SettingsError: ``out`` has something in it and may not be replaced.
        LvloraError: it cannot be made.
    """
    if out is None:
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        path = runs / f"{stamp}-{re.sub(r'[^A-Za-z0-9.]+', '-', slug).strip('-').lower()[:48]}"
        while path.exists():
            path = path.with_name(path.name + "+")
    else:
        path = out
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            is_run = (path / "config.toml").is_file()
            if not (overwrite and path.is_dir() and is_run):
                raise SettingsError(
                    f"--out {path}: is there already",
                    "Go on with it by --resume, replace a run by --overwrite, or choose another "
                    "folder.",
                )
            shutil.rmtree(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LvloraError(f"{path}: cannot be made ({error.strerror or error})") from None
    return RunFolder(path)


def _step_of(record: Mapping[str, Any]) -> int:
    inner = record.get("validation", record)
    return int(inner.get("step", 0)) if isinstance(inner, Mapping) else 0


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
