"""What a step of pretraining costs."""

from argparse import Namespace

import pretrain
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_products_of_an_optimiser_are_counted(optimizer):
    shapes = {"layer.q": (8, 8), "layer.up": (24, 8), "layer.down": (8, 24), "layer.norm": (8,)}
    parameters = {
        name: torch.nn.Parameter(torch.randn(shape))
        for name, shape in (shapes | {"embed_tokens": (16, 8)}).items()
    }
    settings = Namespace(optimizer=optimizer, learning_rate=1e-3, weight_decay=0.01)
    optimizers = pretrain.optimizers_of(parameters, settings)
    moved = [q for o in optimizers for group in o.param_groups for q in group["params"]]
    assert len(moved) == len(parameters)
    for parameter in moved:
        parameter.grad = torch.randn_like(parameter)
    with FlopCounterMode(display=False) as counter:
        for each in optimizers:
            each.step()
    counted = counter.get_total_flops()
    assert pretrain.orthogonalisations(optimizers) == counted
    assert (counted > 0) == (optimizer == "muon")
