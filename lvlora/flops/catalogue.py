"""The shapes of well-known small models, so that `lvlora flops` needs no files and no network."""

from __future__ import annotations

import difflib
from pathlib import Path

from lvlora.errors import ModelError
from lvlora.flops.answers import FlopsArchitecture
from lvlora.flops.shape import ALPHABET_ROWS, ModelShape


def _qwen2(name: str, sizes: tuple[int, ...], tied: bool = True) -> ModelShape:
    hidden, intermediate, layers, heads, kv_heads, vocab = sizes
    return ModelShape(
        model_type="qwen2",
        hidden=hidden,
        intermediate=intermediate,
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=hidden // heads,
        vocab=vocab,
        tied=tied,
        qkv_bias=True,
        max_positions=32_768,
        rope_theta=1e6,
        bos_id=151_643,
        eos_id=151_645,
        name=name,
    )


def _qwen3(name: str, sizes: tuple[int, ...]) -> ModelShape:
    hidden, intermediate, layers, heads, kv_heads = sizes
    return ModelShape(
        model_type="qwen3",
        hidden=hidden,
        intermediate=intermediate,
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=128,
        vocab=151_936,
        tied=True,
        qk_norm=True,
        max_positions=40_960,
        rope_theta=1e6,
        bos_id=151_643,
        eos_id=151_645,
        name=name,
    )


def _llama(
    name: str,
    sizes: tuple[int, ...],
    *,
    tied: bool,
    max_positions: int,
    rope_theta: float,
    bos_eos: tuple[int, int],
    alphabet_rows: int = ALPHABET_ROWS,
) -> ModelShape:
    hidden, intermediate, layers, heads, kv_heads, vocab = sizes
    return ModelShape(
        model_type="llama",
        hidden=hidden,
        intermediate=intermediate,
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=hidden // heads,
        vocab=vocab,
        tied=tied,
        norm_eps=1e-5,
        max_positions=max_positions,
        rope_theta=rope_theta,
        bos_id=bos_eos[0],
        eos_id=bos_eos[1],
        name=name,
        alphabet_rows=alphabet_rows,
    )


def _gemma(
    name: str,
    family: str,
    sizes: tuple[int, ...],
    *,
    vocab: int,
    max_positions: int,
    rope_theta: float,
) -> ModelShape:
    hidden, intermediate, layers, heads, kv_heads = sizes
    return ModelShape(
        model_type=family,
        hidden=hidden,
        intermediate=intermediate,
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=256,
        vocab=vocab,
        tied=True,
        qk_norm=family == "gemma3_text",
        sandwich_norms=family != "gemma",
        unit_offset_norms=True,
        activation="gelu_tanh",
        attention_softcap=family == "gemma2",
        final_softcap=family == "gemma2",
        max_positions=max_positions,
        rope_theta=rope_theta,
        bos_id=2,
        eos_id=1,
        name=name,
    )


_SHAPES = (
    _qwen2("qwen2.5-0.5b", (896, 4864, 24, 14, 2, 151_936)),
    _qwen2("qwen2.5-1.5b", (1536, 8960, 28, 12, 2, 151_936)),
    _qwen2("qwen2.5-3b", (2048, 11_008, 36, 16, 2, 151_936)),
    _qwen2("qwen2.5-7b", (3584, 18_944, 28, 28, 4, 152_064), tied=False),
    _qwen3("qwen3-0.6b", (1024, 3072, 28, 16, 8)),
    _qwen3("qwen3-1.7b", (2048, 6144, 28, 16, 8)),
    _qwen3("qwen3-4b", (2560, 9728, 36, 32, 8)),
    _llama(
        "smollm2-135m",
        (576, 1536, 30, 9, 3, 49_152),
        tied=True,
        max_positions=8192,
        rope_theta=1e5,
        bos_eos=(1, 2),
    ),
    _llama(
        "smollm2-360m",
        (960, 2560, 32, 15, 5, 49_152),
        tied=True,
        max_positions=8192,
        rope_theta=1e5,
        bos_eos=(1, 2),
    ),
    _llama(
        "smollm2-1.7b",
        (2048, 8192, 24, 32, 32, 49_152),
        tied=True,
        max_positions=8192,
        rope_theta=1.3e5,
        bos_eos=(1, 2),
    ),
    _llama(
        "tinyllama-1.1b",
        (2048, 5632, 22, 32, 4, 32_000),
        tied=False,
        max_positions=2048,
        rope_theta=1e4,
        bos_eos=(1, 2),
    ),
    _llama(
        "llama-3.2-1b",
        (2048, 8192, 16, 32, 8, 128_256),
        tied=True,
        max_positions=131_072,
        rope_theta=5e5,
        bos_eos=(128_000, 128_001),
        alphabet_rows=15 + 100 + 1000 + 1,  # numbers of two and three digits, and "?,"
    ),
    _gemma(
        "gemma-2b",
        "gemma",
        (2048, 16_384, 18, 8, 1),
        vocab=256_000,
        max_positions=8192,
        rope_theta=1e4,
    ),
    _gemma(
        "gemma-2-2b",
        "gemma2",
        (2304, 9216, 26, 8, 4),
        vocab=256_000,
        max_positions=8192,
        rope_theta=1e4,
    ),
    _gemma(
        "gemma-3-270m",
        "gemma3_text",
        (640, 2048, 18, 4, 1),
        vocab=262_144,
        max_positions=32_768,
        rope_theta=1e6,
    ),
    _gemma(
        "gemma-3-1b",
        "gemma3_text",
        (1152, 6912, 26, 4, 1),
        vocab=262_144,
        max_positions=32_768,
        rope_theta=1e6,
    ),
)

KNOWN_SHAPES: dict[str, ModelShape] = {shape.name: shape for shape in _SHAPES}
"""Short name to shape; an instruct model has its base model's."""


def find_shape(model: str) -> ModelShape:
    """The shape of a model given as a short name, a hub id of a known model, a folder or a file.

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
