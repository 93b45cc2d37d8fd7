"""The folder of a run, which holds all that repeats it, and where a new one is made."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import platform
import re
import shlex
import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from lvlora import __version__, durable, folders
from lvlora.errors import DataError, LvloraError, SettingsError
from lvlora.flops.ledger import FILE_NAME, entries
from lvlora.model import devices
from lvlora.model.adapters.search import IN_RUN, LATEST, RUN_NAME
from lvlora.narrator import Narrator
from lvlora.runs import NEWEST, find_run
from lvlora.settings.configuration import resolve, to_toml
from lvlora.train.plan import Plan
from lvlora.train.record import read_text, record_of
from lvlora.train.settings import TrainSettings

_FIXED = TrainSettings.affecting("result", "placement", "limit", "output") - {"max_flops"}
"""Options that cannot change when a run goes on. Data and model can: they are known by content."""
_PACKAGES = ("torch", "transformers", "numpy", "safetensors", "pydantic", "h5py", "scipy")

_NAME = "name"
_LONGEST_NAME = 4096
_REPLACES = "replaces"
"""File with the name of the folder beside it whose place the run takes when it is complete, and the
name of the run there."""

_ENTRIES = (
    *(_NAME, _REPLACES, "config.toml", "sources.json", "data.json", "split.json"),
    *("environment.json", "trackers.json", "metrics.jsonl", "validation.json", "failure.json"),
    *("result.json", "report.html", "figures/training.png"),
    *("adapter*/adapter_config.json", "adapter*/*.safetensors", "adapter*/lvlora.json"),
    *("adapter*/calibration.json", "state/step-*/manifest.json", "state/step-*/state.safetensors"),
    *("tensorboard/**", "wandb/**"),
)
"""All that a run may hold, for `folders.mark`; --overwrite spares a folder with anything else."""


class RunFolder:
    """The files of a run; only a process that has it `held` writes there.

    Attributes:
        config: the resolved settings, a file for --config; sources: the origin of each.
        metrics: one JSON object a step, and one a validation.
        adapter: the best adapter (the last, without validation); last_adapter: of the last step.
        state: checkpoints to resume from.
        validation: forecasts of the validation series, their truth, and the errors of rivals.
        result: result of the run; there once it is over.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.toml"
        self.sources = path / "sources.json"
        self.environment = path / "environment.json"
        self.metrics = path / "metrics.jsonl"
        self.adapter = path / IN_RUN
        self.last_adapter = path / "adapter-last"
        self.state = path / "state"
        self.validation = path / "validation.json"
        self.result = path / "result.json"

    @property
    def name(self) -> str:
        """Name of the run, also in the ledger: the name of its folder when it began.

        The folder may be renamed, the account not.
        """
        return self._text(_NAME) or self.path.name

    def mark(self) -> None:
        """Say that this folder is a run, and what may lie in it."""
        folders.mark(self.path, "run", _ENTRIES)

    def check_unused(self) -> None:
        """SettingsError where another process has begun a run here; asked while it is `held`."""
        if _is_taken(self.path):
            raise SettingsError(f"--out {self.path}: {_THERE}", _INSTEAD)

    def begin(self, plan: Plan, sources: Mapping[str, str], replaces: Path | None) -> None:
        """Write all that is known of a new run before its first step.

        Args:
            replaces: the folder beside this one whose place it takes as soon as it is complete.

        Raises:
            LvloraError: a file cannot be written.
        """
        self.remove_leftovers()  # of a process that was killed before it had a run
        self.mark()
        if replaces is not None:
            line = f"{replaces.name}\n{RunFolder(replaces).name}\n"
            durable.write_text(self.path / _REPLACES, line)
        # runs before it may have had the name: one that was replaced, or another folder's
        taken = {row.run for row in entries(plan.settings.runs)}
        name = wanted = (plan.settings.out or self.path).name
        number = 1
        while name in taken:
            number += 1
            name = f"{wanted}+{number}"
        durable.write_text(self.path / _NAME, name + "\n")
        self.write_settings(plan, sources)

    def target(self, settings: TrainSettings, narrator: Narrator) -> RunFolder:
        """Return the place of this run when it is complete: its own, or the run's that it replaces.

        It stays beside that one, with a warning, where that may not be replaced any more.
        """
        name, _, replaced = self._text(_REPLACES).partition("\n")
        if not name:
            return self
        old = RunFolder(self.path.parent / Path(name).name)
        if not old.path.exists():
            return old
        try:
            folders.check_replaceable("--out", old.path, "run", _needed(settings))
            with old.held():
                if old.name == replaced:
                    return old
            obstacle = f"{old.path}: is another run by now"
        except LvloraError as error:
            obstacle = error.message
        narrator.warning(f"{obstacle}; the new run stays in {self.path}.")
        return self

    def _text(self, name: str) -> str:
        """Return the text of one of the run's files; "" where there is none."""
        with contextlib.suppress(OSError, UnicodeDecodeError):
            return durable.read_bounded(self.path / name, _LONGEST_NAME).decode().strip()
        return ""

    def take_place_of(self, target: RunFolder) -> None:
        """Become the folder of the run that this one replaces, which is deleted."""
        (self.path / _REPLACES).unlink(missing_ok=True)
        try:
            folders.take_place(self.path, target.path.resolve())
        except OSError as error:
            raise LvloraError(
                f"{target.path}: cannot be replaced ({error.strerror or error})",
                f"The new run is complete, in {self.path}.",
            ) from None

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

    def write_settings(self, plan: Plan, sources: Mapping[str, str]) -> None:
        """Write config.toml, sources.json, data.json, split.json and environment.json."""
        durable.write_text(self.config, to_toml("train", plan.settings))
        durable.write_text(self.sources, json.dumps(dict(sources), indent=1) + "\n")
        data = {
            "source": plan.dataset.source,
            "series": len(plan.dataset),
            "variables": list(plan.dataset.variables),
            "sha256": plan.dataset.sha256(),
            "split": plan.split.sha256,
            "trainable_parameters": plan.trained.n_parameters,
        }
        durable.write_text(self.path / "data.json", json.dumps(data, indent=1) + "\n")
        durable.write_text(self.path / "split.json", plan.split.to_json())
        placement = plan.model.placement
        facts = {
            "lvlora": __version__,
            "python": platform.python_version(),
            "platform": platform.platform(),
            "processors": os.cpu_count(),
            "threads": devices.set_threads(None),
            "device": str(placement.device),
            "dtype": placement.dtype_name,
            "packages": {name: _version(name) for name in _PACKAGES},
        }
        durable.write_text(self.environment, json.dumps(facts, indent=1) + "\n")

    def stored_settings(self, request: TrainSettings, sources: Mapping[str, str]) -> TrainSettings:
        """Return the settings of a run that goes on.

        Raises:
            SettingsError: the request changes one that decides the result.
            DataError: its data cannot be read again.
        """
        resolved = resolve(
            "train", TrainSettings, flags={}, environment={}, config=str(self.config), commands={}
        )
        stored = resolved.settings
        named = {name for name, source in sources.items() if source != "default"}
        for name in named & _FIXED:
            new, was = getattr(request, name), getattr(stored, name)
            if new != was:
                raise SettingsError(
                    f"--{name.replace('_', '-')}: a run goes on with its own settings "
                    f"({was}, not {new})",
                    "Leave the option out, or start a new run.",
                )
        # the limit is no setting of a run that goes on: its steps were laid out for the first one
        update = {name: getattr(request, name) for name in named - _FIXED - {"max_flops"}}
        if "budget" not in named:  # what the project may spend has its place in the ledger
            update["budget"] = None
        if "runs" not in named:
            # from any working directory
            parent = self.path.resolve().parent
            update["runs"] = parent if (parent / FILE_NAME).is_file() else stored.runs
        if stored.dtype == "auto":  # what was chosen then, not what this moment's probe says
            with contextlib.suppress(DataError):
                dtype = durable.read_json_object(self.environment).get("dtype")
                update["dtype"] = dtype if dtype in ("float32", "bfloat16") else "auto"
        if stored.data == Path("-") and "data" not in named:
            raise DataError(
                f"{self.path}: its data came from standard input, which is gone",
                "Pipe it in again: lvlora train - --resume RUN < FILE.",
            )
        return stored.model_copy(update=update)

    def remove_if_nothing_was_done(self) -> None:
        """Take back a folder whose run was refused before its first step."""
        done = self.metrics.exists() or self.state.exists()
        if not done and folders.stranger_in(self.path) is None:
            shutil.rmtree(self.path, ignore_errors=True)

    def resume_name(self, runs: Path) -> str:
        """Return the argument of ``lvlora train --resume``, quoted for a shell."""
        among = str(runs) == "runs" and self.path.resolve().parent == runs.resolve()
        return shlex.quote(self.path.resolve().name if among else str(self.path))

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
    begun = [RunFolder(p.parent) for p in settings.runs.glob("*/config.toml")]
    stopped = [folder for folder in begun if not folder.result.is_file()]
    if not stopped:
        raise SettingsError(
            f"--resume: there is no stopped run in {settings.runs}",
            "Name one: lvlora train --resume RUN.",
        )
    return max(stopped, key=_worked_on)  # --out gives any name, so by time


def _worked_on(folder: RunFolder) -> tuple[int, str]:
    files = (folder.metrics, folder.config)
    return max((f.stat().st_mtime_ns for f in files if f.is_file()), default=0), folder.path.name


_THERE = "is there already"
_INSTEAD = "Go on with it by --resume, replace a run by --overwrite, or choose another folder."


def check_out(settings: TrainSettings) -> bool:
    """Refuse an ``out`` that a new run may not be written to.

    Returns:
        whether a run is there that is to be replaced.

    Raises:
        SettingsError: something is there that may not be replaced, or ``out`` lies among the runs
            under an impossible name.
    """
    out, runs = settings.out, settings.runs
    if out is None:
        return False
    try:
        if out.resolve().parent == runs.resolve() and not RUN_NAME.fullmatch(out.name):
            raise SettingsError(
                f"--out {out}: a run's name is made of letters, digits and . _ + @ -",
                "Choose another name.",
            )
        if not _is_taken(out):
            parent = out.resolve().parent
            if parent != runs.resolve() and not parent.is_dir():  # the runs' folder is made
                raise SettingsError(
                    f"--out {out}: the folder {out.parent} is not there", "Make it first."
                )
            return False
    except (OSError, RuntimeError) as error:  # of a loop of links, before Python 3.13
        raise SettingsError(
            f"--out {out}: cannot be used ({getattr(error, 'strerror', None) or error})",
            "Check its permissions, or choose another folder.",
        ) from None
    if not settings.overwrite or not out.is_dir():
        raise SettingsError(f"--out {out}: {_THERE}", _INSTEAD)
    folders.check_replaceable("--out", out, "run", _needed(settings))
    return True


def _needed(settings: TrainSettings) -> dict[str, Path | None]:
    """Folders that a new run's folder can never replace."""
    data = settings.data if settings.data != Path("-") else None
    model = Path(settings.model)
    return {
        "the data": data,
        "the runs folder": settings.runs,
        "the ledger": settings.runs / "ledger.sqlite",
        "the model": model if model.exists() else None,
    }


def _is_taken(out: Path) -> bool:
    """Return whether there is more than a process left that was killed before it had a run."""
    if not out.is_dir():
        return out.exists()
    return RunFolder(out).config.exists() or folders.stranger_in(out) is not None


def create(settings: TrainSettings, slug: str) -> tuple[RunFolder, Path | None]:
    """Make a new run's folder: ``out`` itself, or runs/<UTC time>-<slug>.

    Returns:
        the folder, and the one that it replaces when it is complete: it is beside that then.

    Raises:
        SettingsError: ``out`` has something in it and may not be replaced.
        LvloraError: it cannot be made, or the run that is there is being trained.
    """
    out, runs = settings.out, settings.runs
    try:
        if out is None:
            stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
            slug = re.sub(r"[^A-Za-z0-9.]+", "-", slug).strip("-").lower()[:48]
            return RunFolder(_make_new(runs, f"{stamp}-{slug}")), None
        if check_out(settings):
            with RunFolder(out).held():  # nobody works on it
                real = out.resolve()  # beside a link there may be another run of that name
                parent = real.parent if out.is_symlink() else out.parent
                return RunFolder(_make_new(parent, f"{real.name}+new")), real
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LvloraError(
            f"{out or runs}: a run's folder cannot be made ({error.strerror or error})",
            "Check the permissions, or choose another --out or --runs.",
        ) from None
    return RunFolder(out), None


def _make_new(runs: Path, name: str) -> Path:
    """Make a folder that no other process makes, too."""
    runs.mkdir(parents=True, exist_ok=True)
    while True:
        try:
            (runs / name).mkdir()
        except FileExistsError:
            name += "+"
        else:
            return runs / name


@functools.cache
def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
