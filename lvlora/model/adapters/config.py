"""The two JSON files of an adapter, checked: PEFT's adapter_config.json and our own lvlora.json."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from lvlora.errors import ModelError, reason
from lvlora.flops.model_config import Word, validated
from lvlora.model import lora
from lvlora.model.adapters.search import CONFIG
from lvlora.settings.base import NumberFormat
from lvlora.text.scaling import Scale

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
                f"{folder}: the adapter uses {key[:80]}, which lvlora does not",
                f"{_PLAIN} If it changes nothing that the adapter computes, delete it from "
                f"{CONFIG}.",
            )
    if config.get("bias", "none") != "none":
        raise ModelError(f"{folder}: the adapter trained biases (bias={config['bias']!r})", _PLAIN)
    began = config.get("init_lora_weights", True)
    if (began.lower() if isinstance(began, str) else began) not in _PLAIN_INITIAL_WEIGHTS:
        raise ModelError(
            f"{folder}: the adapter changed its base (init_lora_weights={str(began)[:80]!r})",
            _PLAIN,
        )
    if config.get("layers_pattern") not in (None, "", [], "layers", ["layers"]):
        raise ModelError(
            f"{folder}: layers_pattern {config['layers_pattern']!r} is not honoured", _PLAIN
        )
    saved = config.get("modules_to_save") or []
    if saved not in ([], ["lm_head"]):
        raise ModelError(f"{folder}: modules_to_save {saved}: only lm_head can be loaded", _PLAIN)
    try:
        plan = _plan(validated(AdapterConfig, dict(config), folder / CONFIG, _AGAIN))
    except ValueError as error:
        raise ModelError(f"{folder / CONFIG}: cannot be used ({reason(error)})", _AGAIN) from None
    return plan, bool(saved)


class AdapterConfig(BaseModel):
    """Types and ranges of adapter_config.json."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, defer_build=True)

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


Size = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(
        strict=True, extra="ignore", frozen=True, defer_build=True, protected_namespaces=()
    )


class AdapterFacts(_Strict):
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
    variables: Annotated[list[Word], Field(max_length=100_000)] | None = None
    known: Annotated[list[Word], Field(max_length=100_000)] | None = None
    sizes: Annotated[list[Size], Field(max_length=100_000)] | None = None
    flops: dict[Word, Annotated[int, Field(ge=0)]] | None = None
