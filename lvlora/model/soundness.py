"""Where a model that gives no finite numbers is broken: its weights, or the layer it begins in.

Nothing is computed with the model, so that a diagnosis costs no FLOPs.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lvlora.model.lora import lora_layers


@torch.no_grad()
def where_it_breaks(
    module: nn.Module, head: nn.Module, kept: Sequence[tuple[Tensor, Tensor]] = ()
) -> str:
    """A clause that names the tensor or the layer, or nothing where neither can be told.

    Args:
        module: the base model, with its adapter attached; head: its restricted head.
        kept: keys and values (kv heads, length, head dim) of each layer, in the row that went
            wrong.
    """
    for part, prefix in ((module, ""), (head, "numeric head, ")):
        for name, tensor in part.state_dict(keep_vars=True).items():
            if tensor.is_floating_point() and not _is_finite(tensor):
                return f"{prefix}{name} holds values that are not finite"
    for i, (keys, values) in enumerate(kept):
        # a norm makes zeros of what is too large to be squared: every token has the same values
        alike = values.shape[1] > 1 and bool((values == values[:, :1]).all())
        if alike or not (_is_finite(keys) and _is_finite(values)):
            return f"layer {i} is the first whose keys and values are lost"
    if not kept:
        return ""
    return f"they are lost behind the keys and values of layer {len(kept) - 1}, the last"


def largest_scaling(module: nn.Module) -> float:
    """The largest factor of an adapter's updates; 0 without any."""
    return max((abs(layer.scaling) for _, layer in lora_layers(module)), default=0.0)


def _is_finite(tensor: Tensor) -> bool:
    return bool(torch.isfinite(tensor).all())
