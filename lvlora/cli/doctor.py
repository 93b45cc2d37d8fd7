"""`lvlora doctor`: check the installation and say what to do about what is wrong."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import typer

from lvlora import __version__, numbers
from lvlora.answers import Answer, Shape
from lvlora.cli.program.context import CommandContext
from lvlora.cli.program.from_settings import examples, settings_command
from lvlora.cli.program.root import app
from lvlora.errors import EXIT_FAILURE
from lvlora.report.document import Document, Points, Section, Table
from lvlora.settings.base import Settings, option

EXAMPLES = examples(
    ("lvlora doctor", "check this machine and say what to do"),
    ("lvlora doctor --json > doctor.json", "the same, to attach to a bug report"),
)
_REINSTALL = "Install lvlora again: pip install --force-reinstall lvlora"
_ENOUGH = 2 * 10**9  # bytes of memory, and of disk: a hub model is about one


class DoctorSettings(Settings):
    """`lvlora doctor`: what this machine and this installation can do."""

    runs: Path = option(
        Path("runs"), "Folder of the runs, whose disk is checked.", "Output", affects="project"
    )


class Check(Shape):
    """One thing that was looked at."""

    name: str
    status: Literal["ok", "note", "problem"]
    """note: it works, but something could be better; problem: something won't work."""
    found: str
    advice: str
    """The remedy; empty where nothing is wrong."""


class Doctor(Answer):
    """`lvlora doctor --json`"""

    lvlora: str
    """The version."""
    healthy: bool
    """There is no problem; the exit code is 1 if there is."""
    checks: list[Check]


@settings_command(app, DoctorSettings, name="doctor", epilog=EXAMPLES)
def doctor(settings: DoctorSettings, context: CommandContext) -> None:
    """Check the installation: packages, processor, decoder, memory, disk, models.

    Says what each part can do here and what to do about what is missing. Exits with 1 if
    something will not work.
    """

    output, checks = context.output, []
    for name, look in _LOOKS.items():
        try:
            status, state, advice = look(settings.runs)
        except Exception as error:
            if context.debug:
                raise
            status, state, advice = "problem", f"{type(error).__name__}: {error}", _REINSTALL
        checks.append(Check(name=name, status=status, found=state, advice=advice))
    healthy = all(check.status != "problem" for check in checks)

    answer = Doctor(lvlora=__version__, healthy=healthy, checks=checks)
    output.report(answer, lambda: _document(answer))
    if not healthy:
        raise typer.Exit(EXIT_FAILURE)
    output.hint("Everything needed is here. Next: lvlora train")


def _document(answer: Doctor) -> Document:
    rows = [(check.name, check.status, check.found) for check in answer.checks]
    wrong = [i for i, check in enumerate(answer.checks) if check.status == "problem"]
    advice = [f"{check.name}: {check.advice}" for check in answer.checks if check.advice]
    table = Table("", ["check", "status", "found"], rows, marked=wrong)
    return Document(f"lvlora {answer.lvlora}", [Section("", [table, Points(advice)])])


_Finding = tuple[Literal["ok", "note", "problem"], str, str]
"""Status, state, and what to do about it: the fields of `Check`."""


def _packages(runs: Path) -> _Finding:
    needed = [
        re.split(r"[^\w.-]", requirement)[0]
        for requirement in importlib.metadata.requires("lvlora") or []
        if "extra ==" not in requirement
    ]
    try:
        versions = {name: importlib.metadata.version(name) for name in needed}
    except importlib.metadata.PackageNotFoundError as error:
        return "problem", f"{error.name} is missing", f"pip install {error.name}"
    shown = ", ".join(f"{name} {versions[name]}" for name in ("torch", "transformers", "numpy"))
    python = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    return "ok", f"{python}; {shown} and {len(versions) - 3} more", ""


def _processor(runs: Path) -> _Finding:
    import torch

    from lvlora.model import devices

    cores, threads = devices.cores(), torch.get_num_threads()
    precision = "bfloat16" if devices.probe_bfloat16() else "float32"
    state = f"{cores} cores, {threads} threads; --dtype auto uses {precision}, which is faster"
    if threads > cores:
        return "note", state, f"More threads than cores are slow: --threads {cores}"
    return "ok", state, ""


def _decoder(runs: Path) -> _Finding:
    import torch

    from lvlora.model.devices import probe_bfloat16
    from lvlora.model.native import building

    name = "bfloat16" if probe_bfloat16() else "float32"
    if building.library(getattr(torch, name)) is not None:
        return "ok", f"compiled for {name} (in {building.folder()})", ""
    state, advice = f"it cannot be compiled for {name} here", "PyTorch decodes, more slowly."
    if building.is_switched_off():
        state = f"switched off by {building.SWITCH}=0"
    elif building.compiler() is None:
        state = "there is no C compiler"
        advice = "PyTorch decodes, more slowly: install a C compiler (gcc or clang) for the other."
    return "note", state, advice


def _gpu(runs: Path) -> _Finding:
    import torch

    if torch.cuda.is_available():
        gpu = torch.cuda.get_device_properties(0)
        state = f"{torch.cuda.device_count()} x {gpu.name}, {numbers.size(gpu.total_memory)}"
        return "ok", f"{state}; --device auto uses it", ""
    if torch.backends.mps.is_available():
        return "ok", "an Apple GPU; --device mps uses it", ""
    if shutil.which("nvidia-smi"):
        advice = "This torch is built without CUDA: see pytorch.org for the build that has it."
        return "note", "there is one, but torch does not see it", advice
    return "ok", "none; everything runs on the processor", ""


def _memory(runs: Path) -> _Finding:
    from lvlora.model.devices import memory_limit

    limit = memory_limit()
    if limit is None:
        return "ok", "not known on this system", ""
    if limit < _ENOUGH:
        advice = "Enough for --model bundled; larger models need more."
        return "note", numbers.size(limit), advice
    return "ok", numbers.size(limit), ""


def _disk(runs: Path) -> _Finding:
    folder = next(f for f in (runs.absolute(), *runs.absolute().parents) if f.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        return "problem", f"{folder} cannot be written", "Give another --runs."
    free = shutil.disk_usage(folder).free
    state = f"{numbers.size(free)} free for {runs}"
    if free < _ENOUGH:
        return "note", state, "A hub model needs about 1 GB: free some, or give another --runs."
    return "ok", state, ""


def _models(runs: Path) -> _Finding:
    from huggingface_hub import constants

    from lvlora.model.catalogue import BUNDLED, DEFAULT_HUB_MODEL, SHORT_NAMES, cached_snapshot

    if not (BUNDLED / "config.json").is_file() or not list(BUNDLED.glob("*.safetensors")):
        return "problem", "the bundled model is not there", _REINSTALL
    cached = [name for name, hub_id in SHORT_NAMES.items() if cached_snapshot(hub_id)]
    state = f"{', '.join(['bundled', *cached])} (in {constants.HF_HUB_CACHE})"
    if cached_snapshot(DEFAULT_HUB_MODEL) or constants.HF_HUB_OFFLINE:
        return "ok", state, ""
    return "ok", state, "--model qwen2.5-0.5b downloads Qwen2.5-0.5B-Instruct (about 1 GB) once."


_LOOKS: dict[str, Callable[[Path], _Finding]] = {
    "packages": _packages,
    "processor": _processor,
    "decoder": _decoder,
    "GPU": _gpu,
    "memory": _memory,
    "disk": _disk,
    "models": _models,
}
