"""The shapes of well-known small models, so that `lvlora flops` needs no files and no network."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

from lvlora.errors import ModelError
from lvlora.flops.answers import FlopsArchitecture
from lvlora.flops.shape import ModelShape

_QWEN: dict[str, Any] = {"rope_theta": 1e6, "bos_id": 151_643, "eos_id": 151_645}
_SMOLLM: dict[str, Any] = {"tied": True, "max_positions": 8192, "rope_theta": 1e5}
_GEMMA: dict[str, Any] = {
    "head_dim": 256,
    "tied": True,
    "sandwich_norms": True,
    "unit_offset_norms": True,
    "activation": "gelu_tanh",
    "max_positions": 8192,
    "rope_theta": 1e4,
    "bos_id": 2,
    "eos_id": 1,
}
_FAMILIES: dict[str, dict[str, Any]] = {
    "qwen2": {**_QWEN, "tied": True, "qkv_bias": True, "max_positions": 32_768},
    "qwen3": {**_QWEN, "tied": True, "head_dim": 128, "qk_norm": True, "max_positions": 40_960},
    "llama": {"norm_eps": 1e-5, "bos_id": 1, "eos_id": 2},
    "gemma": {**_GEMMA, "sandwich_norms": False},
    "gemma2": {
        **_GEMMA,
        "attention_softcap": True,
        "final_softcap": True,
    },
    "gemma3_text": {
        **_GEMMA,
        "qk_norm": True,
        "max_positions": 32_768,
        "rope_theta": 1e6,
    },
}
"""Facts that the models of a family share."""

_LLAMA_3: dict[str, Any] = {
    "tied": True,
    "max_positions": 131_072,
    "rope_theta": 5e5,
    "bos_id": 128_000,
    "eos_id": 128_001,
    "alphabet_rows": 15 + 100 + 1000 + 1,  # numbers of two and three digits, and "?,"
}
_TINYLLAMA: dict[str, Any] = {"tied": False, "max_positions": 2048, "rope_theta": 1e4}
_SIZES = ("hidden", "intermediate", "layers", "heads", "kv_heads", "vocab")
_MODELS: tuple[tuple[str, str, tuple[int, ...], dict[str, Any]], ...] = (
    ("qwen2.5-0.5b", "qwen2", (896, 4864, 24, 14, 2, 151_936), {}),
    ("qwen2.5-1.5b", "qwen2", (1536, 8960, 28, 12, 2, 151_936), {}),
    ("qwen2.5-3b", "qwen2", (2048, 11_008, 36, 16, 2, 151_936), {}),
    ("qwen2.5-7b", "qwen2", (3584, 18_944, 28, 28, 4, 152_064), {"tied": False}),
    ("qwen3-0.6b", "qwen3", (1024, 3072, 28, 16, 8, 151_936), {}),
    ("qwen3-1.7b", "qwen3", (2048, 6144, 28, 16, 8, 151_936), {}),
    ("qwen3-4b", "qwen3", (2560, 9728, 36, 32, 8, 151_936), {}),
    ("smollm2-135m", "llama", (576, 1536, 30, 9, 3, 49_152), _SMOLLM),
    ("smollm2-360m", "llama", (960, 2560, 32, 15, 5, 49_152), _SMOLLM),
    ("smollm2-1.7b", "llama", (2048, 8192, 24, 32, 32, 49_152), {**_SMOLLM, "rope_theta": 1.3e5}),
    ("tinyllama-1.1b", "llama", (2048, 5632, 22, 32, 4, 32_000), _TINYLLAMA),
    ("llama-3.2-1b", "llama", (2048, 8192, 16, 32, 8, 128_256), _LLAMA_3),
    ("gemma-2b", "gemma", (2048, 16_384, 18, 8, 1, 256_000), {}),
    ("gemma-2-2b", "gemma2", (2304, 9216, 26, 8, 4, 256_000), {}),
    ("gemma-3-270m", "gemma3_text", (640, 2048, 18, 4, 1, 262_144), {}),
    ("gemma-3-1b", "gemma3_text", (1152, 6912, 26, 4, 1, 262_144), {}),
)
"""Name, family, sizes, and what differs from the family."""


def _shape(
    name: str, family: str, sizes: tuple[int, ...], differences: dict[str, Any]
) -> ModelShape:
    facts = dict(zip(_SIZES, sizes, strict=True))
    facts |= {"head_dim": facts["hidden"] // facts["heads"]}
    return ModelShape(
        **{"name": name, "model_type": family, **facts, **_FAMILIES[family], **differences}
    )


KNOWN_SHAPES: dict[str, ModelShape] = {row[0]: _shape(*row) for row in _MODELS}
"""Short name to shape; an instruct model has its base model's."""


def find_shape(model: str) -> ModelShape:
    """Return the shape of a model by its short name, the hub id of a known one, a folder or a file.

    ``Qwen/Qwen2.5-0.5B-Instruct``, ``qwen2.5-0.5b-instruct`` and ``qwen2.5-0.5b`` are one shape.
    Models that need looking for (bundled, the hub's cache, .gguf) are found by `lvlora.model`.

    Raises:
        ModelError: neither known by name nor a readable `config.json`.
    """
    if Path(model).exists():
        return ModelShape.from_file(Path(model))
    short = model.rsplit("/", 1)[-1].lower()
    for suffix in ("-instruct", "-it", "-chat"):
        short = short.removesuffix(suffix)
    for name, shape in KNOWN_SHAPES.items():
        # gemma3-270m and gemma-3-270m are both in use
        if name.replace("-", "") == short.replace("-", ""):
            return shape
    near = difflib.get_close_matches(short, KNOWN_SHAPES, n=1)
    guess = f"Did you mean {near[0]}? " if near else ""
    raise ModelError(
        f"no shape is known for the model {model!r}, and there is no such folder",
        f"{guess}Known: {', '.join(KNOWN_SHAPES)}; or give a folder with a config.json.",
    )


def architecture(shape: ModelShape) -> FlopsArchitecture:
    """The model described for people: its main sizes, what a layer does, its vocabulary."""
    parameters = shape.parameter_count()
    total = parameters["total"]
    norm = f"RMSNorm (eps {shape.norm_eps:g})"
    gated = "SwiGLU" if shape.activation == "silu" else "GeGLU"
    grouped = (
        f"grouped-query attention, {shape.heads // shape.kv_heads} query heads per key/value head"
        if shape.kv_heads < shape.heads
        else "multi-head attention"
    )
    bias = " (with bias)" if shape.qkv_bias else ""
    sizes = [
        ("Model type", f"decoder-only transformer ({shape.model_type})"),
        ("Parameters", f"{total:,}"),
        ("Parameters without embeddings", f"{total - parameters['embeddings']:,}"),
        ("Hidden size", f"{shape.hidden:,}"),
        ("Attention heads", f"{shape.heads}"),
        ("Key/value heads", f"{shape.kv_heads}"),
        ("Head dimension", f"{shape.head_dim}"),
        ("Number of layers", f"{shape.layers}"),
        ("Intermediate size (MLP)", f"{shape.intermediate:,}"),
        ("Vocabulary size", f"{shape.vocab:,}"),
        ("Context window", f"{shape.max_positions:,} tokens" if shape.max_positions else "unknown"),
        ("RoPE base", f"{shape.rope_theta:,.0f}"),
    ]
    layer = [
        ("Pre-attention", norm),
        ("Attention", grouped),
        ("Projections", f"q, k, v{bias} and o"),
        ("Positions", "rotary embeddings of queries and keys"),
        ("Post-attention", f"{norm}, residual" if shape.sandwich_norms else "residual"),
        ("Pre-MLP", norm),
        ("MLP", f"{gated}: down(act(gate) * up)"),
        ("Post-MLP", f"{norm}, residual" if shape.sandwich_norms else "residual"),
        ("After the last layer", f"{norm}, linear head"),
    ]
    if shape.qk_norm:
        layer.insert(3, ("Query/key norm", f"{norm} per head"))
    vocabulary = [
        ("Vocabulary size", f"{shape.vocab:,} tokens"),
        ("BOS token id", "none" if shape.bos_id is None else f"{shape.bos_id:,}"),
        ("EOS token id", "none" if shape.eos_id is None else f"{shape.eos_id:,}"),
        ("Word embeddings", "tied with the head" if shape.tied else "separate from the head"),
    ]
    return FlopsArchitecture(
        model=shape.name,
        architecture=dict(sizes),
        layer=dict(layer),
        vocabulary=dict(vocabulary),
        parameters=parameters,
    )
