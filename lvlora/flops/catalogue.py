"""The shapes of well-known small models, so that `lvlora flops` needs no files and no network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lvlora.errors import ModelError, meant
from lvlora.flops.answers import FlopsArchitecture
from lvlora.flops.shape import ModelShape

_SIZES = (
    *("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
    *("num_key_value_heads", "vocab_size", "tie_word_embeddings"),
)
_QWEN2 = {
    "max_position_embeddings": 32_768,
    "rope_theta": 1e6,
    "bos_token_id": 151_643,
    "eos_token_id": 151_645,
}
_QWEN3 = {**_QWEN2, "max_position_embeddings": 40_960}
_LLAMA = {"rms_norm_eps": 1e-5, "bos_token_id": 1, "eos_token_id": 2}
_TINYLLAMA = {**_LLAMA, "max_position_embeddings": 2048}
_SMOLLM = {**_LLAMA, "max_position_embeddings": 8192, "rope_theta": 1e5}
_SMOLLM_LARGE = {**_SMOLLM, "rope_theta": 1.3e5}
_LLAMA_3 = {
    "rms_norm_eps": 1e-5,
    "max_position_embeddings": 131_072,
    "rope_theta": 5e5,
    "bos_token_id": 128_000,
    "eos_token_id": 128_001,
    "alphabet_rows": 15 + 100 + 1000 + 1,  # numbers of two and three digits, and "?,"
}
_GEMMA = {"max_position_embeddings": 8192, "bos_token_id": 2, "eos_token_id": 1}
_GEMMA_3 = {**_GEMMA, "max_position_embeddings": 32_768}

_MODELS: dict[str, tuple[str, tuple[int, ...], dict[str, Any]]] = {
    "qwen2.5-0.5b": ("qwen2", (896, 4864, 24, 14, 2, 151_936, True), _QWEN2),
    "qwen2.5-1.5b": ("qwen2", (1536, 8960, 28, 12, 2, 151_936, True), _QWEN2),
    "qwen2.5-3b": ("qwen2", (2048, 11_008, 36, 16, 2, 151_936, True), _QWEN2),
    "qwen2.5-7b": ("qwen2", (3584, 18_944, 28, 28, 4, 152_064, False), _QWEN2),
    "qwen3-0.6b": ("qwen3", (1024, 3072, 28, 16, 8, 151_936, True), _QWEN3),
    "qwen3-1.7b": ("qwen3", (2048, 6144, 28, 16, 8, 151_936, True), _QWEN3),
    "qwen3-4b": ("qwen3", (2560, 9728, 36, 32, 8, 151_936, True), _QWEN3),
    "smollm2-135m": ("llama", (576, 1536, 30, 9, 3, 49_152, True), _SMOLLM),
    "smollm2-360m": ("llama", (960, 2560, 32, 15, 5, 49_152, True), _SMOLLM),
    "smollm2-1.7b": ("llama", (2048, 8192, 24, 32, 32, 49_152, True), _SMOLLM_LARGE),
    "tinyllama-1.1b": ("llama", (2048, 5632, 22, 32, 4, 32_000, False), _TINYLLAMA),
    "llama-3.2-1b": ("llama", (2048, 8192, 16, 32, 8, 128_256, True), _LLAMA_3),
    "gemma-2b": ("gemma", (2048, 16_384, 18, 8, 1, 256_000, True), _GEMMA),
    "gemma-2-2b": ("gemma2", (2304, 9216, 26, 8, 4, 256_000, True), _GEMMA),
    "gemma-3-270m": ("gemma3_text", (640, 2048, 18, 4, 1, 262_144, True), _GEMMA_3),
    "gemma-3-1b": ("gemma3_text", (1152, 6912, 26, 4, 1, 262_144, True), _GEMMA_3),
}
"""Short name to family, sizes and further keys of its config.json."""

KNOWN_MODELS = tuple(_MODELS)
"""Short names; an instruct model has its base model's shape."""


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
    for name in KNOWN_MODELS:
        # gemma3-270m and gemma-3-270m are both in use
        if name.replace("-", "") == short.replace("-", ""):
            family, sizes, more = _MODELS[name]
            config = {"model_type": family, **dict(zip(_SIZES, sizes, strict=True)), **more}
            return ModelShape.from_config(config, name=name)
    raise ModelError(
        f"no shape is known for the model {model!r}, and there is no such folder",
        f"{meant(short, KNOWN_MODELS)}Known: {', '.join(KNOWN_MODELS)}; or give a folder with a "
        "config.json.",
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
    sizes = {
        "Model type": f"decoder-only transformer ({shape.model_type})",
        "Parameters": f"{total:,}",
        "Parameters without embeddings": f"{total - parameters['embeddings']:,}",
        "Hidden size": f"{shape.hidden:,}",
        "Attention heads": f"{shape.heads}",
        "Key/value heads": f"{shape.kv_heads}",
        "Head dimension": f"{shape.head_dim}",
        "Number of layers": f"{shape.layers}",
        "Intermediate size (MLP)": f"{shape.intermediate:,}",
        "Vocabulary size": f"{shape.vocab:,}",
        "Context window": f"{shape.max_positions:,} tokens" if shape.max_positions else "unknown",
        "RoPE base": f"{shape.rope_theta:,.0f}",
    }
    after = f"{norm}, residual" if shape.sandwich_norms else "residual"
    layer = {
        "Pre-attention": norm,
        "Attention": grouped,
        "Projections": f"q, k, v{bias} and o",
        **({"Query/key norm": f"{norm} per head"} if shape.qk_norm else {}),
        "Positions": "rotary embeddings of queries and keys",
        "Post-attention": after,
        "Pre-MLP": norm,
        "MLP": f"{gated}: down(act(gate) * up)",
        "Post-MLP": after,
        "After the last layer": f"{norm}, linear head",
    }
    vocabulary = {
        "Vocabulary size": f"{shape.vocab:,} tokens",
        "BOS token id": "none" if shape.bos_id is None else f"{shape.bos_id:,}",
        "EOS token id": "none" if shape.eos_id is None else f"{shape.eos_id:,}",
        "Word embeddings": "tied with the head" if shape.tied else "separate from the head",
    }
    return FlopsArchitecture(
        model=shape.name,
        architecture=sizes,
        layer=layer,
        vocabulary=vocabulary,
        parameters=parameters,
    )
