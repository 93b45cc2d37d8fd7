"""The config.json that a .gguf file of Llama or Qwen2 would have, and its tensors' names there."""

from __future__ import annotations

import re
from typing import Any

from lvlora.flops.families import FAMILIES
from lvlora.model.gguf.header import Header

_KNOWN_FACTS = {
    *("block_count", "context_length", "embedding_length", "feed_forward_length", "vocab_size"),
    *("attention.head_count", "attention.head_count_kv", "attention.key_length"),
    *("attention.value_length", "attention.layer_norm_rms_epsilon"),
    *("rope.freq_base", "rope.dimension_count"),
}
"""What else a file says of its architecture (scaled rotations, experts) is a speciality."""
_NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_IN_A_BLOCK = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_BLOCK = re.compile(r"blk\.(\d+)\.(\w+)\.(weight|bias)")


def name_of(name: str) -> str | None:
    """transformers' name of a tensor; None for one that is no part of a plain model."""
    if name in _NAMES:
        return _NAMES[name]
    found = _BLOCK.fullmatch(name)
    if found is None or found[2] not in _IN_A_BLOCK:
        return None
    return f"model.layers.{found[1]}.{_IN_A_BLOCK[found[2]]}.{found[3]}"


def config_of(header: Header) -> dict[str, Any] | None:
    """The model's config.json; None where it is another family, or has a speciality."""
    architecture = header.architecture
    prefix = f"{architecture}."
    said = {key.removeprefix(prefix) for key in header.facts if key.startswith(prefix)}
    family = FAMILIES.get(architecture)
    if family is None or not family.own_modules or said - _KNOWN_FACTS:
        return None
    if "token_embd.weight" not in header.tensors or not all(map(name_of, header.tensors)):
        return None
    if "mistral" in str(header.facts.get("general.name", "")).lower():
        return None  # transformers takes it for another family
    heads, width = header.fact("attention.head_count"), header.fact("embedding_length")
    if not isinstance(heads, int) or not isinstance(width, int) or heads < 1:
        return None
    head_dim = header.fact("attention.key_length") or width // heads
    if header.fact("rope.dimension_count") not in (None, head_dim):
        return None
    if header.fact("attention.value_length") not in (None, head_dim):
        return None
    return {
        "model_type": architecture,
        "architectures": [family.architecture],
        "hidden_size": width,
        "intermediate_size": header.fact("feed_forward_length"),
        "num_hidden_layers": header.fact("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": header.fact("attention.head_count_kv") or heads,
        "head_dim": head_dim,
        "hidden_act": "silu",
        "rms_norm_eps": header.fact("attention.layer_norm_rms_epsilon") or 1e-6,
        "rope_theta": header.fact("rope.freq_base") or 10_000.0,
        "max_position_embeddings": header.fact("context_length"),
        "vocab_size": header.tensors["token_embd.weight"].shape[0],
        "tie_word_embeddings": "output.weight" not in header.tensors,
        "bos_token_id": header.facts.get("tokenizer.ggml.bos_token_id"),
        "eos_token_id": header.facts.get("tokenizer.ggml.eos_token_id"),
    }
