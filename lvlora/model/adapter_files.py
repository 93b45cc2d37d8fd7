"""Adapters on disk, in PEFT's layout, with lvlora's own facts in a file beside it.

Knows: names, keys, hashes, what can be honoured. Does not know: how an adapter was trained.

``adapter_config.json`` and ``adapter_model.safetensors`` are what peft reads and writes;
``lvlora.json`` holds codec, scale, data and base hashes and FLOPs. Loading is strict: what is
missing, unexpected, misshapen, not finite or not supported is refused by name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from lvlora import durable
from lvlora.errors import ModelError
from lvlora.model import lora
from lvlora.model.adapter_search import CONFIG
from lvlora.model.head import NumericHead
from lvlora.model.loading import BaseModel, read_safetensors

WEIGHTS = "adapter_model.safetensors"
FACTS = "lvlora.json"
_PREFIX = "base_model.model."
_NUMERIC_HEAD = "lvlora_numeric_head.weight"

_REFUSED = {
    "use_dora": "DoRA",
    "lora_bias": "a bias on lora_B",
    "fan_in_fan_out": "transposed weights",
    "layer_replication": "layer replication",
    "megatron_config": "Megatron layers",
    "trainable_token_indices": "trainable token embeddings",
    "target_parameters": "adapters on raw parameters",
    "alora_invocation_tokens": "activated LoRA",
    "use_qalora": "QA-LoRA",
    "arrow_config": "Arrow routing",
    "eva_config": "EVA",
    "corda_config": "CorDA",
}
_PLAIN_INITIAL_WEIGHTS = (True, False, "gaussian", "orthogonal", None)


@dataclass(frozen=True)
class AdapterInfo:
    """What an adapter's files say, before its weights are read.

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
    def base_name(self) -> str:
        """The base model it was trained on, as written in the config."""
        return str(self.config.get("base_model_name_or_path") or "")


def config_for(plan: lora.LoraPlan, base_name: str, full_head: bool) -> dict[str, Any]:
    """PEFT's adapter_config.json; everything that has a treacherous default is written."""
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_name,
        "revision": None,
        "r": plan.rank,
        "lora_alpha": plan.alpha,
        "lora_dropout": plan.dropout,
        "target_modules": plan.target_regex
        or ("all-linear" if plan.targets == ("all-linear",) else list(plan.targets)),
        "bias": "none",
        "fan_in_fan_out": False,
        "modules_to_save": ["lm_head"] if full_head else None,
        "use_rslora": plan.rslora,
        "use_dora": False,
        "init_lora_weights": True,
        "inference_mode": True,
        "layers_to_transform": None if plan.layers is None else list(plan.layers),
        "layers_pattern": None,
        "rank_pattern": dict(plan.rank_pattern),
        "alpha_pattern": dict(plan.alpha_pattern),
    }


def adapter_tensors(
    module: nn.Module, head: NumericHead | None = None, full_head: bool = False
) -> dict[str, Tensor]:
    """Trained tensors under PEFT's keys, on the CPU, contiguous and unshared."""
    tensors: dict[str, Tensor] = {}
    for name, layer in lora.lora_layers(module):
        tensors[f"{_PREFIX}{name}.lora_A.weight"] = layer.lora_a
        tensors[f"{_PREFIX}{name}.lora_B.weight"] = layer.lora_b
    if full_head:
        tensors[f"{_PREFIX}lm_head.weight"] = module.get_output_embeddings().weight
    if head is not None and isinstance(head.weight, nn.Parameter):
        tensors[_NUMERIC_HEAD] = head.weight
    return {n: t.detach().to("cpu", copy=True).contiguous() for n, t in tensors.items()}


def save(
    folder: Path, config: Mapping[str, Any], tensors: Mapping[str, Tensor], facts: Mapping[str, Any]
) -> None:
    """Write the three files, weights first, each whole or not there.

    A trained numeric head goes into a file of its own: it is no part of PEFT's layout.
    """
    peft = {n: t for n, t in tensors.items() if n != _NUMERIC_HEAD}
    durable.write_with(
        folder / WEIGHTS, lambda p: save_file(peft, str(p), metadata={"format": "pt"})
    )
    files = {WEIGHTS: durable.sha256_of(folder / WEIGHTS)}
    if _NUMERIC_HEAD in tensors:
        name = "numeric_head.safetensors"
        durable.write_with(
            folder / name, lambda p: save_file({"weight": tensors[_NUMERIC_HEAD]}, str(p))
        )
        files[name] = durable.sha256_of(folder / name)
    durable.write_text(folder / CONFIG, json.dumps(dict(config), indent=2) + "\n")
    whole = {"schema_version": 1, **facts, "sha256": files}
    durable.write_text(folder / FACTS, json.dumps(whole, indent=2) + "\n")


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
    config = _read_json(folder / CONFIG)
    facts = _read_json(folder / FACTS) if (folder / FACTS).is_file() else {}
    for key, meaning in _REFUSED.items():
        if config.get(key):
            raise ModelError(f"{folder}: the adapter uses {meaning} ({key}), which lvlora does not")
    if config.get("peft_type") != "LORA":
        raise ModelError(f"{folder}: peft_type is {config.get('peft_type')!r}, not LORA")
    if config.get("bias", "none") != "none":
        raise ModelError(f"{folder}: the adapter trained biases (bias={config['bias']!r})")
    if config.get("init_lora_weights", True) not in _PLAIN_INITIAL_WEIGHTS:
        raise ModelError(
            f"{folder}: the adapter changed its base (init_lora_weights="
            f"{config['init_lora_weights']!r})",
            "Convert it to a plain LoRA with peft first.",
        )
    saved = config.get("modules_to_save") or []
    if not set(saved) <= {"lm_head"}:
        raise ModelError(f"{folder}: modules_to_save {saved}: only lm_head can be loaded")
    try:
        plan = _plan(config)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{folder / CONFIG}: cannot be used: {error!r}") from None
    return AdapterInfo(folder, config, facts, plan, full_head="lm_head" in saved)


def _plan(config: dict[str, Any]) -> lora.LoraPlan:
    targets = config["target_modules"]
    layers = config.get("layers_to_transform")
    if isinstance(layers, int):
        layers = [layers]
    regex = targets if isinstance(targets, str) and targets != "all-linear" else None
    names = ("all-linear",) if isinstance(targets, str) else tuple(sorted(str(t) for t in targets))
    rank = int(config.get("r", 8))
    if rank < 1:
        raise ValueError(f"r is {rank}")
    return lora.LoraPlan(
        rank=rank,
        alpha=float(config.get("lora_alpha", 8)),
        targets=names,
        layers=None if layers is None else tuple(int(i) for i in layers),
        dropout=0.0,  # inference
        rslora=bool(config.get("use_rslora", False)),
        rank_pattern={str(k): int(v) for k, v in (config.get("rank_pattern") or {}).items()},
        alpha_pattern={str(k): float(v) for k, v in (config.get("alpha_pattern") or {}).items()},
        target_regex=regex,
    )


def attach(base: BaseModel, info: AdapterInfo) -> NumericHead | None:
    """Inject the adapter into a base model; a trained numeric head is returned.

    Raises:
        ModelError: another base, missing or unexpected keys, wrong shapes, values not finite.
    """
    recorded = info.facts.get("base_sha256")
    if recorded and base.sha256 and recorded != base.sha256:
        raise ModelError(
            f"{info.folder}: was trained on {info.base_name or 'another model'} with other weights "
            f"than {base.name}",
            f"Use --model {info.facts.get('model', info.base_name)}.",
        )
    tensors = read_safetensors(info.folder / WEIGHTS)
    tensors = {_normal_key(name): tensor for name, tensor in tensors.items()}
    lora.inject(base.module, info.plan)
    if info.full_head:
        untie_head(base.module)
    expected = {
        _normal_key(n): t for n, t in adapter_tensors(base.module, None, info.full_head).items()
    }
    missing, unexpected = (
        sorted(expected.keys() - tensors.keys()),
        sorted(tensors.keys() - expected.keys()),
    )
    if missing or unexpected:
        which, keys = ("lacks", missing) if missing else ("has the unexpected", unexpected)
        raise ModelError(f"{info.folder / WEIGHTS}: {which} {keys[0]} (and {len(keys) - 1} more)")
    _put(info.folder / WEIGHTS, base.module, tensors)
    base.module.requires_grad_(False)
    name = info.folder / "numeric_head.safetensors"
    if not name.is_file():
        return None
    head = NumericHead(base.module, base.alphabet, trainable=True)
    rows = read_safetensors(name).get("weight")
    if rows is None or rows.shape != head.weight.shape or not bool(torch.isfinite(rows).all()):
        raise ModelError(f"{name}: is not a head for {base.name}")
    with torch.no_grad():
        head.weight.copy_(rows)
    head.requires_grad_(False)
    return head


def _put(path: Path, module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    targets: dict[str, Tensor] = {}
    for name, layer in lora.lora_layers(module):
        targets[f"{name}.lora_A.weight"] = layer.lora_a
        targets[f"{name}.lora_B.weight"] = layer.lora_b
    if "lm_head.weight" in tensors:
        targets["lm_head.weight"] = module.get_output_embeddings().weight
    for name, target in targets.items():
        tensor = tensors[name]
        if tensor.shape != target.shape:
            raise ModelError(
                f"{path}: {name} has shape {tuple(tensor.shape)}, the base needs "
                f"{tuple(target.shape)}"
            )
        if not bool(torch.isfinite(tensor).all()):
            raise ModelError(f"{path}: {name} holds values that are not finite")
        with torch.no_grad():
            target.copy_(tensor)


def untie_head(module: nn.Module) -> None:
    """Give a tied output head weights of its own, so that training it leaves the embedding alone."""
    head, embedding = module.get_output_embeddings(), module.get_input_embeddings()
    if head.weight.data_ptr() == embedding.weight.data_ptr():
        head.weight = nn.Parameter(head.weight.detach().clone(), requires_grad=False)
    module.config.tie_word_embeddings = False


def _normal_key(name: str) -> str:
    return name.removeprefix(_PREFIX)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > 10_000_000:
            raise ValueError("it is larger than 10 MB")
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path}: cannot be read as JSON ({error})") from None
    if not isinstance(content, dict):
        raise ModelError(f"{path}: is not a JSON object")
    return content
