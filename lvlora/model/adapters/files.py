"""Adapters on disk, in PEFT's layout, with lvlora's own facts in a file beside it.

``adapter_config.json`` and ``adapter_model.safetensors`` are what peft reads and writes;
``lvlora.json`` holds codec, scale, data and base hashes and FLOPs. Loading is strict: what is
missing, unexpected, misshapen, not finite or not supported is refused by name.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from lvlora import durable, folders
from lvlora.errors import ModelError, SettingsError
from lvlora.flops.model_config import validated
from lvlora.model import lora
from lvlora.model.adapters import config as adapter_config
from lvlora.model.adapters.config import AdapterFacts
from lvlora.model.adapters.search import CONFIG
from lvlora.model.head import NumericHead, untie_head
from lvlora.model.loading import BaseModel, read_safetensors
from lvlora.model.parts import head_of

WEIGHTS = "adapter_model.safetensors"
HEAD = "numeric_head.safetensors"
FACTS = "lvlora.json"
_PREFIX = "base_model.model."
_NUMERIC_HEAD = "lvlora_numeric_head.weight"

_HEAD_KEY = "lm_head.weight"
_SAVED_AGAIN = (
    "A file was changed: lvlora train --resume saves them again. "
    f"For files from elsewhere delete {FACTS}."
)


@dataclass(frozen=True)
class AdapterInfo:
    """An adapter's files before its weights are read.

    Attributes:
        folder: where it is.
        config: adapter_config.json.
        facts: lvlora.json, empty for an adapter made elsewhere.
        plan: what `lora.inject` needs.
        full_head: it brings a whole output head (modules_to_save).
    """

    folder: Path
    config: dict[str, Any]
    facts: dict[str, Any] = field(default_factory=dict)
    plan: lora.LoraPlan = field(default_factory=lora.LoraPlan)
    full_head: bool = False

    @property
    def model(self) -> str:
        """The base model as ``--model`` names it, else as the config does."""
        return str(self.facts.get("model") or self.base_name)

    @property
    def base_name(self) -> str:
        """The base model it was trained on, as written in the config."""
        return str(self.config.get("base_model_name_or_path") or "")


def adapter_tensors(
    module: nn.Module, head: NumericHead | None = None, full_head: bool = False
) -> dict[str, Tensor]:
    """Trained tensors under PEFT's keys, on the CPU, contiguous and unshared."""
    tensors = {_PREFIX + name: tensor for name, tensor in _places(module, full_head).items()}
    if head is not None and isinstance(head.weight, nn.Parameter):
        tensors[_NUMERIC_HEAD] = head.weight
    return {n: t.detach().to("cpu", copy=True).contiguous() for n, t in tensors.items()}


def save(
    folder: Path, config: Mapping[str, Any], tensors: Mapping[str, Tensor], facts: Mapping[str, Any]
) -> None:
    """Write the folder of an adapter in place of the one before, which stays until this is whole.

    A trained numeric head goes into a file of its own: it is no part of PEFT's layout.
    """
    config = dict(config)
    if config.get("layers_to_transform") is not None and config["target_modules"] == "all-linear":
        # peft takes no layers beside a word that stands for names
        linears = {
            name.split(".lora_")[0].rsplit(".", 1)[-1] for name in tensors if ".lora_" in name
        }
        config["target_modules"] = sorted(linears)
    files: dict[str, dict[str, Tensor]] = {
        WEIGHTS: {n: t for n, t in tensors.items() if n != _NUMERIC_HEAD}
    }
    if _NUMERIC_HEAD in tensors:
        files[HEAD] = {"weight": tensors[_NUMERIC_HEAD]}
    with folders.replacing(folder) as new:
        for name, content in files.items():
            save_file(content, str(new / name), metadata={"format": "pt"})
        durable.write_text(new / CONFIG, json.dumps(config, indent=2) + "\n")
        hashes = {name: durable.sha256_of(new / name) for name in (CONFIG, *files)}
        all_facts = {"schema_version": 1, **facts, "sha256": hashes}
        all_facts["facts_sha256"] = _hash_of(all_facts)
        durable.write_text(new / FACTS, json.dumps(all_facts, indent=2) + "\n")


def _hash_of(facts: Mapping[str, Any]) -> str:
    rest = {key: value for key, value in facts.items() if key != "facts_sha256"}
    return durable.sha256_of_json(rest)


def read_info(folder: Path) -> AdapterInfo:
    """Read and check the two JSON files.

    Raises:
        ModelError: no adapter there, or it uses what lvlora cannot honour.
    """
    if not (folder / CONFIG).is_file():
        raise ModelError(
            f"{folder}: no adapter here ({CONFIG} is missing)",
            "Give a run folder (runs/…), its adapter folder, or a PEFT adapter folder.",
        )
    config = durable.read_json_object(folder / CONFIG, wrong=ModelError)
    facts = {}
    if os.path.lexists(folder / FACTS):  # a pipe in its place is no adapter from elsewhere
        facts = durable.read_json_object(folder / FACTS, wrong=ModelError)
        validated(AdapterFacts, facts, folder / FACTS, _SAVED_AGAIN)
    plan, full_head = adapter_config.plan_from(config, folder)
    _check_files(folder, facts)
    return AdapterInfo(folder, config, facts, plan, full_head)


def is_whole(folder: Path) -> bool:
    """All files of an adapter that was saved here are there, as they were written."""
    try:
        read_info(folder)
    except ModelError:
        return False
    return (folder / WEIGHTS).is_file()


def _check_files(folder: Path, facts: Mapping[str, Any]) -> None:
    """All files are those that lvlora.json was written with; made elsewhere, there is none."""
    if facts.get("facts_sha256", None) not in (None, _hash_of(facts)):
        raise ModelError(f"{folder / FACTS}: is damaged, or was changed", _SAVED_AGAIN)
    if "sha256" not in facts:
        return
    for file in (folder / CONFIG, folder / WEIGHTS, folder / HEAD):
        sha256 = durable.sha256_of(file) if file.is_file() else None
        if sha256 != facts["sha256"].get(file.name):
            raise ModelError(f"{file}: is not as {FACTS} was written with", _SAVED_AGAIN)


def attach(base: BaseModel, info: AdapterInfo) -> NumericHead | None:
    """Inject the adapter into a base model; a trained numeric head is returned.

    Nothing is changed in the base if anything is wrong with the adapter.

    Raises:
        ModelError: another base, missing or unexpected keys, wrong shapes, values not finite.
    """
    recorded = info.facts.get("base_sha256")
    if recorded and base.sha256 and recorded != base.sha256:
        raise ModelError(
            f"{info.folder}: was trained on {info.model or 'another model'} with other weights "
            f"than {base.name}",
            f"Use --model {info.model}.",
        )
    file = info.folder / WEIGHTS
    if not file.is_file():
        pickled = (info.folder / "adapter_model.bin").is_file()
        raise ModelError(
            f"{file}: no such file",
            "Only safetensors are read; a pickled .bin could run a program." if pickled else "",
        )
    tensors = {_normal_key(name): tensor for name, tensor in read_safetensors(file).items()}
    plan = _fitted(base.module, info)
    expected = _expected_shapes(base.module, plan, info.full_head)
    missing = sorted(expected.keys() - tensors.keys())
    unexpected = sorted(tensors.keys() - expected.keys())
    if missing or unexpected:
        which, keys = ("lacks", missing) if missing else ("has the unexpected", unexpected)
        more = f" (and {len(keys) - 1} more)" if len(keys) > 1 else ""
        raise ModelError(
            f"{file}: {which} {keys[0]}{more}", f"Is {base.name} the model it was made for?"
        )
    for name, shape in expected.items():
        _check_tensor(file, name, tensors[name], shape)
    head = _numeric_head(base, info)
    lora.inject(base.module, plan)
    if info.full_head:
        untie_head(base.module)
    with torch.no_grad():
        for name, target in _places(base.module, info.full_head).items():
            target.copy_(tensors[name])
    base.module.requires_grad_(False)
    return head


def _fitted(module: nn.Module, info: AdapterInfo) -> lora.LoraPlan:
    """The plan without names that this model has no layer of: peft passes over them too."""
    plan = info.plan
    if plan.target_regex is None and plan.targets != ("all-linear",):
        names = [n for n, m in module.named_modules() if isinstance(m, nn.Linear)]
        there = tuple(t for t in plan.targets if any(n == t or n.endswith(f".{t}") for n in names))
        plan = replace(plan, targets=there)
    with contextlib.suppress(SettingsError):
        if lora.find_targets(module, plan):
            return plan
    raise ModelError(
        f"{info.folder}: its targets match no linear layer of the model",
        "It belongs to another base model: name that with --model.",
    )


def _expected_shapes(
    module: nn.Module, plan: lora.LoraPlan, full_head: bool
) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for name in lora.find_targets(module, plan):
        linear, rank = module.get_submodule(name), plan.rank_of(name)
        assert isinstance(linear, nn.Linear)
        shapes[f"{name}.lora_A.weight"] = (rank, linear.in_features)
        shapes[f"{name}.lora_B.weight"] = (linear.out_features, rank)
    if full_head:
        shapes[_HEAD_KEY] = tuple(head_of(module).weight.shape)
    return shapes


def _check_tensor(file: Path, name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(tensor.shape) != shape:
        raise ModelError(
            f"{file}: {name} has shape {tuple(tensor.shape)}, the base needs {shape}",
            "It belongs to another base model: name that with --model.",
        )
    if not tensor.is_floating_point() or not bool(torch.isfinite(tensor.float()).all()):
        raise ModelError(
            f"{file}: {name} holds values that are not finite numbers",
            "Take it from a copy, or train again.",
        )


def _places(module: nn.Module, full_head: bool) -> dict[str, Tensor]:
    """The tensors that an adapter fills, by their names in the model."""
    places: dict[str, Tensor] = {}
    for name, layer in lora.lora_layers(module):
        places[f"{name}.lora_A.weight"] = layer.lora_a
        places[f"{name}.lora_B.weight"] = layer.lora_b
    if full_head:
        places[_HEAD_KEY] = head_of(module).weight
    return places


def _numeric_head(base: BaseModel, info: AdapterInfo) -> NumericHead | None:
    file = info.folder / HEAD
    if not file.is_file():
        return None
    head = NumericHead(base.module, base.alphabet, trainable=True)
    tensors = read_safetensors(file)
    if tensors.keys() != {"weight"}:
        raise ModelError(f"{file}: is not a numeric head", "Take it from a copy, or train again.")
    _check_tensor(file, "weight", tensors["weight"], tuple(head.weight.shape))
    with torch.no_grad():
        head.weight.copy_(tensors["weight"])
    head.requires_grad_(False)
    return head


def _normal_key(name: str) -> str:
    return name.removeprefix(_PREFIX)
