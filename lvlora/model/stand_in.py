"""A model of another's widths with few layers and drawn weights: to time it by, where it is large
or not here.

How long a product takes and how much memory it needs does not depend on the numbers in it, and both
grow with the layers by the same for each.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from lvlora.model.catalogue import ModelSource, read_config
from lvlora.model.devices import keep_freed_memory
from lvlora.model.files.llama import is_plain
from lvlora.model.llama import Llama
from lvlora.model.loading import BaseModel, Outline

_DEVIATION = 0.02
"""Of the weights; transformers begins such models with it."""


def stand_in(source: ModelSource, outlined: Outline, layers: int) -> BaseModel | None:
    """A model like ``source``, with so many layers; no weights are opened.

    Args:
        outlined: of the source.

    Returns:
        None where the source is not of a family of our own modules.
    """
    config = read_config(source)
    if config is None or not is_plain(config) or outlined.shape.head_dim % 2:
        return None
    keep_freed_memory()
    shape = replace(outlined.shape, layers=layers)
    placement = outlined.placement
    facts: dict[str, Any] = {**config, "num_hidden_layers": layers}
    with torch.device("meta"):
        module = Llama(shape, facts)
    if shape.tied:
        module.lm_head.weight = module.model.embed_tokens.weight
    module = module.to(placement.dtype).to_empty(device=placement.device)
    if shape.tied:  # to_empty makes two of one
        module.lm_head.weight = module.model.embed_tokens.weight
    drawn = torch.Generator(placement.device).manual_seed(0)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.dim() == 1 and not name.endswith("bias"):
                parameter.fill_(1.0)
            else:
                parameter.normal_(0.0, _DEVIATION, generator=drawn)
    module.requires_grad_(False)
    module.train(False)
    return BaseModel(
        name=outlined.name,
        alphabet=outlined.alphabet,
        shape=shape,
        placement=placement,
        max_positions=outlined.max_positions,
        module=module,
        sha256="",
    )
