"""The families of models that can be priced and opened, by transformers' names for them.

A family is added here: as how it differs from Llama, and as what its configurations leave unsaid.
It is then loaded through transformers; ``own_modules`` is for those that `model.llama` covers.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """Differences of a family from Llama, whose values are the defaults.

    Attributes:
        architecture: transformers' class of its language model.
        own_modules: `model.llama` gives transformers' numbers without transformers.
        qkv_bias: queries, keys and values always have a bias, and no other linear layer of the
            attention has one; elsewhere ``attention_bias`` decides for all four.
        mlp_bias: ``mlp_bias`` may ask for biases in the MLP.
        may_omit_kv_heads: without ``num_key_value_heads`` each head has its own.
        head_dim: where a configuration gives none; None is hidden size over heads.
        tied: whether head and embedding are one where a configuration does not say.
        activation: of the MLP, likewise.
        rope_theta: base of the rotary positions, likewise.
        soft_caps: scores and logits are capped, unless a configuration says null.
        windowed: layers with a sliding window, unless a configuration lists its layers.
        qk_norm, sandwich_norms, unit_offset_norms: as of `ModelShape`.
    """

    architecture: str
    own_modules: bool = False
    qkv_bias: bool = False
    mlp_bias: bool = False
    may_omit_kv_heads: bool = False
    head_dim: int | None = None
    tied: bool = False
    activation: str = "silu"
    rope_theta: float = 1e4
    soft_caps: bool = False
    windowed: bool = False
    qk_norm: bool = False
    sandwich_norms: bool = False
    unit_offset_norms: bool = False


_GELU = "gelu_pytorch_tanh"

FAMILIES = {
    "qwen2": Family("Qwen2ForCausalLM", own_modules=True, qkv_bias=True),
    "qwen3": Family("Qwen3ForCausalLM", head_dim=128, qk_norm=True),
    "llama": Family("LlamaForCausalLM", own_modules=True, mlp_bias=True, may_omit_kv_heads=True),
    "gemma": Family(
        "GemmaForCausalLM", head_dim=256, tied=True, activation=_GELU, unit_offset_norms=True
    ),
    "gemma2": Family(
        "Gemma2ForCausalLM",
        head_dim=256,
        tied=True,
        activation=_GELU,
        soft_caps=True,
        windowed=True,
        sandwich_norms=True,
        unit_offset_norms=True,
    ),
    "gemma3_text": Family(
        "Gemma3ForCausalLM",
        head_dim=256,
        tied=True,
        activation=_GELU,
        rope_theta=1e6,
        windowed=True,
        qk_norm=True,
        sandwich_norms=True,
        unit_offset_norms=True,
    ),
}
