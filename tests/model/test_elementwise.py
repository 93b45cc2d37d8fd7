"""Norms and gated units that remember less: the same numbers, the same gradients."""

import pytest
import tiny_models
import torch
from torch import nn

from lvlora.model.elementwise import gated_silu, slim

IDS = torch.randint(0, 15, (2, 30), generator=torch.Generator().manual_seed(0))


def both(family):
    plain, lean = tiny_models.build(family).eval(), tiny_models.build(family).eval()
    return plain, lean, slim(lean.requires_grad_(False))


@pytest.mark.parametrize("family", tiny_models.FAMILIES)
def test_a_model_gives_the_same_logits_and_gradients(family):
    plain, lean, n_slim = both(family)
    if family in ("qwen2", "llama"):
        layers = lean.config.num_hidden_layers
        assert n_slim == 3 * layers + 1  # two norms and a gated unit a layer, and the last norm
    results = []
    for model in (plain.requires_grad_(False), lean):
        embedded = model.get_input_embeddings()(IDS).detach().requires_grad_()
        logits = model(inputs_embeds=embedded).logits
        logits.square().mean().backward()
        results.append((logits.detach(), embedded.grad))
    for expected, result in zip(*results, strict=True):
        assert torch.allclose(result, expected, rtol=1e-4, atol=1e-5 * expected.abs().max().item())


def saved_bytes(function, *inputs):
    """Bytes that autograd keeps, each storage once."""
    saved = {}

    def note(tensor):
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
        out = function(*inputs)
    assert out.requires_grad
    return sum(saved.values())


@pytest.mark.parametrize(("path", "share"), [("norm", 0.7), ("layers.0.mlp", 0.75)])
def test_less_is_saved(path, share):
    plain, lean, _ = both("qwen2")
    x = torch.randn(4, 60, lean.config.hidden_size).bfloat16().requires_grad_()
    before, after = (
        saved_bytes(m.model.get_submodule(path).bfloat16().requires_grad_(False), x)
        for m in (plain, lean)
    )
    assert after < share * before


def test_gradients_are_right_to_the_second_order_of_the_step():
    x = torch.randn(3, 7, dtype=torch.float64, requires_grad=True)
    up = torch.randn(3, 7, dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(gated_silu, (x, up))


def test_a_unit_that_computes_something_else_keeps_its_own_forward():
    model = tiny_models.build("qwen2")

    class Other(type(model.model.norm)):
        def forward(self, hidden_states):
            return super().forward(hidden_states) + 1.0

    other = Other(model.config.hidden_size)
    model.model.norm = other
    slim(model)
    x = torch.randn(2, model.config.hidden_size)
    assert torch.allclose(
        other(x), nn.functional.rms_norm(x, x.shape[-1:], eps=1e-6) + 1, atol=1e-4
    )


def test_trained_norms_are_left_alone():
    """Their gradient is not computed by the lean form."""
    model = tiny_models.build("qwen2").requires_grad_(True)
    assert slim(model) == model.config.num_hidden_layers  # the gated units only
