"""Whether the layers are compiled for training, and how.

Compilation takes 15 to 30 s and saves 4 to 30 % of a step (docs/notes/speed.md), so long runs do it
and short ones do not; a C++ compiler may be missing, so nothing depends on it. The choice is
part of a run's identity: compiled and plain layers differ in the last bits.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import nn

from lvlora.errors import SettingsError, reason
from lvlora.model.parts import decoder_of
from lvlora.settings.training import Compile

LEAST_BATCHES = 500
"""Micro-batches from which on a run is long enough."""


def is_asked(setting: Compile, n_batches: int) -> bool:
    """Whether a run of so many micro-batches compiles its layers wherever that can be done."""
    return setting == "on" or (setting == "auto" and n_batches >= LEAST_BATCHES)


def is_wanted(setting: Compile, n_batches: int, device: torch.device) -> bool:
    """Whether a run of so many micro-batches compiles its layers here.

    Raises:
        SettingsError: ``on``, and nothing can be compiled here.
    """
    if not is_asked(setting, n_batches):
        return False
    if device.type == "mps":
        problem: str | None = "not tried on Apple GPUs"
    else:
        problem = _problem(device)
    if problem and setting == "on":
        raise SettingsError(
            f"--compile on: nothing can be compiled here ({problem})",
            "Install a C++ compiler (g++ or clang++) with Python's headers, or --compile off.",
        )
    return problem is None


def _problem(device: torch.device) -> str | None:
    """What keeps a trivial function from being compiled; None if nothing does."""
    try:
        compiled: Any = torch.compile(_trivial, fullgraph=True)
        compiled(torch.ones(64, device=device))
    except Exception as error:  # whatever the compiler's many layers make of a missing part
        return reason(error)
    return None


def _trivial(x: torch.Tensor) -> torch.Tensor:
    return x * torch.sigmoid(x)


def compile_layers(model: nn.Module) -> int:
    """Let each transformer layer be compiled at its first call; returns how many there are.

    One layer is one region, so that all share a compilation.
    """
    layers: Any = decoder_of(model).get_submodule("layers")
    for layer in layers:
        layer.compile()
    return len(layers)


def as_written() -> AbstractContextManager[Any]:
    """Within it nothing is compiled: validation and decoding have ever-changing shapes."""
    stance: AbstractContextManager[Any] = torch.compiler.set_stance("force_eager")
    return stance
