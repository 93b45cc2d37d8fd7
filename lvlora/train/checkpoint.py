"""Progress of a run, and its saved states to resume from.

A state is a folder ``step-00000050/`` with parameters, optimiser moments and the step, in
safetensors, and, written last, a manifest with the SHA-256 of every other file. One without a valid
manifest is passed over for the one before it.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors.torch import save_file
from torch import Tensor, nn

from lvlora import durable, folders
from lvlora.answers import NOTHING, Price
from lvlora.errors import DataError, LvloraError
from lvlora.model.adapters.files import is_whole
from lvlora.model.loading import read_safetensors
from lvlora.narrator import Narrator
from lvlora.train.loop import Loaded
from lvlora.train.record import Spending, Validation
from lvlora.train.run_folder import RunFolder

_TENSORS = "state.safetensors"
_MANIFEST = "manifest.json"
_LARGEST = 10_000_000
"""Bytes of a manifest."""


class Progress(BaseModel):
    """Progress of a run; everything in it is saved with a checkpoint."""

    model_config = ConfigDict(strict=True)

    step: int = 0
    """Optimiser steps that are done."""
    spending: dict[str, Spending] = Field(
        default_factory=lambda: {"train": Spending(), "validation": Spending()}
    )
    """Up to here; a killed process' spending beyond its last checkpoint is in the ledger alone."""
    ended: bool = False
    """An observer or patience ended the run before its last step."""
    loss: float | None = None
    """Loss of the last step."""
    zero_shot: Validation | None = None
    """The validation before the first step."""
    validation: Validation | None = None
    """The best validation, at ``best_step``; ``stale`` ones since."""
    best_step: int | None = None
    stale: int = 0

    @property
    def spent(self) -> Price:
        """FLOPs up to here."""
        return sum((phase.price for phase in self.spending.values()), NOTHING)


@dataclass(frozen=True)
class State:
    """A state that was read back and verified."""

    step: int
    tensors: dict[str, Tensor]
    facts: dict[str, Any]
    folder: Path


def save(
    folder: Path,
    step: int,
    named_parameters: Mapping[str, nn.Parameter],
    optimizers: Sequence[torch.optim.Optimizer],
    facts: Mapping[str, Any],
    keep: int = 2,
) -> Path:
    """Write the state after ``step`` steps and delete all but the ``keep`` newest.

    States of later steps were passed over when the run went on, and go as well.

    Raises:
        LvloraError: it cannot be written; the states before are intact.
    """
    target = folder / _name(step)
    if _is_saved(target, facts):  # never replaced: until that is done there would be none
        return target
    with folders.replacing(target) as new:
        save_file(tensors_of(named_parameters, optimizers), str(new / _TENSORS))
        manifest = {
            "step": step,
            "sha256": {_TENSORS: durable.sha256_of(new / _TENSORS)},
            "facts": dict(facts),
        }
        manifest["manifest_sha256"] = durable.sha256_of_json(manifest)
        durable.write_text(new / _MANIFEST, json.dumps(manifest, indent=1))
    _prune(folder, step, keep)
    return target


def tensors_of(
    named_parameters: Mapping[str, nn.Parameter], optimizers: Sequence[torch.optim.Optimizer]
) -> dict[str, Tensor]:
    """Return all that a run changes, by name."""
    tensors = {f"parameter.{n}": p.detach().contiguous() for n, p in named_parameters.items()}
    for i, optimizer in enumerate(optimizers):
        for j, moments in optimizer.state_dict()["state"].items():
            for key, value in moments.items():
                tensors[f"optimizer.{i}.{j}.{key}"] = torch.as_tensor(value).contiguous()
    return tensors


def restore(
    tensors: Mapping[str, Tensor],
    source: object,
    named_parameters: Mapping[str, nn.Parameter],
    optimizers: Sequence[torch.optim.Optimizer],
) -> None:
    """Put `tensors_of` back into parameters and optimisers that were made as for a new run.

    Args:
        source: the origin of the tensors, for the message.

    Raises:
        LvloraError: they belong to other parameters.
    """
    parameters = {
        n.removeprefix("parameter."): t for n, t in tensors.items() if n.startswith("parameter.")
    }
    shapes = {n: p.shape for n, p in named_parameters.items()}
    if {n: t.shape for n, t in parameters.items()} != shapes:
        raise LvloraError(
            f"{source}: the checkpoint holds other parameters than this run",
            "Begin a new run, or resume the one that it is of.",
        )
    with torch.no_grad():
        for name, parameter in named_parameters.items():
            parameter.copy_(parameters[name])
    for i, optimizer in enumerate(optimizers):
        content = optimizer.state_dict()
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            if name.startswith(f"optimizer.{i}."):
                _, _, j, key = name.split(".", 3)
                moments.setdefault(int(j), {})[key] = tensor
        content["state"] = moments
        optimizer.load_state_dict(content)


def latest(folder: Path) -> tuple[State | None, list[str]]:
    """Return the newest valid state, and a warning for each one that had to be passed over."""
    warnings: list[str] = []
    for candidate in _candidates(folder):
        try:
            return _read(candidate), warnings
        except Exception as error:  # whatever a damaged file makes of its readers
            warnings.append(f"{candidate}: passed over, it is not a whole checkpoint ({error})")
    return None, warnings


def save_run(loaded: Loaded, folder: RunFolder, progress: Progress) -> None:
    """Write a checkpoint of the run as it is; the ones before are intact if it cannot be."""
    facts = {"identity": loaded.identity(), "progress": progress.model_dump(mode="json")}
    folder.sync_metrics()
    save(folder.state, progress.step, loaded.parameters, loaded.optimizers, facts)


def restore_run(loaded: Loaded, folder: RunFolder, narrator: Narrator) -> Progress:
    """Put the newest valid checkpoint into the run; return how far it is.

    Raises:
        DataError: it belongs to other data, settings or weights, or to another version.
    """
    folder.remove_leftovers()
    state, warnings = latest(folder.state)
    for warning in warnings:
        narrator.warning(warning)
    if state is None:
        narrator.note(f"{folder.path}: no checkpoint yet; starting from step 0")
        folder.keep_metrics_until(-1)
        return Progress()
    try:
        changed = loaded.changes_since(state.facts["identity"])
        progress = Progress.model_validate(state.facts["progress"])
    except (KeyError, TypeError, AttributeError, ValidationError) as error:
        raise DataError(
            f"{state.folder}: was written by another version of lvlora ({error!r})",
            "Go on with that version, or start a new run.",
        ) from None
    if changed:
        raise DataError(
            f"{folder.path}: cannot go on, changed since: {', '.join(changed)}",
            "Resume with the same data, settings and base model, or start a new run.",
        )
    restore(state.tensors, state.folder, loaded.parameters, loaded.optimizers)
    if progress.validation is not None and not is_whole(folder.adapter):
        # it stands beside the checkpoints, which cannot bring it back
        narrator.warning(
            f"{folder.adapter}: the best adapter, of step {progress.best_step}, is "
            "damaged or gone; the best of the steps to come takes its place"
        )
        progress.validation, progress.best_step, progress.stale = None, None, 0
    folder.keep_metrics_until(state.step)
    return progress


def _is_saved(target: Path, facts: Mapping[str, Any]) -> bool:
    with contextlib.suppress(Exception):  # one that is damaged is written again
        return bool(_read(target).facts == json.loads(json.dumps(dict(facts))))
    return False


def _candidates(folder: Path) -> list[Path]:
    return sorted((p for p in folder.glob("step-*") if p.is_dir()), reverse=True)


def _read(folder: Path) -> State:
    if not (folder / _MANIFEST).is_file():
        raise ValueError("it has no manifest")
    manifest = durable.parse_json(durable.read_bounded(folder / _MANIFEST, _LARGEST).decode())
    if manifest.pop("manifest_sha256") != durable.sha256_of_json(manifest):
        raise ValueError(f"{_MANIFEST} is damaged")
    if durable.sha256_of(folder / _TENSORS) != manifest["sha256"][_TENSORS]:
        raise ValueError(f"{_TENSORS} is damaged")
    return State(
        int(manifest["step"]), read_safetensors(folder / _TENSORS), manifest["facts"], folder
    )


def _prune(folder: Path, step: int, keep: int) -> None:
    """Only states with a manifest count towards ``keep``."""
    candidates = _candidates(folder)
    later = [c for c in candidates if c.name > _name(step)]
    complete = [c for c in candidates if c not in later and (c / _MANIFEST).is_file()]
    for old in [*later, *complete[max(keep, 1) :]]:
        (old / _MANIFEST).unlink(missing_ok=True)  # invalid first, then gone
        shutil.rmtree(old, ignore_errors=True)


def _name(step: int) -> str:
    return f"step-{step:08d}"
