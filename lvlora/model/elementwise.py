"""Element-wise parts of a transformer that save less for backward than autograd would.

transformers' RMSNorm keeps three float32 copies of its input, and its gated unit three tensors of
the wide layer; here it is the input with one number a row, and two wide tensors. Attention apart,
these are most of what a training step remembers. A module is replaced only if it has the parts'
names and computes the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """weight · x / rms(x) (Zhang & Sennrich 2019, arXiv:1910.07467), float32 inside."""
    out: Tensor = _RmsNorm.apply(x, weight, eps)  # type: ignore[no-untyped-call]
    return out


def gated_silu(gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) · up (Shazeer 2020, arXiv:2002.05202)."""
    out: Tensor = _GatedSilu.apply(gate, up)  # type: ignore[no-untyped-call]
    return out


class _RmsNorm(torch.autograd.Function):
    """Saves its input and one number a row."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        square: Tensor = torch.linalg.vector_norm(
            x, dim=-1, keepdim=True, dtype=torch.float32
        ).square_()
        inverse: Tensor = square.div_(x.shape[-1]).add_(eps).rsqrt_()
        ctx.save_for_backward(x, inverse, weight)
        out: Tensor = (x * inverse).to(x.dtype).mul_(weight)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        x, inverse, weight = ctx.saved_tensors
        normed = x * inverse  # float32
        d_normed = grads[0] * weight
        # d x = inverse · (g - n · mean(g n)), g and n the gradient and value of the normed input
        inner = torch.linalg.vecdot(d_normed.float(), normed).unsqueeze_(-1)
        normed.mul_(inner.div_(-x.shape[-1]))
        return normed.add_(d_normed).mul_(inverse).to(x.dtype), None, None


class _GatedSilu(torch.autograd.Function):
    """Saves its two inputs only."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        ctx.save_for_backward(gate, up)
        return nn.functional.silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        gate, up = ctx.saved_tensors
        d_gate = torch.ops.aten.silu_backward(grads[0] * up, gate)
        return d_gate, nn.functional.silu(gate).mul_(grads[0])


def slim(model: nn.Module) -> int:
    """Let norms and gated units compute as above, in place; returns how many modules do.

    A module takes part if it has the parts' names and gives the same numbers; one of each class
    is tried, so that a family which computes something else under these names keeps its own.
    """
    from transformers.activations import SiLUActivation

    same: dict[tuple[type, type], bool] = {}
    n_slimmed = 0
    for module in model.modules():
        lean = _lean_forward(module, (nn.SiLU, SiLUActivation))
        if lean is None:
            continue
        kind = (type(module), type(getattr(module, "act_fn", None)))
        if kind not in same:
            same[kind] = _agrees(module, lean)
        if same[kind]:
            module.forward = MethodType(lean, module)
            n_slimmed += 1
    return n_slimmed


def _lean_forward(
    module: nn.Module, silu: tuple[type, ...]
) -> Callable[[Any, Tensor], Tensor] | None:
    parts = {name for name, _ in module.named_children()}
    if {"gate_proj", "up_proj", "down_proj"} <= parts:
        return _gated_unit if isinstance(getattr(module, "act_fn", None), silu) else None
    parameters = dict(module.named_parameters(recurse=False))
    frozen_weight = parameters.keys() == {"weight"} and not parameters["weight"].requires_grad
    if frozen_weight and not parts and hasattr(module, "variance_epsilon"):
        return _rms_norm
    return None


def _rms_norm(module: Any, x: Tensor) -> Tensor:
    return rms_norm(x, module.weight, module.variance_epsilon)


def _gated_unit(module: Any, x: Tensor) -> Tensor:
    out: Tensor = module.down_proj(gated_silu(module.gate_proj(x), module.up_proj(x)))
    return out


@torch.no_grad()
def _agrees(module: nn.Module, lean: Callable[[Any, Tensor], Tensor]) -> bool:
    weight = next(module.parameters())
    if weight.is_meta:
        return False  # nothing to compare, and element-wise work is not what is counted there
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, weight.shape[-1], generator=generator).to(weight)
    expected, results = module(x).float(), lean(module, x).float()
    allowed = 4 * torch.finfo(weight.dtype).eps * expected.abs().max()
    return expected.shape == results.shape and bool((expected - results).abs().max() <= allowed)
