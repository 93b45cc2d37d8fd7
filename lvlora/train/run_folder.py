"""The folder of a run: its files and saved states, how a new one begins, how a stopped one goes on.

A state is a folder ``step-00000050/`` with parameters, optimiser moments and the step, in
safetensors, and, written last, a manifest with their SHA-256. One without a valid manifest is
passed over for the one before it.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from lvlora import __version__, durable, folders
from lvlora.errors import LvloraError, SettingsError
from lvlora.flops.ledger import FILE_NAME, entries
from lvlora.model import devices
from lvlora.model.catalogue import IN_RUN, LATEST, RUN_NAME
from lvlora.model.loading import read_safetensors
from lvlora.runs import NEWEST, find_run, last_sign_of_life
from lvlora.settings.configuration import resolve, to_toml
from lvlora.train.plan import Plan
from lvlora.train.record import read_text, record_of
from lvlora.train.settings import TrainSettings

_FIXED = TrainSettings.affecting("result", "placement", "limit", "output") - {"max_flops"}
"""Options that cannot change when a run goes on. Data and model can: they are known by content."""
_PACKAGES = ("torch", "transformers", "numpy", "safetensors", "pydantic", "h5py", "scipy")
_LONGEST_NAME = 4096
_ENTRIES = (
    *("name", "config.toml", "data.json", "split.json", "environment.json"),
    *("metrics.jsonl", "result.json", "report.html", "figures/training.png"),
    *("adapter*/adapter_config.json", "adapter*/*.safetensors", "adapter*/lvlora.json"),
    *("state/step-*/manifest.json", "state/step-*/state.safetensors"),
    *("tensorboard/**", "wandb/**"),
)
"""All that a run may hold, for `folders.mark`."""
_TENSORS = "state.safetensors"
_MANIFEST = "manifest.json"
_LARGEST = 10_000_000
"""Bytes of a manifest."""
_KEPT_STATES = 2
_GO_ON = "Go on with it by --resume, choose another folder, or delete it yourself."
_OTHERWISE = "Check its permissions, or choose another folder."


class RunFolder:
    """The files of a run; only a process that has it `held` writes there.

    ``adapter`` is the best one (without validation the last); ``result`` is there once it is over.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.toml"
        self.metrics = path / "metrics.jsonl"
        self.adapter = path / IN_RUN
        self.last_adapter = path / "adapter-last"
        self.state = path / "state"
        self.result = path / "result.json"

    @property
    def name(self) -> str:
        """Name of the run in the ledger since it began: the folder may be renamed."""
        with contextlib.suppress(OSError, UnicodeDecodeError):
            name = durable.read_bounded(self.path / "name", _LONGEST_NAME).decode().strip()
            return name or self.path.name
        return self.path.name

    @property
    def is_taken(self) -> bool:
        """There is more than a process left that was killed before it had a run."""
        if not self.path.is_dir():
            return self.path.exists()
        return self.config.exists() or folders.stranger_in(self.path) is not None

    @property
    def resume_command(self) -> str:
        """The command that goes on with the run."""
        return f"lvlora train --resume {shlex.quote(str(self.path))}"

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep every other process from working on this run; a killed process lets go of it."""
        busy = LvloraError(
            f"run {self.name} is still being trained by another process",
            "Wait for it, or stop it first.",
        )
        with folders.held(self.path, busy):
            yield

    @contextlib.contextmanager
    def begun(self, plan: Plan) -> Iterator[None]:
        """Begin a new run; it goes again if the block fails before anything was done."""
        if self.is_taken:
            raise SettingsError(f"--out {self.path}: is there already", _GO_ON)
        try:
            self.remove_leftovers()
            folders.mark(self.path, "run", _ENTRIES)
            self._write_facts(plan)
            yield
        except BaseException:
            done = self.metrics.exists() or self.state.exists()
            if not done and folders.stranger_in(self.path) is None:
                shutil.rmtree(self.path, ignore_errors=True)
            raise

    def _write_facts(self, plan: Plan) -> None:
        """Write what the run is of, and its name: one that no run in the ledger had."""
        placement = plan.model.placement
        data = {
            "source": plan.dataset.source,
            "series": len(plan.dataset),
            "variables": list(plan.dataset.variables),
            "sha256": plan.dataset.sha256(),
            "split": plan.split.sha256,
            "trainable_parameters": plan.trained.n_parameters,
        }
        environment = {
            "lvlora": __version__,
            "python": platform.python_version(),
            "platform": platform.platform(),
            "processors": os.cpu_count(),
            "threads": devices.set_threads(None),
            "device": str(placement.device),
            "dtype": placement.dtype_name,
            "packages": {name: version(name) for name in _PACKAGES},
        }
        # not auto, which is a question of timing
        settings = plan.settings.model_copy(update={"dtype": placement.dtype_name})
        names = {row.run for row in entries(settings.runs)}
        name, number = self.path.name, 1
        while name in names:
            number += 1
            name = f"{self.path.name}+{number}"
        durable.write_text(self.path / "name", name + "\n")
        durable.write_text(self.config, to_toml("train", settings))
        durable.write_text(self.path / "split.json", plan.split.to_json())
        for file, content in {"data": data, "environment": environment}.items():
            durable.write_text(self.path / f"{file}.json", json.dumps(content, indent=1) + "\n")

    def remove_leftovers(self) -> None:
        """Delete the unfinished files of a killed process; only while the run is `held`."""
        for part in [p for p in self.path.rglob(".*") if folders.LEFTOVER.fullmatch(p.name)]:
            if part.is_dir():
                shutil.rmtree(part, ignore_errors=True)
            else:
                part.unlink(missing_ok=True)

    def append(self, record: Mapping[str, Any]) -> None:
        """Append a line to metrics.jsonl."""
        try:
            with self.metrics.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(record) + "\n")
        except OSError as error:
            raise LvloraError(
                f"{self.metrics}: cannot be written: {error.strerror or error}",
                "Free some space; lvlora train --resume goes on from the last checkpoint.",
            ) from error

    def sync_metrics(self) -> None:
        """Make metrics.jsonl outlast a power cut."""
        with self.metrics.open("ab") as stream:
            os.fsync(stream.fileno())

    def keep_metrics_until(self, step: int) -> None:
        """Drop what was recorded after a checkpoint: those steps are made again."""
        lines = read_text(self.metrics).splitlines() if self.metrics.is_file() else ()
        early = [line for line in lines if (r := record_of(line)) is not None and r.step <= step]
        durable.write_text(self.metrics, "".join(line + "\n" for line in early))

    def stored_settings(self, request: TrainSettings, sources: Mapping[str, str]) -> TrainSettings:
        """Return the settings of a run that goes on; a change of its result is refused."""
        config = str(self.config)
        stored = resolve(
            "train", TrainSettings, flags={}, environment={}, config=config, commands={}
        ).settings
        named = {name for name, source in sources.items() if source != "default"}
        for name in named & _FIXED:
            new, was = getattr(request, name), getattr(stored, name)
            if new != was:
                raise SettingsError(
                    f"--{name.replace('_', '-')}: a run goes on with its own settings "
                    f"({was}, not {new})",
                    "Leave the option out, or start a new run.",
                )
        # what the project may spend has its place in the ledger, which is found from anywhere
        beside = self.path.resolve().parent
        project = {
            "budget": None,
            "runs": beside if (beside / FILE_NAME).is_file() else stored.runs,
        }
        # the limit is no setting of a run that goes on: its steps were laid out for the first one
        changed = {name: getattr(request, name) for name in named - _FIXED - {"max_flops"}}
        return stored.model_copy(update={**project, **changed})

    def make_latest(self, runs: Path) -> None:
        """Name this run in runs/latest, if it is one of them."""
        if self.path.resolve().parent == runs.resolve():
            durable.write_text(runs / LATEST, self.path.resolve().name + "\n")


def stopped_run(settings: TrainSettings) -> RunFolder:
    """Return the run that --resume means: by its name, or the last that was worked on."""
    if settings.resume != NEWEST:
        return RunFolder(find_run(settings.resume, settings.runs, "--resume"))
    begun = [file.parent for file in settings.runs.glob("*/config.toml")]
    stopped = [path for path in begun if not RunFolder(path).result.is_file()]
    if not stopped:
        raise SettingsError(
            f"--resume: there is no stopped run in {settings.runs}",
            "Name one: lvlora train --resume RUN.",
        )
    return RunFolder(max(stopped, key=last_sign_of_life))


def check_out(settings: TrainSettings) -> None:
    """Refuse an ``out`` that is taken, or an impossible name among the runs."""
    out = settings.out
    if out is None:
        return
    try:
        is_among_runs = out.resolve().parent == settings.runs.resolve()
        is_taken = RunFolder(out).is_taken
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links, before Python 3.13
        raise SettingsError(f"--out {out}: cannot be used ({error})", _OTHERWISE) from None
    if is_among_runs and not RUN_NAME.fullmatch(out.name):
        raise SettingsError(
            f"--out {out}: a run's name is made of letters, digits and . _ + @ -",
            "Choose another name.",
        )
    if is_taken:
        raise SettingsError(f"--out {out}: is there already", _GO_ON)


def create(settings: TrainSettings, slug: str) -> RunFolder:
    """Make a new run's folder: ``out`` itself, or runs/<UTC time>-<slug>."""
    out, runs = settings.out, settings.runs
    try:
        if out is None:
            stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
            slug = re.sub(r"[^A-Za-z0-9.]+", "-", slug).strip("-").lower()[:48]
            runs.mkdir(parents=True, exist_ok=True)
            out = runs / f"{stamp}-{slug}"
            while not _makes(out):
                out = out.with_name(f"{out.name}+")
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LvloraError(
            f"{settings.out or runs}: a run's folder cannot be made ({error.strerror or error})",
            _OTHERWISE,
        ) from None
    return RunFolder(out)


def _makes(path: Path) -> bool:
    """Make a folder; return False where it is there, or another process makes it."""
    with contextlib.suppress(FileExistsError):
        path.mkdir()
        return True
    return False


class State(NamedTuple):
    """A saved state that was read back and verified."""

    step: int
    tensors: dict[str, Tensor]
    facts: dict[str, Any]
    folder: Path


def save_state(
    folder: Path,
    step: int,
    parameters: Mapping[str, nn.Parameter],
    optimizers: Sequence[torch.optim.Optimizer],
    facts: Mapping[str, Any],
) -> Path:
    """Write the state after ``step`` steps and delete all but the two newest.

    States of later steps were passed over when the run went on, and go as well.

    The states before are intact if it cannot be written.
    """
    target = folder / f"step-{step:08d}"
    with contextlib.suppress(Exception):  # one that is damaged is written again
        if _read(target).facts == json.loads(json.dumps(dict(facts))):
            return target  # never replaced: until that is done there would be none
    with folders.replacing(target) as new:
        save_file(tensors_of(parameters, optimizers), str(new / _TENSORS))
        manifest = {
            "step": step,
            "sha256": {_TENSORS: durable.sha256_of(new / _TENSORS)},
            "facts": dict(facts),
        }
        manifest["manifest_sha256"] = durable.sha256_of_json(manifest)
        durable.write_text(new / _MANIFEST, json.dumps(manifest, indent=1))
    states = _states(folder)
    later = [state for state in states if state.name > target.name]
    complete = [s for s in states if s not in later and (s / _MANIFEST).is_file()]
    for old in [*later, *complete[_KEPT_STATES:]]:
        (old / _MANIFEST).unlink(missing_ok=True)  # invalid first, then gone
        shutil.rmtree(old, ignore_errors=True)
    return target


def tensors_of(
    parameters: Mapping[str, nn.Parameter], optimizers: Sequence[torch.optim.Optimizer]
) -> dict[str, Tensor]:
    """Return all that a run changes, by name."""
    tensors = {f"parameter.{n}": p.detach().contiguous() for n, p in parameters.items()}
    for i, optimizer in enumerate(optimizers):
        for j, moments in optimizer.state_dict()["state"].items():
            for key, value in moments.items():
                tensors[f"optimizer.{i}.{j}.{key}"] = torch.as_tensor(value).contiguous()
    return tensors


def restore_tensors(
    tensors: Mapping[str, Tensor],
    source: object,
    parameters: Mapping[str, nn.Parameter],
    optimizers: Sequence[torch.optim.Optimizer],
) -> None:
    """Put `tensors_of`, from ``source``, back into parameters and optimisers of a new run."""
    saved = {n: t.shape for n, t in tensors.items() if n.startswith("parameter.")}
    if saved != {f"parameter.{n}": p.shape for n, p in parameters.items()}:
        raise LvloraError(
            f"{source}: the checkpoint holds other parameters than this run",
            "Begin a new run, or resume the one that it is of.",
        )
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(tensors[f"parameter.{name}"])
    for i, optimizer in enumerate(optimizers):
        content = optimizer.state_dict()
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            if name.startswith(f"optimizer.{i}."):
                _, _, j, key = name.split(".", 3)
                moments.setdefault(int(j), {})[key] = tensor
        content["state"] = moments
        optimizer.load_state_dict(content)


def latest_state(folder: Path) -> tuple[State | None, list[str]]:
    """Return the newest valid state, and a warning for each one that had to be passed over."""
    warnings: list[str] = []
    for candidate in _states(folder):
        try:
            return _read(candidate), warnings
        except Exception as error:  # whatever a damaged file makes of its readers
            warnings.append(f"{candidate}: passed over, it is not a whole checkpoint ({error})")
    return None, warnings


def _states(folder: Path) -> list[Path]:
    return sorted((p for p in folder.glob("step-*") if p.is_dir()), reverse=True)


def _read(folder: Path) -> State:
    if not (folder / _MANIFEST).is_file():
        raise ValueError("it has no manifest")
    manifest = durable.parse_json(durable.read_bounded(folder / _MANIFEST, _LARGEST).decode())
    if manifest.pop("manifest_sha256") != durable.sha256_of_json(manifest):
        raise ValueError(f"{_MANIFEST} is damaged")
    if durable.sha256_of(folder / _TENSORS) != manifest["sha256"][_TENSORS]:
        raise ValueError(f"{_TENSORS} is damaged")
    tensors = read_safetensors(folder / _TENSORS)
    return State(int(manifest["step"]), tensors, manifest["facts"], folder)
