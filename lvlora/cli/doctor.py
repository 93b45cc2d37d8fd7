"""`lvlora doctor`: check the installation and say what to do about what is wrong.

Knows: what lvlora needs of a machine. Does not know: how it is used. Nothing is downloaded.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import typer

from lvlora import __version__, numbers
from lvlora.cli.installed import REINSTALL, Check, extras, packages
from lvlora.cli.program.context import CommandContext
from lvlora.cli.program.from_settings import examples, settings_command
from lvlora.cli.program.root import app
from lvlora.errors import EXIT_FAILURE
from lvlora.settings.doctor import DoctorSettings

EXAMPLES = examples(
    ("lvlora doctor", "check this machine and say what to do"),
    ("lvlora doctor --json > doctor.json", "the same, to attach to a bug report"),
)

_GIGABYTE = 10**9
_MIN_FREE_DISK = 2 * _GIGABYTE  # a hub model is about one
_MIN_MEMORY = 2 * _GIGABYTE


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
            checks.append(Check(name, "problem", f"{type(error).__name__}: {error}", REINSTALL))
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


def _looks(settings: DoctorSettings) -> dict[str, Callable[[], list[Check]]]:
    return {
        "python": _python,
        "packages": packages,
        "processor": _processor,
        "bfloat16": _bfloat16,
        "GPU": _gpu,
        "compiler": _compiler,
        "memory": _memory,
        "disk": lambda: _disk(settings.runs),
        "ledger": lambda: _ledger(settings.runs),
        "bundled model": _bundled,
        "hub cache": _hub_cache,
        "extras": extras,
        "terminal": _terminal,
    }


def _python() -> list[Check]:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    return [Check("python", "ok", found)]


def _processor() -> list[Check]:
    import torch

    threads, cores = torch.get_num_threads(), _usable_cores()
    found = f"{cores} core{'s' * (cores != 1)}, {threads} thread{'s' * (threads != 1)}"
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


def _compiler() -> list[Check]:
    compiler = os.environ.get("CXX") or next(filter(shutil.which, ("g++", "clang++")), None)
    headers = Path(sysconfig.get_paths()["include"]) / "Python.h"
    if compiler and headers.is_file():
        return [Check("compiler", "ok", f"{compiler}; long trainings compile their layers")]
    missing = "no C++ compiler" if not compiler else "no headers of Python"
    advice = "Long trainings are 4 to 30 % slower without: install g++ and Python's headers."
    return [Check("compiler", "note", missing, advice)]


def _memory() -> list[Check]:
    from lvlora.model.machine import memory_limit

    limit = memory_limit()
    if limit is None:
        return [Check("memory", "ok", "not known on this system")]
    found = numbers.size(limit)
    if limit < _MIN_MEMORY:
        advice = "Enough for --model bundled; larger models need more."
        return [Check("memory", "note", found, advice)]
    return [Check("memory", "ok", found)]


def _disk(runs: Path) -> list[Check]:
    folder = _existing(runs)
    free = shutil.disk_usage(folder).free
    found = f"{numbers.size(free)} free for {runs}"
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        return [Check("disk", "problem", f"{folder} cannot be written", "Give another --runs.")]
    if free < _MIN_FREE_DISK:
        advice = "Free some, or keep the runs elsewhere (--runs); a hub model needs about 1 GB."
        return [Check("disk", "note", found, advice)]
    return [Check("disk", "ok", found)]


def _existing(folder: Path) -> Path:
    """The folder itself or the nearest above it that is there."""
    folder = folder.absolute()
    while not folder.exists():
        folder = folder.parent
    return folder


def _ledger(runs: Path) -> list[Check]:
    from lvlora.errors import LvloraError
    from lvlora.flops.ledger import FILE_NAME, Ledger

    file = runs / FILE_NAME
    if not file.exists():
        return [Check("ledger", "ok", f"none in {runs} yet; nothing was spent there")]
    try:
        with Ledger.for_runs(runs, create=False, reading=True) as ledger:
            table = ledger.table()
    except LvloraError as error:
        return [Check("ledger", "problem", error.message, error.hint)]
    of_budget = f" of {numbers.flops(table.budget)}" if table.budget else ""
    spent = numbers.flops(getattr(table.total, table.convention))
    return [Check("ledger", "ok", f"{spent} FLOPs{of_budget}, {table.convention}")]


def _bundled() -> list[Check]:
    from lvlora.model.catalogue import BUNDLED

    weights = list(BUNDLED.glob("*.safetensors"))
    if not weights or not (BUNDLED / "config.json").is_file():
        return [Check("bundled model", "problem", "not there", REINSTALL)]
    size = sum(file.stat().st_size for file in weights)
    return [Check("bundled model", "ok", f"there, {numbers.size(size)}")]


def _hub_cache() -> list[Check]:
    from huggingface_hub import constants

    from lvlora.model.catalogue import DEFAULT_HUB_MODEL, SHORT_NAMES, cached_snapshot

    cached = [name for name, hub_id in SHORT_NAMES.items() if cached_snapshot(hub_id)]
    offline = "; offline (HF_HUB_OFFLINE)" if constants.HF_HUB_OFFLINE else ""
    found = f"{constants.HF_HUB_CACHE}: {', '.join(cached) or 'no model yet'}{offline}"
    place = _existing(Path(constants.HF_HUB_CACHE))
    if not offline and not os.access(place, os.W_OK):
        advice = "Models cannot be downloaded there; let HF_HOME name a folder of yours."
        return [Check("hub cache", "note", f"{found}; {place} cannot be written", advice)]
    if cached_snapshot(DEFAULT_HUB_MODEL) is None and not offline:
        advice = (
            "--model qwen2.5-0.5b downloads Qwen2.5-0.5B-Instruct (about 1 GB) once; "
            "without it, --model auto takes the bundled model."
        )
        return [Check("hub cache", "ok", found, advice)]
    return [Check("hub cache", "ok", found)]


def _terminal() -> list[Check]:
    encoding = (sys.stdout.encoding or "ascii").lower()
    if not encoding.startswith("utf"):
        advice = "Tables and curves are drawn in ASCII; PYTHONIOENCODING=utf-8 changes that."
        return [Check("terminal", "note", encoding, advice)]
    return [Check("terminal", "ok", encoding)]
