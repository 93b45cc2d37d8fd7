"""The folder of a run: its files, how a new one begins, how a stopped one goes on."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import shlex
import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lvlora import __version__, durable, folders
from lvlora.errors import LvloraError, SettingsError
from lvlora.flops.ledger import FILE_NAME, entries
from lvlora.model import devices
from lvlora.model.adapters.search import IN_RUN, LATEST, RUN_NAME
from lvlora.runs import NEWEST, find_run, last_sign_of_life
from lvlora.settings.configuration import resolve, to_toml
from lvlora.train.plan import Plan
from lvlora.train.record import read_text, record_of
from lvlora.train.settings import TrainSettings

_FIXED = TrainSettings.affecting("result", "placement", "limit", "output") - {"max_flops"}
"""Options that cannot change when a run goes on. Data and model can: they are known by content."""
_PACKAGES = ("torch", "transformers", "numpy", "safetensors", "pydantic", "h5py", "scipy")
_LONGEST_NAME = 4096
_NEW = "+new"
"""NAME+new is the run that takes the place of NAME when it is complete."""
_OTHERWISE = "Check its permissions, or choose another folder."
_ENTRIES = (
    *("name", "config.toml", "data.json", "split.json", "environment.json"),
    *("metrics.jsonl", "validation.json", "result.json", "report.html", "figures/training.png"),
    *("adapter*/adapter_config.json", "adapter*/*.safetensors", "adapter*/lvlora.json"),
    *("state/step-*/manifest.json", "state/step-*/state.safetensors"),
    *("tensorboard/**", "wandb/**"),
)
"""All that a run may hold, for `folders.mark`; --overwrite spares a folder with anything else."""


class RunFolder:
    """The files of a run; only a process that has it `held` writes there.

    Attributes:
        config: the resolved settings, a file for --config.
        metrics: one JSON object a step, and one a validation.
        adapter: the best adapter (the last, without validation); last_adapter: of the last step.
        state: checkpoints to resume from.
        validation: forecasts of the validation series, and their truth.
        result: result of the run; there once it is over.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.toml"
        self.metrics = path / "metrics.jsonl"
        self.adapter = path / IN_RUN
        self.last_adapter = path / "adapter-last"
        self.state = path / "state"
        self.validation = path / "validation.json"
        self.result = path / "result.json"

    @property
    def name(self) -> str:
        """Name of the run in the ledger, given when it began: the folder may be renamed."""
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
        """Keep every other process from working on this run; a killed process lets go of it.

        Raises:
            LvloraError: another process does.
            DataError: the lock is no file, or cannot be opened.
        """
        busy = LvloraError(
            f"run {self.name} is still being trained by another process",
            "Wait for it, or stop it first.",
        )
        with folders.held(self.path, busy):
            yield

    @contextlib.contextmanager
    def begun(self, plan: Plan) -> Iterator[None]:
        """Begin a new run; it goes again if the block fails before anything was done.

        Raises:
            SettingsError: another process has begun a run here.
            LvloraError: a file cannot be written.
        """
        if self.is_taken:
            raise _is_there(self.path)
        try:
            self.remove_leftovers()
            folders.mark(self.path, "run", _ENTRIES)
            durable.write_text(self.path / "name", self._new_name(plan.settings) + "\n")
            self._write_facts(plan)
            yield
        except BaseException:
            done = self.metrics.exists() or self.state.exists()
            if not done and folders.stranger_in(self.path) is None:
                shutil.rmtree(self.path, ignore_errors=True)
            raise

    def _new_name(self, settings: TrainSettings) -> str:
        """Return a name that no run in the ledger had, such as one that is replaced."""
        taken = {row.run for row in entries(settings.runs)}
        name = first = (settings.out or self.path).name
        number = 1
        while name in taken:
            number += 1
            name = f"{first}+{number}"
        return name

    def _write_facts(self, plan: Plan) -> None:
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
        durable.write_text(self.config, to_toml("train", settings))
        durable.write_text(self.path / "split.json", plan.split.to_json())
        for name, content in {"data": data, "environment": environment}.items():
            durable.write_text(self.path / f"{name}.json", json.dumps(content, indent=1) + "\n")

    def replaced_by_this(self, settings: TrainSettings) -> RunFolder | None:
        """Return the run whose place this one takes when it is complete, if there is one."""
        out = settings.out
        if out is None or not settings.overwrite:
            return None
        is_new = self.path.name.startswith(f"{out.name}{_NEW}")
        return RunFolder(self.path.with_name(out.name)) if is_new else None

    def take_place_of(self, old: RunFolder) -> None:
        """Become the folder of the run that this one replaces, which is deleted.

        Raises:
            LvloraError: it cannot be replaced any more; both are where they were.
        """
        try:
            with old.held() if old.path.exists() else contextlib.nullcontext():
                folders.check_replaceable("--out", old.path, "run", {})
                folders.take_place(self.path, old.path)
        except (LvloraError, OSError) as error:
            raise LvloraError(
                f"{getattr(error, 'message', None) or f'{old.path}: cannot be replaced ({error})'}",
                f"The new run is complete, in {self.path}. Later, {self.resume_command} tries it "
                "again.",
            ) from None

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
        """Return the settings of a run that goes on.

        Raises:
            SettingsError: the request changes one that decides the result.
        """
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
        own = {
            "budget": None,
            "runs": beside if (beside / FILE_NAME).is_file() else stored.runs,
        }
        # the limit is no setting of a run that goes on: its steps were laid out for the first one
        changed = {name: getattr(request, name) for name in named - _FIXED - {"max_flops"}}
        return stored.model_copy(update={**own, **changed})

    def make_latest(self, runs: Path) -> None:
        """Name this run in runs/latest, if it is one of them."""
        if self.path.resolve().parent == runs.resolve():
            durable.write_text(runs / LATEST, self.path.resolve().name + "\n")


def stopped_run(settings: TrainSettings) -> RunFolder:
    """Return the run that --resume means: by its name, or the last that was worked on.

    Raises:
        SettingsError: there is none.
    """
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


def _is_there(out: Path) -> SettingsError:
    return SettingsError(
        f"--out {out}: is there already",
        "Go on with it by --resume, replace a run by --overwrite, or choose another folder.",
    )


def check_out(settings: TrainSettings) -> bool:
    """Refuse an ``out`` that a new run may not be written to.

    Returns:
        whether a run is there that is to be replaced.

    Raises:
        SettingsError: something is there that may not be replaced, or ``out`` lies among the runs
            under an impossible name.
    """
    out = settings.out
    if out is None:
        return False
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
    if not is_taken:
        return False
    if not settings.overwrite or not out.is_dir() or out.is_symlink():
        raise _is_there(out)
    folders.check_replaceable("--out", out, "run", {})
    return True


def create(settings: TrainSettings, slug: str) -> RunFolder:
    """Make a new run's folder: ``out`` itself, NAME+new beside it, or runs/<UTC time>-<slug>.

    Raises:
        SettingsError: ``out`` has something in it and may not be replaced.
        LvloraError: it cannot be made, or the run that is there is being trained.
    """
    out, runs = settings.out, settings.runs
    try:
        if out is None:
            stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
            slug = re.sub(r"[^A-Za-z0-9.]+", "-", slug).strip("-").lower()[:48]
            return RunFolder(_make_new(runs / f"{stamp}-{slug}"))
        if check_out(settings):
            with RunFolder(out).held():  # nobody works on it
                return RunFolder(_make_new(out.with_name(f"{out.name}{_NEW}")))
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LvloraError(
            f"{out or runs}: a run's folder cannot be made ({error.strerror or error})", _OTHERWISE
        ) from None
    return RunFolder(out)


def _make_new(path: Path) -> Path:
    """Make a folder that no other process makes, too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        try:
            path.mkdir()
        except FileExistsError:
            path = path.with_name(f"{path.name}+")
        else:
            return path
