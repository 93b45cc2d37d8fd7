"""Attention with grouped key/value heads that are never repeated.

Without a mask (training, prefill) a causal operator of our own does the work on a CPU, and on a GPU
PyTorch's causal SDPA. With one (decoding against a cache) the query heads of a group are stacked as
rows of one product per key/value head: SDPA would copy keys and values once per query head first.

The causal operator takes queries in blocks, each multiplied with the keys up to its own end only,
so that nearly half of the scores are never computed. It keeps the soft-maxed weights for backward,
which then runs four products a block and not five as flash kernels do (they compute the scores
again). Both directions are operators of PyTorch's library, so that its FLOP counter and compiler
see one operation of a known price: attention by its definition (the full square), as for flash
kernels.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

NAME = "lvlora"

BLOCK = 128
"""Queries at a time (measured: 64 to 256 are alike, all of 512 are a third slower)."""


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
        is_square = n_query == key.shape[2] and n_query > 1 and not dropout
        if is_square and query.device.type in ("cpu", "meta"):
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


def causal_attention(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    """softmax(scale q kᵀ + causal mask) v (Vaswani et al. 2017, eq. 1), grouped (Ainslie 2023).

    Args:
        query: (B, H, S, D); key, value: (B, Hkv, S, D), any strides.

    Returns:
        (B, S, H, D).
    """
    keep = torch.is_grad_enabled() and any(t.requires_grad for t in (query, key, value))
    out: Tensor = torch.ops.lvlora.causal_attention(query, key, value, scale, keep)[0]
    return out


def _forward(
    query: Tensor, key: Tensor, value: Tensor, scale: float, keep: bool
) -> tuple[Tensor, Tensor]:
    """(B, S, H, D), and the weights of all blocks one after the other (none unless ``keep``)."""
    batch, heads, length, dim = query.shape
    kv_heads = key.shape[1]
    group = heads // kv_heads
    q = _stack(query, kv_heads)
    k, v = (t.reshape(batch * kv_heads, length, dim) for t in (key, value))
    out = q.new_empty(q.shape)
    weights = query.new_empty(_n_weights(batch * heads, length) if keep else 0)
    for begin, end, place in _blocks(batch * heads, length):
        rows = slice(begin * group, end * group)
        mask = _mask(begin, end, group, q)
        scores = torch.baddbmm(mask, q[:, rows], k[:, :end].transpose(1, 2), alpha=scale)
        if keep:
            block = weights[place].view(scores.shape)
            torch.softmax(scores, -1, out=block)
        else:
            block = torch.softmax(scores, -1)
        out[:, rows] = torch.bmm(block, v[:, :end])
    return _unstack(out, batch, group), weights


def _forward_fake(
    query: Tensor, key: Tensor, value: Tensor, scale: float, keep: bool
) -> tuple[Tensor, Tensor]:
    batch, heads, length, dim = query.shape
    n = _n_weights(batch * heads, length) if keep else 0
    return query.new_empty(batch, length, heads, dim), query.new_empty(n)


def _backward(
    d_out: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    weights: Tensor,
    scale: float,
    needs: list[bool],
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of query, key and value; empty where not needed."""
    batch, heads, length, dim = query.shape
    kv_heads = key.shape[1]
    group = heads // kv_heads
    needs_q, needs_k, needs_v = needs
    q = _stack(query, kv_heads)
    k, v = (t.reshape(batch * kv_heads, length, dim) for t in (key, value))
    g = _stack(d_out.transpose(1, 2), kv_heads)
    # new tensors are contiguous, as the fake ones below say: what is like a view may be strided
    d_q = q.new_empty(q.shape) if needs_q else None
    # sums over blocks: in float32 at least, as a product's own sum is
    exact = torch.promote_types(k.dtype, torch.float32)
    d_k = k.new_zeros(k.shape, dtype=exact) if needs_k else None
    d_v = v.new_zeros(v.shape, dtype=exact) if needs_v else None
    for begin, end, place in _blocks(batch * heads, length):
        rows = slice(begin * group, end * group)
        block = weights[place].view(len(k), (end - begin) * group, end)
        if d_v is not None:
            d_v[:, :end] += torch.bmm(block.transpose(1, 2), g[:, rows])
        if d_q is None and d_k is None:
            continue
        d_weights = torch.bmm(g[:, rows], v[:, :end].transpose(1, 2))
        d_scores = torch.ops.aten._softmax_backward_data(d_weights, block, -1, block.dtype)
        if d_q is not None:
            d_q[:, rows] = torch.bmm(d_scores, k[:, :end])
        if d_k is not None:
            d_k[:, :end] += torch.bmm(d_scores.transpose(1, 2), q[:, rows])
    # an operator may not return one tensor twice, not even an empty one
    return (
        q.new_empty(0) if d_q is None else _unstack(d_q.mul_(scale), batch, group).transpose(1, 2),
        k.new_empty(0) if d_k is None else d_k.mul_(scale).to(key.dtype).view(key.shape),
        v.new_empty(0) if d_v is None else d_v.to(value.dtype).view(value.shape),
    )


def _backward_fake(
    d_out: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    weights: Tensor,
    scale: float,
    needs: list[bool],
) -> tuple[Tensor, Tensor, Tensor]:
    batch, heads, length, dim = query.shape
    d_q = query.new_empty(batch, length, heads, dim).transpose(1, 2)
    like = (d_q, key.new_empty(key.shape), value.new_empty(value.shape))
    gradients = [t if need else t.new_empty(0) for t, need in zip(like, needs, strict=True)]
    return gradients[0], gradients[1], gradients[2]


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    query, key, value, ctx.scale, _ = inputs
    ctx.mark_non_differentiable(output[1])
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(query, key, value, output[1])


def _differentiate(ctx: Any, d_out: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    needs = list(ctx.needs_input_grad[:3])
    attention_backward = torch.ops.lvlora.causal_attention_backward
    gradients = attention_backward(d_out, *ctx.saved_tensors, ctx.scale, needs)
    return (*(t if need else None for t, need in zip(gradients, needs, strict=True)), None, None)


# torch.library.custom_op would say the same, and import PyTorch's compiler at the first call: 1.5 s
_LIBRARY: Any = torch.library.Library("lvlora", "DEF")  # type: ignore[no-untyped-call]
for _name, _works, _fake in (
    ("causal_attention", _forward, _forward_fake),
    ("causal_attention_backward", _backward, _backward_fake),
):
    _LIBRARY.define(_name + torch.library.infer_schema(_works, mutates_args=()))
    _LIBRARY.impl(_name, _works, "CompositeExplicitAutograd")
    torch.library.register_fake(f"lvlora::{_name}", _fake, lib=_LIBRARY)
torch.library.register_autograd(
    "lvlora::causal_attention", _differentiate, setup_context=_save, lib=_LIBRARY
)


def _blocks(matrices: int, length: int) -> Iterator[tuple[int, int, slice]]:
    """(first query, end, where its weights are) of each block."""
    place = 0
    for begin in range(0, length, BLOCK):
        end = min(begin + BLOCK, length)
        size = matrices * (end - begin) * end
        yield begin, end, slice(place, place + size)
        place += size


def _n_weights(matrices: int, length: int) -> int:
    """Weights of all blocks. A closed form, so that a compiled layer serves every length."""
    whole, rest = length // BLOCK, length % BLOCK
    return matrices * (BLOCK**2 * whole * (whole + 1) // 2 + rest * length)


def _stack(x: Tensor, kv_heads: int) -> Tensor:
    """(B, H, S, D) to (B Hkv, S G, D): a block of positions is a slice of rows."""
    batch, heads, length, dim = x.shape
    grouped = x.reshape(batch, kv_heads, heads // kv_heads, length, dim).transpose(2, 3)
    return grouped.reshape(batch * kv_heads, -1, dim)


def _unstack(x: Tensor, batch: int, group: int) -> Tensor:
    """(B Hkv, S G, D) to (B, S, H, D), contiguous."""
    dim = x.shape[2]
    grouped = x.view(batch, -1, x.shape[1] // group, group, dim)
    return grouped.transpose(1, 2).reshape(batch, grouped.shape[2], -1, dim).contiguous()


def _mask(begin: int, end: int, group: int, like: Tensor) -> Tensor:
    """0 where a row may look and -inf where it may not, ((end - begin) G, end)."""
    allowed = torch.ones(end - begin, end, dtype=torch.bool, device=like.device).tril(begin)
    mask = torch.zeros(end - begin, end, dtype=like.dtype, device=like.device)
    return mask.masked_fill_(~allowed, float("-inf")).repeat_interleave(group, 0)
