"""`lvlora doctor`: check the installation and say what to do about what is wrong.

Knows: what lvlora needs of a machine. Does not know: how it is used. Nothing is downloaded.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import typer

from lvlora import __version__
from lvlora.cli import numbers
from lvlora.cli.context import CommandContext
from lvlora.cli.from_settings import examples, settings_command
from lvlora.cli.root import app
from lvlora.errors import EXIT_FAILURE
from lvlora.settings.doctor import DoctorSettings

EXAMPLES = examples(
    ("lvlora doctor", "check this machine and say what to do"),
    ("lvlora doctor --json > doctor.json", "the same, to attach to a bug report"),
)

Status = Literal["ok", "note", "problem"]

PACKAGES = (
    "torch", "transformers", "tokenizers", "safetensors", "huggingface-hub", "numpy", "scipy",
    "scikit-learn", "h5py", "pydantic", "typer", "rich", "matplotlib", "optuna", "tomli-w",
)  # fmt: skip
EXTRAS = {"parquet": ("pyarrow", "Parquet files"), "gguf": ("gguf", ".gguf models")}

_GIGABYTE = 10**9
_MIN_FREE_DISK = 2 * _GIGABYTE  # a hub model is about one
_MIN_MEMORY = 2 * _GIGABYTE


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what.
        status: ok; note: it works, but something could be better; problem: something won't work.
        found: what there is.
        advice: what to do; empty where nothing is to be done.
    """

    name: str
    status: Status
    found: str
    advice: str = ""


@settings_command(app, DoctorSettings, name="doctor", epilog=EXAMPLES)
def doctor(settings: DoctorSettings, context: CommandContext) -> None:
    """Check the installation: packages, processor, memory, disk, models.

    Says what each part can do here and what to do about what is missing. Exits with 1 if
    something will not work.
    """
    output = context.output
    checks: list[Check] = []
    for name, look in _looks(settings).items():
        try:
            checks.extend(look())
        except Exception as error:
            if context.debug:
                raise
            checks.append(Check(name, "problem", f"{type(error).__name__}: {error}", _REINSTALL))
    healthy = all(check.status != "problem" for check in checks)
    payload = {"lvlora": __version__, "healthy": healthy, "checks": checks}

    def human() -> None:
        rows = [(check.name, check.status, check.found) for check in checks]
        wrong = [index for index, check in enumerate(checks) if check.status == "problem"]
        output.table(["check", "status", "found"], rows, bold=wrong)
        for check in checks:
            if check.advice:
                output.line(f"{check.name}: {check.advice}")

    output.report(payload, human)
    if not healthy:
        raise typer.Exit(EXIT_FAILURE)
    output.hint("Everything needed is here. Next: lvlora train")


_REINSTALL = "Install lvlora again: pip install --force-reinstall lvlora"


def _looks(settings: DoctorSettings) -> dict[str, Callable[[], list[Check]]]:
    return {
        "python": _python,
        "packages": _packages,
        "processor": _processor,
        "bfloat16": _bfloat16,
        "GPU": _gpu,
        "memory": _memory,
        "disk": lambda: _disk(settings.runs),
        "bundled model": _bundled,
        "hub cache": _hub_cache,
        "extras": _extras,
        "terminal": _terminal,
    }


def _python() -> list[Check]:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    return [Check("python", "ok", found)]


def _packages() -> list[Check]:
    versions, missing = [], []
    for name in PACKAGES:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        install = f"pip install {' '.join(missing)}"
        return [Check("packages", "problem", f"missing: {', '.join(missing)}", install)]
    shown = ("torch", "transformers", "numpy")
    found = ", ".join(version for version in versions if version.split()[0] in shown)
    return [Check("packages", "ok", f"{found} and {len(versions) - len(shown)} more")]


def _processor() -> list[Check]:
    import torch

    threads, cores = torch.get_num_threads(), _usable_cores()
    found = f"{cores} cores, {threads} threads"
    if threads > cores:
        return [
            Check(
                "processor", "note", found, f"More threads than cores are slow: --threads {cores}"
            )
        ]
    if threads < cores and os.environ.get("OMP_NUM_THREADS"):
        advice = "OMP_NUM_THREADS keeps some cores idle; unset it if they are yours."
        return [Check("processor", "note", found, advice)]
    return [Check("processor", "ok", found)]


def _usable_cores() -> int:
    """Cores that this process may run on: fewer than the machine's in a container or a queue."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _bfloat16() -> list[Check]:
    from lvlora.model.devices import probe_bfloat16

    if probe_bfloat16():
        return [Check("bfloat16", "ok", "as fast as float32 or faster; --dtype auto uses it")]
    # not a defect, so no advice: auto does the right thing
    return [Check("bfloat16", "ok", "slower than float32 here; --dtype auto uses float32")]


def _gpu() -> list[Check]:
    import torch

    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        more = f" and {torch.cuda.device_count() - 1} more" if torch.cuda.device_count() > 1 else ""
        found = f"{properties.name}, {numbers.size(properties.total_memory)}{more}"
        return [Check("GPU", "ok", f"{found}; --device auto uses it")]
    if torch.backends.mps.is_available():
        return [Check("GPU", "ok", "an Apple GPU; --device mps uses it")]
    if shutil.which("nvidia-smi"):
        advice = "This torch is built without CUDA: see pytorch.org for the build that has it."
        return [Check("GPU", "note", "there is one, but torch does not see it", advice)]
    return [Check("GPU", "ok", "none; everything runs on the processor")]


def _memory() -> list[Check]:
    limit = _memory_limit()
    if limit is None:
        return [Check("memory", "ok", "not known on this system")]
    found = numbers.size(limit)
    if limit < _MIN_MEMORY:
        advice = "Enough for --model bundled; larger models need more."
        return [Check("memory", "note", found, advice)]
    return [Check("memory", "ok", found)]


def _memory_limit() -> int | None:
    """Bytes that this process may use: the machine's, or a container's smaller limit."""
    limits = []
    try:
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, OSError, ValueError):
        pass
    try:
        limits.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):  # not in a container, or "max"
        pass
    return min(limits, default=None)


def _disk(runs: Path) -> list[Check]:
    folder = runs.absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    found = f"{numbers.size(free)} free for {runs}"
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        return [Check("disk", "problem", f"{folder} cannot be written", "Give another --runs.")]
    if free < _MIN_FREE_DISK:
        advice = "Free some, or keep the runs elsewhere (--runs); a hub model needs about 1 GB."
        return [Check("disk", "note", found, advice)]
    return [Check("disk", "ok", found)]


def _bundled() -> list[Check]:
    from lvlora.model.catalogue import BUNDLED

    weights = list(BUNDLED.glob("*.safetensors"))
    if not weights or not (BUNDLED / "config.json").is_file():
        return [Check("bundled model", "problem", "not there", _REINSTALL)]
    size = sum(file.stat().st_size for file in weights)
    return [Check("bundled model", "ok", f"there, {numbers.size(size)}")]


def _hub_cache() -> list[Check]:
    from huggingface_hub import constants

    from lvlora.model.catalogue import DEFAULT_HUB_MODEL, SHORT_NAMES, cached_snapshot

    cached = [name for name, hub_id in SHORT_NAMES.items() if cached_snapshot(hub_id)]
    offline = "; offline (HF_HUB_OFFLINE)" if constants.HF_HUB_OFFLINE else ""
    found = f"{constants.HF_HUB_CACHE}: {', '.join(cached) or 'no model yet'}{offline}"
    if cached_snapshot(DEFAULT_HUB_MODEL) is None and not offline:
        advice = (
            "--model qwen2.5-0.5b downloads Qwen2.5-0.5B-Instruct (about 1 GB) once; "
            "without it, --model auto takes the bundled model."
        )
        return [Check("hub cache", "ok", found, advice)]
    return [Check("hub cache", "ok", found)]


def _extras() -> list[Check]:
    checks = []
    for extra, (package, gives) in EXTRAS.items():
        try:
            found = f"{package} {importlib.metadata.version(package)}"
            checks.append(Check(f"extra {extra}", "ok", found))
        except importlib.metadata.PackageNotFoundError:
            advice = f"For {gives}: pip install 'lvlora[{extra}]'"
            checks.append(Check(f"extra {extra}", "ok", "not installed", advice))
    return checks


def _terminal() -> list[Check]:
    encoding = (sys.stdout.encoding or "ascii").lower()
    if not encoding.startswith("utf"):
        advice = "Tables and curves are drawn in ASCII; PYTHONIOENCODING=utf-8 changes that."
        return [Check("terminal", "note", encoding, advice)]
    return [Check("terminal", "ok", encoding)]
