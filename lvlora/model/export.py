"""Export: an adapter merged into its base model, or rewritten as a plain PEFT folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from lvlora import folders
from lvlora.errors import SettingsError
from lvlora.model import devices, merging
from lvlora.model.adapters import files as adapter_files
from lvlora.model.adapters.files import AdapterInfo
from lvlora.model.catalogue import ModelSource
from lvlora.model.choice import choose
from lvlora.model.loading import load
from lvlora.model.merging import Export, Folder, Merge
from lvlora.model.settings import ExportSettings
from lvlora.narrator import Narrator


@dataclass(frozen=True)
class Exported:
    """The answer of `export`, and what was exported."""

    answer: Export
    info: AdapterInfo
    source: ModelSource


def export(settings: ExportSettings, narrator: Narrator) -> Exported:
    """Write what is asked for; a folder appears under its name only when it is whole.

    Args:
        narrator: told which model it is.

    Raises:
        SettingsError: nothing is to be written, or a folder is in the way.
        ModelError: base and adapter don't fit together, or PEFT has no such adapter.
    """
    if settings.merged is None and settings.peft is None:
        raise SettingsError(
            "nothing to write.",
            "Give --merged DIR for a plain transformers folder, --peft DIR for a PEFT adapter.",
        )
    choice = choose(settings, settings.runs, None, narrator.note)
    if choice.info is None:
        raise SettingsError(
            "ADAPTER none: a plain base model is an export already.", "Name a run or an adapter."
        )
    info, source = choice.info, choice.source
    for option, target in (("--merged", settings.merged), ("--peft", settings.peft)):
        if target is not None:
            _check_target(option, target, settings, info, source)
    if settings.peft is not None:
        merging.refuse_what_peft_lacks(info)
    merge = _write(settings, info, source)
    written = [folder for folder in (settings.peft, settings.merged) if folder is not None]
    answer = Export(
        adapter=str(info.folder),
        model=source.name,
        merged=merge,
        peft=None if settings.peft is None else Folder(folder=str(settings.peft)),
        bytes={str(folder): _size(folder) for folder in written},
    )
    return Exported(answer, info, source)


def _write(settings: ExportSettings, info: AdapterInfo, source: ModelSource) -> Merge | None:
    base = load(source, devices.choose(settings.device, "float32"), through_transformers=True)
    head = adapter_files.attach(base, info)
    facts = merging.shareable(info)
    if settings.peft is not None:
        with folders.replacing(settings.peft.absolute()) as folder:
            merging.write_peft(info, base, folder, facts)
            folders.mark_complete(folder, "export")
    if settings.merged is None:
        return None
    dtype = getattr(torch, "float32" if settings.dtype == "auto" else settings.dtype)
    with folders.replacing(settings.merged.absolute()) as folder:
        merge = merging.write_merged(source, base, head, folder, dtype, facts)
        folders.mark_complete(folder, "export")
    return merge.model_copy(update={"folder": str(settings.merged)})


def _check_target(
    option: str, target: Path, settings: ExportSettings, info: AdapterInfo, source: ModelSource
) -> None:
    """Before the work: nothing is replaced that was not asked for, or that is needed."""
    if settings.merged is not None and settings.peft is not None:
        one, other = settings.merged.resolve(), settings.peft.resolve()
        if one == other or one in other.parents or other in one.parents:
            raise SettingsError(
                f"--merged and --peft: {target} cannot be both", "Name two folders."
            )
    needed = {
        "what is exported": info.folder,
        "its base model": Path(source.location),
        "the runs folder": settings.runs,
    }
    folders.check_spares(option, target, needed)
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise SettingsError(f"{option} {target}: is there and is no folder", "Choose another name.")
    if target.is_dir() and any(target.iterdir()):
        if not settings.overwrite:
            raise SettingsError(
                f"{option} {target}: is there already", "Add --overwrite, or choose another folder."
            )
        folders.check_replaceable(option, target, "export", needed)


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
