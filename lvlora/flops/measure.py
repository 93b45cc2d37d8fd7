"""What PyTorch's own counter says that some work costs, with the counter's gaps closed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def count(work: Callable[[], object]) -> int:
    """FLOPs of the matrix products that a piece of torch work runs, on any device, meta included.

    PyTorch's counter knows the products; the fused CPU attention kernel, which it counts as
    nothing, is added: 2 products forward, 5 backward (the scores are computed again).
    """
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False, custom_mapping=_missing_formulas())
    with counter:
        work()
    return int(counter.get_total_flops())


def _missing_formulas() -> dict[Any, Any]:
    import torch

    aten = torch.ops.aten
    own: dict[Any, Any] = {}
    if hasattr(torch.ops.lvlora, "causal_attention"):  # once lvlora.model is imported
        own = {
            torch.ops.lvlora.causal_attention: _fused_forward,
            torch.ops.lvlora.causal_attention_backward: _own_backward,
        }
    return {
        **own,
        aten._scaled_dot_product_flash_attention_for_cpu: _fused_forward,
        aten._scaled_dot_product_flash_attention_for_cpu_backward: _fused_backward,
    }


def _fused_forward(query: tuple[int, ...], key: tuple[int, ...], *_: Any, **__: Any) -> int:
    return 2 * _attention_product(query, key)


def _fused_backward(
    grad_out: tuple[int, ...], query: tuple[int, ...], key: tuple[int, ...], *_: Any, **__: Any
) -> int:
    return 5 * _attention_product(query, key)


def _own_backward(
    grad_out: tuple[int, ...],
    query: tuple[int, ...],
    key: tuple[int, ...],
    value: tuple[int, ...],
    weights: tuple[int, ...],
    scale: float,
    needs: list[bool],
    **_: Any,
) -> int:
    # the weights are kept; those of the scores are differentiated for queries and keys only
    q, k, v = needs
    return (q + k + (q or k) + v) * _attention_product(query, key)


def _attention_product(query: tuple[int, ...], key: tuple[int, ...]) -> int:
    # key heads may be fewer than query heads; every query head is multiplied all the same
    batch, heads, n_query, dim = query
    return 2 * batch * heads * n_query * dim * key[2]
