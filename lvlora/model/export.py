"""Export: an adapter merged into its base model, or rewritten as a plain PEFT folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from lvlora import durable, folders
from lvlora.answers import Answer, Shape
from lvlora.errors import LvloraError, ModelError, NumericalError, SettingsError
from lvlora.model import adapters, devices, lora
from lvlora.model.adapters import FACTS, HEAD, AdapterInfo
from lvlora.model.catalogue import ModelSource
from lvlora.model.choice import choose
from lvlora.model.head import NumericHead, config_of, decoder_of, head_of, is_tied
from lvlora.model.loading import BaseModel, load, quiet, unpacked
from lvlora.model.lora import where_it_breaks
from lvlora.model.settings import ExportSettings
from lvlora.narrator import Narrator

PROBE = (
    "0.25,1.50;0.27,1.47;0.31,1.43;0.38,1.36;0.49,1.27;0.66,1.14;0.90,1.01;1.21,0.90;"
    "1.50,0.86;1.62,0.93;1.48,1.12;1.18,1.35;0.87,1.53;"
)
"""The text on which logits are compared: a prey that rises, a predator that follows."""

_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
)

_SAME = 1e-4
"""Logits read back may differ from those in memory by this share of the largest."""


def write_merged(
    source: ModelSource,
    base: BaseModel,
    head: NumericHead | None,
    folder: Path,
    dtype: torch.dtype,
    facts: Mapping[str, Any],
) -> Merge:
    """Merge, and fill an empty folder that plain transformers loads.

    The weights of ``base`` are given up when they are written, so that there is room to read them
    back.

    Args:
        source: where the base was loaded from; its tokenizer's files are copied.
        base: in float32, with its adapter attached.
        head: a trained numeric head; it is written into the model's own, which is untied.
        dtype: of the written weights.
        facts: for lvlora.json, beside the model.

    Raises:
        LvloraError: the folder can't be written, or does not give the merged model's logits.
        NumericalError: the model gives no finite logits.
    """
    module = base.module
    ids = probe_ids(base)
    before = logits(module, ids, head)
    if not bool(torch.isfinite(before).all()):
        where = where_it_breaks(module, head_of(module))
        raise NumericalError(
            f"{base.name}: the model with its adapter gives no finite logits"
            f"{': ' if where else ''}{where}",
            "Nothing was written: take model and adapter from their sources again.",
        )
    layers = sum(1 for _ in lora.lora_layers(module))
    lora.merge(module)
    if head is not None:
        head.write_back(module)
    untied = base.shape.tied and not is_tied(module)
    round_weights(module, dtype)
    expected = logits(module, ids)
    _save(source, base, folder, dtype)
    module.to("meta")
    logits_read_back = _read_back(base, folder, ids)
    largest = float(before.abs().max())
    if not _largest_difference(logits_read_back, expected) <= _SAME * max(1.0, largest):
        raise LvloraError(
            f"{folder.name}: loaded again, it does not give the logits of the merged model",
            "Nothing was written. This is a fault of lvlora or of the installed transformers.",
        )
    merge = Merge(
        folder=str(folder),
        dtype=str(dtype).removeprefix("torch."),
        family=base.shape.model_type,
        layers=layers,
        untied=untied,
        max_logit_difference=_largest_difference(logits_read_back, before),
        largest_logit=largest,
        tokens=ids.shape[1],
    )
    merged = merge.model_dump(mode="json", exclude={"folder"})
    all_facts = {"schema_version": 1, **facts, "merged": merged}
    durable.write_text(folder / FACTS, json.dumps(all_facts, indent=2) + "\n")
    return merge


def write_peft(info: AdapterInfo, base: BaseModel, folder: Path, facts: Mapping[str, Any]) -> None:
    """Fill a folder with an attached adapter, without a numeric head, as peft would write it."""
    # a folder of this machine is nobody else's
    base_name = base.name if Path(info.base_name).is_absolute() else info.base_name
    config = {
        **adapters.config_for(info.plan, base_name, info.full_head),
        "lora_dropout": info.config.get("lora_dropout", 0.0),
        "revision": info.config.get("revision"),
    }
    tensors = adapters.adapter_tensors(base.module, None, info.full_head)
    adapters.save(folder, config, tensors, facts)


def _largest_difference(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())


def _refuse_what_peft_lacks(info: AdapterInfo) -> None:
    """ModelError where an adapter can't be told in PEFT's files."""
    if (info.folder / HEAD).is_file():
        raise ModelError(
            f"{info.folder}: the adapter trained a numeric head ({HEAD}), "
            "and PEFT's files have no place for some rows of a head",
            "Merge it into its base instead: --merged DIR.",
        )


def shareable(info: AdapterInfo) -> dict[str, Any]:
    """lvlora's facts about an adapter, without paths of this machine and hashes of its files."""
    private = {"data", "sha256", "facts_sha256", "schema_version"}
    if info.facts.get("model_kind") not in ("hub", "bundled"):
        private |= {"model", "model_kind"}
    return {key: value for key, value in info.facts.items() if key not in private}


def probe_ids(base: BaseModel) -> Tensor:
    """(1, S) token ids of `PROBE`, with the start token if the model has one."""
    start = list(base.alphabet.beginning)
    ids = [*start, *base.alphabet.encode(PROBE).tolist()][: base.max_positions]
    return torch.tensor([ids], device=next(base.module.parameters()).device)


@torch.no_grad()
def logits(module: nn.Module, ids: Tensor, head: NumericHead | None = None) -> Tensor:
    """(S, vocabulary) float32 logits on the CPU, with a trained numeric head's in their columns."""
    values = cast(Tensor, module(input_ids=ids, use_cache=False).logits)[0].float()
    if head is not None:
        hidden = decoder_of(module)(input_ids=ids, use_cache=False).last_hidden_state
        values[:, head.ids] = head(hidden)[0]
    return values.cpu()


@torch.no_grad()
def round_weights(module: nn.Module, dtype: torch.dtype) -> None:
    """Give every float32 weight a value that ``dtype`` can hold; they stay float32.

    Casting the module would round its buffers too (rotary frequencies), which no file holds.
    """
    for parameter in module.parameters():
        parameter.copy_(parameter.to(dtype))


def _save(source: ModelSource, base: BaseModel, folder: Path, dtype: torch.dtype) -> None:
    from transformers import GenerationConfig

    module: Any = base.module
    for parameter in base.module.parameters():
        parameter.data = parameter.data.to(dtype)
    config = config_of(module)
    # a hub's repetition penalty would be applied to digits
    module.generation_config = GenerationConfig.from_model_config(config)
    rope = getattr(config, "rope_parameters", None) or {}
    if "rope_theta" in rope:
        # where transformers 4 and llama.cpp look for it; they would take 10,000 instead
        config.rope_theta = rope["rope_theta"]
    try:
        with quiet():
            module.save_pretrained(str(folder), save_original_format=False)
            _save_tokenizer(source, folder)
    except SafetensorError as error:  # a full disk is not an OSError there
        raise LvloraError(
            f"{folder}: cannot be written: {error}", "Is there space left on the disk?"
        ) from error


def _save_tokenizer(source: ModelSource, folder: Path) -> None:
    place = Path(unpacked(source).location)
    for name in _TOKENIZER_FILES:
        if (place / name).is_file():
            shutil.copyfile(place / name, folder / name)
    file = folder / "tokenizer_config.json"
    if file.is_file():
        config = durable.read_json_object(file, wrong=ModelError)
        for name in ("is_local", "local_files_only"):  # how it was loaded here
            config.pop(name, None)
        if config.get("tokenizer_class") == "TokenizersBackend":
            config["tokenizer_class"] = "PreTrainedTokenizerFast"  # its name in transformers 4, too
        file.write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _read_back(base: BaseModel, folder: Path, ids: Tensor) -> Tensor:
    placement = type(base.placement)(base.placement.device, torch.float32, "to be compared")
    again = load(
        ModelSource("folder", base.name, str(folder)), placement, through_transformers=True
    )
    if again.alphabet != base.alphabet:
        raise LvloraError(
            f"{folder.name}: loaded again, its tokenizer has other tokens for the digits",
            "Nothing was written. This is a fault of lvlora or of the installed transformers.",
        )
    return logits(again.module, ids)


class Merge(Shape):
    """A merged model that was read back."""

    folder: str
    dtype: str
    """Dtype of the written weights."""
    family: str
    """transformers' name of the architecture."""
    layers: int
    """Linear layers that took an update."""
    untied: bool
    """The head was one tensor with the embedding and now is not."""
    max_logit_difference: float
    """Largest difference of a logit, the folder's against base and adapter before merging, over the
    whole vocabulary and every place of a text; both computed in float32."""
    largest_logit: float
    """Largest size of a logit, to compare with."""
    tokens: int
    """Places that were compared."""


class Folder(Shape):
    """Where it was written."""

    folder: str


class Export(Answer):
    """`lvlora export --json`"""

    adapter: str
    model: str
    merged: Merge | None
    peft: Folder | None
    bytes: dict[str, int]
    """Folder → size."""


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
        _refuse_what_peft_lacks(info)
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
    head = adapters.attach(base, info)
    facts = shareable(info)
    if settings.peft is not None:
        with folders.replacing(settings.peft.absolute()) as folder:
            write_peft(info, base, folder, facts)
            folders.mark_complete(folder, "export")
    if settings.merged is None:
        return None
    dtype = getattr(torch, "float32" if settings.dtype == "auto" else settings.dtype)
    with folders.replacing(settings.merged.absolute()) as folder:
        merge = write_merged(source, base, head, folder, dtype, facts)
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
