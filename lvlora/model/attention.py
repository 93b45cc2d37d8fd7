"""Attention with grouped key/value heads that are never repeated.

Knows: transformers' AttentionInterface, through which its families call it. Does not know: any
architecture.

Without a mask (training, prefill) a causal operator of our own does the work on a CPU, and on a GPU
PyTorch's causal SDPA. With one (decoding against a cache) the query heads of a group are stacked as
rows of one product per key/value head: SDPA would copy keys and values once per query head first.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lvlora.model.causal import causal_attention

NAME = "lvlora"


def grouped_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    softcap: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """query (B, H, q, D), key and value (B, Hkv, k, D), mask (B, 1, q, k) or None:
    True where a query may look, or to be added to the scores.

    Returns:
        (B, q, H, D), and no weights.
    """
    batch, heads, n_query, dim = query.shape
    kv_heads = key.shape[1]
    scale = dim**-0.5 if scaling is None else scaling
    if attention_mask is None and softcap is None:
        whole = n_query == key.shape[2] and n_query > 1 and not dropout
        if whole and query.device.type in ("cpu", "meta"):
            return causal_attention(query, key, value, scale), None
        out = nn.functional.scaled_dot_product_attention(
            query,
            key,
            value,
            dropout_p=dropout,
            scale=scale,
            is_causal=n_query > 1,
            enable_gqa=heads != kv_heads,
        )
        return out.transpose(1, 2).contiguous(), None
    group = heads // kv_heads
    stacked = query.reshape(batch, kv_heads, group * n_query, dim)
    scores = torch.matmul(stacked * scale, key.transpose(2, 3))
    scores = scores.view(batch, kv_heads, group, n_query, key.shape[2])
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    if attention_mask is None:
        # the queries are the last places of the keys
        future = torch.ones(n_query, key.shape[2], dtype=torch.bool, device=query.device).triu(
            key.shape[2] - n_query + 1
        )
        scores = scores.masked_fill(future, torch.finfo(scores.dtype).min)
    elif attention_mask.dtype == torch.bool:
        scores = scores.masked_fill(~attention_mask[:, :, None], torch.finfo(scores.dtype).min)
    else:
        scores = scores.add_(attention_mask[:, :, None])
    weights = torch.softmax(scores, dim=-1)  # in float32 inside
    weights = nn.functional.dropout(weights, dropout) if dropout else weights
    out = torch.matmul(weights.view(batch, kv_heads, group * n_query, -1), value)
    return out.view(batch, heads, n_query, dim).transpose(1, 2).contiguous(), None


def register() -> str:
    """Make the function known to transformers; returns the name for ``attn_implementation``."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, grouped_attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    return NAME
