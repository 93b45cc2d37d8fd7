"""The low-rank update: its arithmetic, where it goes, how it comes and goes, how many numbers."""

import math

import pytest
import torch
from torch import nn

from lvlora.errors import SettingsError
from lvlora.model import lora
from lvlora.model.lora import LoraLinear, LoraPlan


def shake(model: nn.Module, seed: int = 1) -> None:
    """Make every update differ from zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, layer in lora.lora_layers(model):
            layer.lora_b.copy_(torch.randn(layer.lora_b.shape, generator=generator) * 0.2)


def logits(base, ids=None):
    ids = torch.arange(12)[None] % 15 if ids is None else ids
    with torch.no_grad():
        return base.module(ids).logits


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rslora", [True, False])
def test_forward_is_w0_x_plus_scaled_b_a_x(bias, rslora):
    torch.manual_seed(0)
    rank, alpha = 4, 24.0
    base = nn.Linear(7, 5, bias=bias)
    plan = LoraPlan(rank=rank, alpha=alpha, rslora=rslora)
    layer = LoraLinear(base, rank, plan.scaling_of("x"))
    with torch.no_grad():
        layer.lora_b.normal_()
    x = torch.randn(2, 3, 7)
    scaling = alpha / (math.sqrt(rank) if rslora else rank)
    a, b = layer.lora_a.double(), layer.lora_b.double()
    expected = x.double() @ base.weight.double().T + scaling * (x.double() @ a.T @ b.T)
    if bias:
        expected = expected + base.bias.double()
    assert a.shape == (4, 7)
    assert b.shape == (5, 4)
    assert torch.allclose(layer(x).double(), expected, atol=1e-5)
    assert torch.allclose(layer.delta().double(), scaling * b @ a, atol=1e-6)


def test_a_begins_kaiming_uniform_and_b_zero():
    layer = LoraLinear(nn.Linear(400, 300), 16, 1.0)
    assert (layer.lora_b == 0).all()
    bound = 1 / math.sqrt(400)  # gain(sqrt 5) * sqrt(3 / fan_in)
    assert layer.lora_a.abs().max() <= bound
    assert abs(layer.lora_a.std().item() - bound / math.sqrt(3)) < 0.02 * bound


@pytest.mark.parametrize("family", ["qwen2", "llama", "gemma"])
def test_at_the_start_the_model_is_as_it_was(tiny_base, family):
    base = tiny_base(family)
    before = logits(base)
    lora.inject(base.module, LoraPlan(targets=("all-linear",)))
    assert torch.equal(logits(base), before)


def test_only_a_and_b_are_trained_and_in_float32(tiny_base):
    base = tiny_base("qwen2", torch.bfloat16)
    lora.inject(base.module, LoraPlan(rank=2))
    trained = {n: p for n, p in base.module.named_parameters() if p.requires_grad}
    assert all(n.endswith(("lora_a", "lora_b")) for n in trained)
    assert len(trained) == 2 * 2 * 2  # q and v in two layers
    assert {p.dtype for p in trained.values()} == {torch.float32}
    assert all(p.dtype == torch.bfloat16 for p in base.module.parameters() if not p.requires_grad)
    assert base.module(torch.arange(8)[None]).logits.dtype == torch.bfloat16
    base.module(torch.arange(8)[None]).logits.float().square().mean().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in trained.values())
    assert any((p.grad != 0).any() for n, p in trained.items() if n.endswith("lora_b"))
    assert all((p.grad == 0).all() for n, p in trained.items() if n.endswith("lora_a"))  # B is 0


def test_gradients_equal_those_of_the_written_out_product():
    torch.manual_seed(0)
    layer = LoraLinear(nn.Linear(6, 4), 3, 2.0).double()
    with torch.no_grad():
        layer.lora_b.normal_()
    x = torch.randn(5, 6, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(layer, (x,))
    layer(x).square().sum().backward()
    assert layer.base.weight.grad is None
    a, b = (p.detach().clone().requires_grad_() for p in (layer.lora_a, layer.lora_b))
    weight = layer.base.weight + 2.0 * b @ a
    (x.detach() @ weight.T + layer.base.bias).square().sum().backward()
    assert torch.allclose(layer.lora_a.grad, a.grad)
    assert torch.allclose(layer.lora_b.grad, b.grad)


def test_the_same_seed_gives_the_same_a_whatever_the_global_state(tiny_base):
    weights = []
    for seed in (3, 3, 4):
        torch.rand(5)
        base = tiny_base()
        lora.inject(base.module, LoraPlan(), seed=seed)
        weights.append(torch.cat([m.lora_a.flatten() for _, m in lora.lora_layers(base.module)]))
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_merge_gives_the_same_outputs(tiny_base, dtype):
    base = tiny_base("qwen2", dtype)
    lora.inject(base.module, LoraPlan(rank=4, targets=("all-linear",)))
    shake(base.module)
    with_updates = logits(base)
    lora.merge(base.module)
    assert next(lora.lora_layers(base.module), None) is None
    merged = logits(base)
    spread = with_updates.float().std().item()
    tolerance = 1e-5 if dtype == torch.float32 else 0.1
    assert (merged.float() - with_updates.float()).abs().max() < tolerance * spread


def test_merge_adds_exactly_the_update_in_float32(tiny_base):
    base = tiny_base("qwen2", torch.bfloat16)
    lora.inject(base.module, LoraPlan())
    shake(base.module)
    expected = {
        n: (m.base.weight.float() + m.delta()).bfloat16() for n, m in lora.lora_layers(base.module)
    }
    lora.merge(base.module)
    for name, weight in expected.items():
        assert torch.equal(base.module.get_submodule(name).weight, weight)


def test_targets_match_whole_names(tiny_base):
    base = tiny_base()
    with pytest.raises(SettingsError, match="no such linear layer") as caught:
        lora.find_targets(base.module, LoraPlan(targets=("q_proj", "proj")))
    assert "q_proj" in caught.value.hint
    for wrong in ("input_layernorm", "embed_tokens", "lm_head", ""):
        with pytest.raises(SettingsError):
            lora.find_targets(base.module, LoraPlan(targets=(wrong,)))


def test_a_regular_expression_must_match_the_whole_name(tiny_base):
    module = tiny_base().module
    plan = LoraPlan(target_regex=r".*\.1\.self_attn\.(q|o)_proj")
    assert lora.find_targets(module, plan) == [
        "model.layers.1.self_attn.q_proj",
        "model.layers.1.self_attn.o_proj",
    ]
    with pytest.raises(SettingsError, match="match no linear layer"):
        lora.find_targets(module, LoraPlan(target_regex="q_proj"))


def test_dropout_is_there_in_training_alone(tiny_base):
    base = tiny_base()
    lora.inject(base.module, LoraPlan(dropout=0.5))
    shake(base.module)
    assert torch.equal(logits(base), logits(base))
    base.module.train()
    assert not torch.equal(logits(base), logits(base))
    base.module.eval()


@pytest.mark.parametrize(
    ("text", "layers"),
    [(None, None), ("3", (3,)), ("0-2,11", (0, 1, 2, 11)), (" 1 , 0 - 1 ", (0, 1)), ("5,5", (5,))],
)
def test_layers_as_text(text, layers):
    assert lora.parse_layers(text, 12) == layers


@pytest.mark.parametrize("text", ["12", "0-12", "a", "", "3-1", "-1", "1,,2", "1-2-3"])
def test_bad_layers(text):
    with pytest.raises(SettingsError, match="layers"):
        lora.parse_layers(text, 12)
