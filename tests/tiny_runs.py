"""Small data sets and settings with which a whole training run takes a second."""

import contextlib
import hashlib
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lvlora.data.dataset import Dataset, Series
from lvlora.train.loop import Loaded, load_run
from lvlora.train.plan import Plan, plan_run
from lvlora.train.run import Run
from lvlora.train.run_folder import RunFolder, create
from lvlora.train.settings import TrainSettings

CHEAP = {
    f"LVLORA_{name}": value
    for name, value in {
        **{"MAX_STEPS": "2", "SEQ_LEN": "48", "BATCH_SIZE": "1", "VALIDATION_SERIES": "1"},
        **{"SAMPLES": "2", "LIMIT": "1", "WORKERS": "1", "THREADS": "1"},
        **{"DTYPE": "float32", "COMPILE": "off"},
    }.items()
}
"""Variables with which every command is quick."""


def dataset(
    n_series: int = 8, n_steps: int = 14, n_variables: int = 2, seed: int = 0, **changes: Any
) -> Dataset:
    """Waves of different lengths, all positive."""
    rng = np.random.default_rng(seed)
    time = np.arange(n_steps, dtype=float)
    series = []
    for i in range(n_series):
        phases = rng.uniform(0, 6, n_variables)
        values = 3 + 2 * np.sin(time[:, None] / rng.uniform(1, 4) + phases)
        series.append(Series(f"s{i}", time, values))
    names = ("prey", "predator", "plant", "fungus")[:n_variables]
    return Dataset(tuple(series), names, source=changes.get("source", "waves"))


def write_csv(path: Path, data: Dataset) -> Path:
    """A long table."""
    rows = [",".join(("id", "time", *data.variables))]
    for s in data:
        for t, values in zip(s.time, s.values, strict=True):
            cells = ["" if np.isnan(v) else repr(float(v)) for v in values]
            rows.append(",".join((s.id, repr(float(t)), *cells)))
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def settings(model: Path | str, runs: Path, **changes: Any) -> TrainSettings:
    """Six steps of two short windows, validated twice."""
    reference: dict[str, Any] = {
        "model": str(model),
        "runs": runs,
        "rank": 2,
        "batch_size": 2,
        "seq_len": 48,
        "max_steps": 6,
        "validate_every": 3,
        "save_every": 2,
        "threads": 1,
        "decimals": 1,
        "dtype": "float32",
        "learning_rate": 1e-2,
        **changes,
    }
    return TrainSettings(**reference)


def plan(model: Path | str, runs: Path, data: Dataset | None = None, **changes: Any) -> Plan:
    return plan_run(settings(model, runs, **changes), data or dataset())


def loaded(model: Path | str, runs: Path, data: Dataset | None = None, **changes: Any) -> Loaded:
    return load_run(plan(model, runs, data, **changes))


def folder(runs: Path, name: str = "") -> RunFolder:
    """A new run's folder."""
    out = runs / name if name else None
    return create(TrainSettings(runs=runs, out=out), "tiny")


def flags(model: Path | str, runs: Path, **changes: Any) -> list[str]:
    """The same settings for a command line."""
    flag_values = settings(model, runs, **changes).model_dump(mode="json", exclude_defaults=True)
    words: list[str] = []
    for name, value in flag_values.items():
        option = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            words.append(option if value else f"--no-{name.replace('_', '-')}")
        elif name == "targets":
            words += [option, ",".join(value)]
        else:
            words += [option, str(value)]
    return words


def quick(model: Path | str) -> list[str]:
    """Options that make forecasts of a tiny model quick and the same on every machine."""
    return ["--model", str(model), *"--dtype float32 --threads 1 --decimals 1".split()]


def weights(run: Path, which: str = "adapter") -> str:
    """A hash of an adapter's bytes."""
    return hashlib.sha256((run / which / "adapter_model.safetensors").read_bytes()).hexdigest()


def metrics(run: Path) -> list[dict[str, Any]]:
    """The rows of metrics.jsonl, each of them whole."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def steps_of(run: Path) -> list[int]:
    """The training steps in metrics.jsonl, in their order."""
    return [row["step"] for row in metrics(run) if "step" in row]


@contextlib.contextmanager
def stopped_by_a_signal(monkeypatch: pytest.MonkeyPatch, step: int = 2) -> Iterator[None]:
    """Inside, a training gets SIGTERM as soon as it has recorded this step."""
    record = Run._record

    def stopping(self: Run, step_record: Any) -> None:
        record(self, step_record)
        if self.progress.step == step:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "_record", stopping)
        yield
