"""Tiny random models of every family, as plain folders; the tests' stand-ins for real ones."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from lvlora.model import numeric_tokenizer as tokenizer
from lvlora.model.catalogue import ModelSource
from lvlora.model.devices import Placement
from lvlora.model.loading import BaseModel, load

SIZES: dict[str, Any] = {
    "vocab_size": tokenizer.START_ID + 1,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "bos_token_id": tokenizer.START_ID,
    "eos_token_id": None,
    "pad_token_id": tokenizer.START_ID,
}

FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen2": ("qwen2", {"tie_word_embeddings": True}),
    "qwen3": ("qwen3", {"tie_word_embeddings": True, "head_dim": 16}),
    "llama": ("llama", {"tie_word_embeddings": False}),
    "gemma": ("gemma", {"head_dim": 8}),
    "gemma2": (
        "gemma2",
        {
            "head_dim": 8,
            "query_pre_attn_scalar": 8,
            "attn_logit_softcapping": 5.0,
            "final_logit_softcapping": 3.0,
            "sliding_window": 16,
        },
    ),
    "gemma3": (
        "gemma3_text",
        {
            "head_dim": 8,
            "query_pre_attn_scalar": 8,
            "sliding_window": 16,
            "num_hidden_layers": 3,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
        },
    ),
}
"""Name to (transformers' model type, what differs from `SIZES`)."""


def build(family: str, seed: int = 0, **changes: Any) -> torch.nn.Module:
    """A model with random weights large enough that no logit is like another."""
    from transformers import AutoConfig, AutoModelForCausalLM

    model_type, own = FAMILIES[family]
    config = AutoConfig.for_model(model_type, **{**SIZES, **own, **changes})
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 2:
                parameter.normal_(0, 1.0 if "embed" in name else 0.3)
            elif "bias" in name:
                parameter.normal_(0, 0.1)
    return model


def write(folder: Path, family: str, seed: int = 0, **changes: Any) -> Path:
    """The same as a folder with config, safetensors and tokenizer."""
    build(family, seed, **changes).save_pretrained(folder)
    tokenizer.save(folder)
    return folder


def edit(file: Path, **changes: Any) -> None:
    """Change a JSON file's keys; "gone" takes one away."""
    old = json.loads(file.read_text()) if file.is_file() else {}
    file.write_text(json.dumps({k: v for k, v in {**old, **changes}.items() if v != "gone"}))


def source(folder: Path) -> ModelSource:
    return ModelSource("folder", folder.name, str(folder))


def load_tiny(folder: Path, dtype: torch.dtype = torch.float32, **how: bool) -> BaseModel:
    """A fresh copy of a written model, on the CPU."""
    return load(source(folder), Placement(torch.device("cpu"), dtype, "for tests"), **how)


def cached_writer(root: Path) -> Callable[..., Path]:
    """A `write` into ``root`` that writes each family once."""

    @functools.cache
    def folder_of(family: str) -> Path:
        return write(root / family, family)

    return folder_of
