"""Adapters on disk, in PEFT's layout, with lvlora's own facts in a file beside it.

``adapter_config.json`` and ``adapter_model.safetensors`` are what peft reads and writes;
``lvlora.json`` holds codec, scale, data and base hashes and FLOPs. Loading is strict: what is
missing, unexpected, misshapen, not finite or not supported is refused by name.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from safetensors.torch import save_file
from torch import Tensor, nn

from lvlora import durable, folders
from lvlora.errors import ModelError, SettingsError, reason
from lvlora.flops.model_config import Word, validated
from lvlora.model import lora
from lvlora.model.catalogue import ADAPTER_CONFIG as CONFIG
from lvlora.model.distrust import Strict
from lvlora.model.head import NumericHead, head_of, untie_head
from lvlora.model.loading import BaseModel, read_safetensors
from lvlora.settings.base import NumberFormat
from lvlora.text.scaling import Scale

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
_COPY = "Take it from a copy, or train again."
_OTHER_BASE = "It belongs to another base model: name that with --model."
HONOURED = frozenset(
    {"peft_type", "r", "lora_alpha", "target_modules", "use_rslora", "rank_pattern"}
    | {"alpha_pattern", "layers_to_transform", "layers_pattern", "modules_to_save", "bias"}
    | {"init_lora_weights"}
)
"""Keys that `plan_from` reads: honoured as peft does, or refused by their value."""

HARMLESS = frozenset(
    # who made it, and what for: the base is compared by its own hash and shapes
    {"task_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision"}
    # of training alone
    | {"inference_mode", "lora_dropout", "runtime_config", "merge_weights"}
    # how A and B began; init_lora_weights tells whether the base was changed with them
    | {"loftq_config", "eva_config", "corda_config", "lora_ga_config"}
    # means nothing without megatron_config, use_qalora
    | {"megatron_core", "qalora_group_size"}
)
"""Keys that do not change what a trained adapter computes. All others are refused when they are on:
DoRA, biases, transposed weights, and what a later peft adds."""

_PLAIN_INITIAL_WEIGHTS = (True, False, None, "gaussian", "eva", "orthogonal", "mica")
"""After these A and B are a plain LoRA on the base as it was; others (PiSSA, OLoRA, CorDA, LoftQ,
LoRA-GA) put a changed base under it."""

_PLAIN = "Convert it to a plain LoRA with peft first."
_AGAIN = "Take it from a copy, or save the adapter again with peft."

_NAME = re.compile(r"[\w.-]+")
_EXPRESSION = re.compile(r"(?:[\w.|^$-]|\\[.dw]|\[\^?[\w.-]+\]|\(\?[:!=]|[()]|(?<![()|*+?])[*+?])+")
"""Characters, classes, alternatives, groups, lookaheads, and repeats of one character: a search by
these takes long only where there are many repeats."""
_MOST_REPEATS = 4
_MOST_NAMES = 10_000
_MOST_PATTERNS = 1000
"""Of one adapter; peft writes one a module at most (560 for 80 layers of seven)."""
Rank = Annotated[int, Field(ge=1, le=2**20)]
Alpha = Annotated[float, Field(allow_inf_nan=False, ge=-1e38, le=1e38)]
"""A number that float32 can hold."""
Layer = Annotated[int, Field(ge=0, le=2**20)]
Text = Annotated[str, Field(min_length=1)]
Size = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Columns = Annotated[list[Word], Field(max_length=100_000)]


class AdapterFacts(Strict):
    """Types and ranges of lvlora.json, which may come from a stranger."""

    sha256: dict[Word, Word] | None = None
    facts_sha256: Word | None = None
    base_sha256: Word | None = None
    data_sha256: Word | None = None
    split_sha256: Word | None = None
    held_out: Annotated[int, Field(ge=0)] | None = None
    model: Word | None = None
    model_kind: Word | None = None
    revision: Word | None = None
    decimals: Annotated[int, Field(ge=0, le=12)] = 2
    number_format: NumberFormat = "point"
    scale: Scale | None = None
    variables: Columns | None = None
    known: Columns | None = None
    sizes: Annotated[list[Size], Field(max_length=100_000)] | None = None
    flops: dict[Word, Annotated[int, Field(ge=0)]] | None = None


class AdapterConfig(Strict):
    """Types and ranges of adapter_config.json."""

    base_model_name_or_path: Word | None = None
    revision: Word | None = None
    r: Rank = 8
    lora_alpha: Alpha = 8
    lora_dropout: Annotated[float, Field(ge=0, le=1)] | None = None
    target_modules: Text | Annotated[list[Text], Field(min_length=1, max_length=_MOST_NAMES)]
    use_rslora: bool | None = None
    rank_pattern: Annotated[dict[str, Rank], Field(max_length=_MOST_PATTERNS)] | None = None
    alpha_pattern: Annotated[dict[str, Alpha], Field(max_length=_MOST_PATTERNS)] | None = None
    layers_to_transform: Layer | Annotated[list[Layer], Field(max_length=_MOST_NAMES)] | None = None


def _plan(config: AdapterConfig) -> lora.LoraPlan:
    targets, layers = config.target_modules, config.layers_to_transform
    everything = isinstance(targets, str) and targets.lower() == "all-linear"
    if isinstance(layers, int):
        layers = [layers]
    return lora.LoraPlan(
        rank=config.r,
        alpha=float(config.lora_alpha),
        targets=("all-linear",) if isinstance(targets, str) else tuple(sorted(targets)),
        layers=tuple(layers) if layers else None,
        dropout=0.0,  # inference
        rslora=bool(config.use_rslora),
        rank_pattern={_name(p): rank for p, rank in (config.rank_pattern or {}).items()},
        alpha_pattern={_name(p): float(a) for p, a in (config.alpha_pattern or {}).items()},
        target_regex=_expression(targets) if isinstance(targets, str) and not everything else None,
    )


def _expression(pattern: str) -> str:
    """Return the regular expression itself, if no name can keep its search busy."""
    repeats = len(re.findall(r"(?<!\()[*+?]", pattern))
    if not _EXPRESSION.fullmatch(pattern) or repeats > _MOST_REPEATS:
        raise ValueError(
            f"target_modules {pattern[:80]!r} is too hard a regular expression; a list names layers"
        )
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"target_modules {pattern[:80]!r} is not valid: {error}") from None
    return pattern


def _name(pattern: str) -> str:
    """Return the end of a module's name; peft also takes regular expressions there."""
    name = pattern.replace(r"\.", ".")
    if not _NAME.fullmatch(name):
        raise ValueError(f"the pattern {pattern[:80]!r} is a regular expression, not a name")
    return name


def config_for(plan: lora.LoraPlan, base_name: str, full_head: bool) -> dict[str, Any]:
    """PEFT's adapter_config.json; everything that has a treacherous default is written."""
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_name,
        "revision": None,
        "r": plan.rank,
        "lora_alpha": int(plan.alpha) if plan.alpha == int(plan.alpha) else plan.alpha,
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


def plan_from(config: Mapping[str, Any], folder: Path) -> tuple[lora.LoraPlan, bool]:
    """The plan that a config describes, and whether a whole output head comes with it.

    Raises:
        ModelError: it uses what lvlora cannot honour, by name, or makes no sense.
    """
    if config.get("peft_type") != "LORA":
        raise ModelError(
            f"{folder}: peft_type is {config.get('peft_type')!r}, not LORA",
            "Only LoRA adapters are loaded.",
        )
    for key in sorted(config.keys() - HONOURED - HARMLESS):
        if config[key]:
            raise ModelError(
                f"{folder}: the adapter uses {ascii(key[:80])[1:-1]}, which lvlora does not",
                f"{_PLAIN} If it changes nothing that the adapter computes, delete it from "
                f"{CONFIG}.",
            )
    began = config.get("init_lora_weights", True)
    began = began.lower() if isinstance(began, str) else began
    saved = config.get("modules_to_save") or []
    honoured = {
        "bias": config.get("bias", "none") == "none",
        "init_lora_weights": began in _PLAIN_INITIAL_WEIGHTS,
        "layers_pattern": config.get("layers_pattern") in (None, "", [], "layers", ["layers"]),
        "modules_to_save": saved in ([], ["lm_head"]),
    }
    for key, is_honoured in honoured.items():
        if not is_honoured:
            value = repr(config[key])[:80]
            raise ModelError(
                f"{folder}: the adapter uses {key}={value}, which lvlora does not", _PLAIN
            )
    try:
        plan = _plan(validated(AdapterConfig, dict(config), folder / CONFIG, _AGAIN))
    except ValueError as error:
        raise ModelError(f"{folder / CONFIG}: cannot be used ({reason(error)})", _AGAIN) from None
    return plan, bool(saved)


@dataclass(frozen=True)
class AdapterInfo:
    """An adapter's JSON files; its weights are not read yet."""

    folder: Path
    config: dict[str, Any]
    """adapter_config.json."""
    facts: dict[str, Any]
    """lvlora.json; empty for an adapter made elsewhere."""
    plan: lora.LoraPlan
    full_head: bool
    """It brings a whole output head (modules_to_save)."""

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
    config, tensors = dict(config), dict(tensors)
    rows = tensors.pop(_NUMERIC_HEAD, None)
    if config.get("layers_to_transform") is not None and config["target_modules"] == "all-linear":
        # peft takes no layers beside a word that stands for names
        updated = (name.split(".lora_")[0] for name in tensors if ".lora_" in name)
        config["target_modules"] = sorted({name.rsplit(".", 1)[-1] for name in updated})
    files = {WEIGHTS: tensors}
    if rows is not None:
        files[HEAD] = {"weight": rows}
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
    config, facts = durable.read_json_object(folder / CONFIG, wrong=ModelError), {}
    if os.path.lexists(folder / FACTS):  # a pipe in its place is no adapter from elsewhere
        facts = durable.read_json_object(folder / FACTS, wrong=ModelError)
        validated(AdapterFacts, facts, folder / FACTS, _SAVED_AGAIN)
    plan, full_head = plan_from(config, folder)
    if facts.get("facts_sha256") not in (None, _hash_of(facts)):
        raise ModelError(f"{folder / FACTS}: is damaged, or was changed", _SAVED_AGAIN)
    hashes = facts.get("sha256")
    if hashes is not None:
        for file in (folder / CONFIG, folder / WEIGHTS, folder / HEAD):
            sha256 = durable.sha256_of(file) if file.is_file() else None
            if sha256 != hashes.get(file.name):
                raise ModelError(f"{file}: is not as {FACTS} was written with", _SAVED_AGAIN)
    return AdapterInfo(folder, config, facts, plan, full_head)


def is_whole(folder: Path) -> bool:
    """All files of an adapter that was saved here are there, as they were written."""
    try:
        read_info(folder)
    except ModelError:
        return False
    return (folder / WEIGHTS).is_file()


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
    tensors = {
        name.removeprefix(_PREFIX): tensor for name, tensor in read_safetensors(file).items()
    }
    plan, names = _fitted(base.module, info)
    expected = _expected_shapes(base.module, plan, names, info.full_head)
    for fault, keys in (
        ("lacks", expected.keys() - tensors.keys()),
        ("has the unexpected", tensors.keys() - expected.keys()),
    ):
        if keys:
            more = f" (and {len(keys) - 1} more)" if len(keys) > 1 else ""
            hint = f"Is {base.name} the model it was made for?"
            raise ModelError(f"{file}: {fault} {min(keys)}{more}", hint)
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


def _fitted(module: nn.Module, info: AdapterInfo) -> tuple[lora.LoraPlan, list[str]]:
    """The plan without names that this model has no layer of (peft passes over them too), and
    the layers of the others."""
    plan = info.plan
    if plan.target_regex is None and plan.targets != ("all-linear",):
        # targets are ends of names at a dot
        names = [f".{n}" for n, m in module.named_modules() if isinstance(m, nn.Linear)]
        there = (t for t in plan.targets if any(n.endswith(f".{t}") for n in names))
        plan = replace(plan, targets=tuple(there))
    with contextlib.suppress(SettingsError):
        if names := lora.find_targets(module, plan):
            return plan, names
    raise ModelError(f"{info.folder}: its targets match no linear layer of the model", _OTHER_BASE)


def _expected_shapes(
    module: nn.Module, plan: lora.LoraPlan, names: list[str], full_head: bool
) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for name in names:
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
            _OTHER_BASE,
        )
    if not tensor.is_floating_point() or not bool(torch.isfinite(tensor.float()).all()):
        raise ModelError(
            f"{file}: {name} holds values that are not finite numbers",
            _COPY,
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
        raise ModelError(f"{file}: is not a numeric head", _COPY)
    _check_tensor(file, "weight", tensors["weight"], tuple(head.weight.shape))
    with torch.no_grad():
        head.weight.copy_(tensors["weight"])
    head.requires_grad_(False)
    return head
