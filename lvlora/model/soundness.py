"""Weights of a model that gives no finite numbers: which are broken.

Nothing is computed with the model, so that a diagnosis costs no FLOPs.
"""

from __future__ import annotations

import torch
from torch import nn

from lvlora.model.lora import lora_layers


def where_it_breaks(module: nn.Module, head: nn.Module) -> str:
    """A clause that names the first tensor with values that are not finite, or nothing.

    Args:
        module: the base model, with its adapter attached; head: its restricted head.
    """
    for part, prefix in ((module, ""), (head, "numeric head, ")):
        for name, tensor in part.state_dict().items():
            if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                return f"{prefix}{name} holds values that are not finite"
    return ""


def largest_scaling(module: nn.Module) -> float:
    """The largest factor of an adapter's updates; 0 without any."""
    return max((abs(layer.scaling) for _, layer in lora_layers(module)), default=0.0)
