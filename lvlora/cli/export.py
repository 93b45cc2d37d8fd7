"""`lvlora export ADAPTER`: merge into the base model, or rewrite as a PEFT folder."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lvlora import numbers
from lvlora.cli.program.context import CommandContext
from lvlora.cli.program.from_settings import examples, settings_command
from lvlora.cli.program.root import app
from lvlora.errors import SettingsError
from lvlora.settings import ExportSettings

if TYPE_CHECKING:
    from lvlora.model.adapters.files import AdapterInfo
    from lvlora.model.catalogue import ModelSource
    from lvlora.model.merging import Merge

EXAMPLES = examples(
    ("lvlora export latest --merged merged", "the newest run as a plain transformers folder"),
    ("lvlora export latest --peft adapter", "the same for peft, ready to be shared"),
    (
        "lvlora export latest --merged merged --dtype bfloat16 --overwrite",
        "half the size, rounded weights",
    ),
)

_TIED_IN_LLAMA_CPP = ("gemma", "gemma2")


@settings_command(app, ExportSettings, name="export", epilog=EXAMPLES)
def export(settings: ExportSettings, context: CommandContext) -> None:
    """Merge an adapter into its base model, or rewrite it for peft.

    A merged folder is loaded by plain transformers and read by llama.cpp's converter. It is
    loaded again before it is kept, and the largest difference of its logits is reported. A folder
    appears under its name only when it is whole.
    """
    if settings.merged is None and settings.peft is None:
        raise SettingsError(
            "nothing to write.",
            "Give --merged DIR for a plain transformers folder, --peft DIR for a PEFT adapter.",
        )
    from lvlora.forecast.open_model import choose

    output = context.output
    choice = choose(settings, settings.runs, output.note)
    if choice.info is None:
        raise SettingsError(
            "ADAPTER none: a plain base model is an export already.", "Name a run or an adapter."
        )
    info, source = choice.info, choice.source
    for option, target in (("--merged", settings.merged), ("--peft", settings.peft)):
        if target is not None:
            _check_target(option, target, settings, info, source)
    if settings.peft is not None:
        from lvlora.model.merging import refuse_what_peft_lacks

        refuse_what_peft_lacks(info)

    merge, folders = _write(settings, info, source)
    payload = {
        "adapter": info.folder,
        "model": source.name,
        "merged": None
        if merge is None
        else {"folder": settings.merged, "dtype": _dtype(settings), **asdict(merge)},
        "peft": None if settings.peft is None else {"folder": settings.peft},
        "bytes": {str(folder): _size(folder) for folder in folders},
    }
    output.report(payload, lambda: _show(payload, merge, context))
    if merge is not None and merge.untied and merge.family in _TIED_IN_LLAMA_CPP:
        output.warning(
            f"llama.cpp knows no head of its own for {merge.family}: it would lose the trained one."
        )
    if settings.merged is not None:
        written = "".join(
            f" --{name.replace('_', '-')} {info.facts[name]}"
            for name, usual in (("decimals", 2), ("number_format", "point"))
            if info.facts.get(name, usual) != usual
        )
        merged = shlex.quote(str(settings.merged))
        output.hint(f"Next: lvlora forecast FILE --model {merged} --adapter none{written}")
    else:
        # the adapter names a hub's or the bundled model itself
        known = source.kind in ("hub", "bundled")
        of = "" if known else f" --model {shlex.quote(source.location)}"
        adapter = shlex.quote(str(settings.peft))
        output.hint(f"Next: lvlora forecast FILE{of} --adapter {adapter}")
        output.hint(f"Its base model for peft: {source.location}")


def _dtype(settings: ExportSettings) -> str:
    return "float32" if settings.dtype == "auto" else settings.dtype


def _write(
    settings: ExportSettings, info: AdapterInfo, source: ModelSource
) -> tuple[Merge | None, list[Path]]:
    import torch

    from lvlora import folders
    from lvlora.model import devices, merging
    from lvlora.model.adapters import files as adapter_files
    from lvlora.model.loading import load

    base = load(source, devices.choose(settings.device, "float32"), through_transformers=True)
    head = adapter_files.attach(base, info)
    facts = merging.shareable(info)
    written, merge = [], None
    if settings.peft is not None:
        with folders.replacing(settings.peft.absolute()) as folder:
            merging.write_peft(info, base, folder, facts)
            folders.mark_complete(folder, "export")
        written.append(settings.peft)
    if settings.merged is not None:
        dtype = getattr(torch, _dtype(settings))
        with folders.replacing(settings.merged.absolute()) as folder:
            merge = merging.write_merged(source, base, head, folder, dtype, facts)
            folders.mark_complete(folder, "export")
        written.append(settings.merged)
    return merge, written


def _check_target(
    option: str, target: Path, settings: ExportSettings, info: AdapterInfo, source: ModelSource
) -> None:
    """Before the work: nothing is replaced that was not asked for, or that is needed."""
    from lvlora import folders

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


def _show(payload: dict[str, Any], merge: Merge | None, context: CommandContext) -> None:
    merged, peft, sizes = payload["merged"], payload["peft"], payload["bytes"]
    rows: list[tuple[str, str]] = [
        ("adapter", str(payload["adapter"])),
        ("base model", payload["model"]),
    ]
    if peft is not None:
        folder = str(peft["folder"])
        rows.append(("PEFT folder", f"{folder} ({numbers.size(sizes[folder])})"))
    if merged is not None and merge is not None:
        folder = str(merged["folder"])
        rows += [
            ("merged folder", f"{folder} ({numbers.size(sizes[folder])}, {merged['dtype']})"),
            ("merged layers", numbers.count(merge.layers)),
            ("head", "untied: it was trained" if merge.untied else "as in the base model"),
            (
                "largest logit difference",
                f"{merge.max_logit_difference:.2g} (logits up to {merge.largest_logit:.3g})",
            ),
        ]
    context.output.table(["Export", ""], rows)
