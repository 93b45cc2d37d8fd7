"""What a float32 step remembers in half: gradients within a percent, half of the bytes."""

import shutil

import numpy as np
import pytest
import tiny_models
import torch
from torch import nn

from lvlora.model import lora
from lvlora.model.devices import Placement
from lvlora.model.head import NumericHead
from lvlora.text.windows import Batch
from lvlora.train import half_activations
from lvlora.train.half_activations import HalfActivations
from lvlora.train.loop import Objective, compile_layers

CPU = torch.device("cpu")


def step(base, targets=("q_proj", "v_proj")):
    """(an objective, what is trained, a batch), with updates that differ from zero."""
    torch.manual_seed(0)
    lora.inject(base.module, lora.LoraPlan(rank=2, targets=targets))
    for _, layer in lora.lora_layers(base.module):
        nn.init.normal_(layer.lora_b, std=0.1)
    base.module.train()
    objective = Objective(base.module, base.alphabet, NumericHead(base.module, base.alphabet))
    ids = np.array(base.alphabet.ids)[np.random.default_rng(0).integers(0, 12, (2, 161))]
    parameters = {n: p for n, p in base.module.named_parameters() if p.requires_grad}
    return objective, parameters, Batch(ids[:, :-1], ids[:, 1:])


def gradients(objective, parameters, batch):
    loss = objective.loss_sum(batch)
    restored = torch.autograd.grad(loss, list(parameters.values()))
    return loss.detach(), dict(zip(parameters, restored, strict=True))


def apart(one, other, kind):
    """Relative distance of the gradients of all A, or of all B."""
    a, b = (torch.cat([g.flatten() for n, g in some.items() if kind in n]) for some in (one, other))
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize("targets", [("q_proj", "v_proj"), ("all-linear",)], ids=len)
@pytest.mark.parametrize("family", tiny_models.FAMILIES)
def test_the_loss_is_the_same_and_gradients_are_within_a_percent(tiny_base, family, targets):
    objective, parameters, batch = step(tiny_base(family), targets)
    loss, exact = gradients(objective, parameters, batch)
    objective.half_activations = HalfActivations(objective.model)
    half_loss, half = gradients(objective, parameters, batch)
    assert torch.equal(half_loss, loss)
    for kind in ("lora_a", "lora_b"):
        assert 0 < apart(half, exact, kind) < 0.002  # measured: 0.0005; 0.01 is allowed


@pytest.mark.parametrize("targets", [("q_proj", "v_proj"), ("all-linear",)], ids=len)
def test_half_of_the_bytes_are_remembered(tiny_base, monkeypatch, targets):
    objective, parameters, batch = step(tiny_base("llama"), targets)
    weights = {p.untyped_storage().data_ptr() for p in objective.model.parameters()}
    as_it_is, in_half = {}, {}
    held = []

    def note(tensor):
        held.append(tensor)  # no address comes twice
        if tensor.untyped_storage().data_ptr() not in weights:
            as_it_is[tensor.untyped_storage().data_ptr()] = tensor.nbytes
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
        objective.decoder(input_ids=torch.from_numpy(batch.inputs))
    stored = HalfActivations(objective.model)
    pack = stored._pack

    def note_packed(tensor):
        packed = pack(tensor)
        held.append(packed)
        values = packed if isinstance(packed, torch.Tensor) else packed.values
        if values.untyped_storage().data_ptr() not in weights:
            in_half[values.data_ptr()] = values.nbytes
        return packed

    monkeypatch.setattr(stored, "_pack", note_packed)
    objective.half_activations = stored
    assert gradients(objective, parameters, batch)
    assert sum(in_half.values()) < 0.55 * sum(as_it_is.values())


class Saver(torch.autograd.Function):
    """Gives back in backward what it saved in forward."""

    @staticmethod
    def forward(ctx, x, *saved):
        ctx.save_for_backward(*saved)
        return x.clone()

    @staticmethod
    def backward(ctx, _):
        Saver.restored = ctx.saved_tensors
        return (None,) * (1 + len(Saver.restored))


def brought_back(*saved, model=None):
    stored = HalfActivations(nn.Module() if model is None else model)
    with stored.in_half():
        out = Saver.apply(torch.ones((), requires_grad=True), *saved)
    out.backward()
    return Saver.restored


@pytest.mark.parametrize("scale", [1e-44, 1e-38, 1e-9, 1.0, 1e9, 1e37])
def test_values_of_any_size_come_back_with_eleven_bits(scale):
    x = torch.randn(7, 64, generator=torch.Generator().manual_seed(0)) * scale
    x[2, 3] = 3.0 * scale * (1e4 if scale < 1e30 else 1.0)  # and one that is far from all others
    (restored,) = brought_back(x)
    smallest = torch.finfo(torch.float32).tiny * 2.0**-14  # below it float32 itself ends
    assert ((restored - x).abs() <= x.abs() * 2.0**-11 + smallest).all()
    assert scale < 1e-37 or not torch.equal(restored, x)
    heads = x.view(7, 4, 16).transpose(0, 1)
    (restored,) = brought_back(heads)
    assert restored.stride() == heads.stride()
    assert ((restored - heads).abs() <= heads.abs() * 2.0**-11 + smallest).all()


def test_zeros_and_one_number_a_row_are_exact_and_what_is_not_finite_is_not_hidden():
    broken = torch.tensor([[1.0, float("inf")], [float("nan"), 0.1]])
    saved = torch.zeros(3, 4), torch.randn(2, 9, 1), broken
    for restored, exact in zip(brought_back(*saved), saved, strict=True):
        assert torch.equal(restored.nan_to_num(), exact.nan_to_num())


def test_weights_other_dtypes_and_what_is_no_block_are_left_as_they_are():
    model = nn.Linear(5, 3)
    saved = (
        model.weight.detach().t(),
        torch.randn(4, 6, dtype=torch.float64),
        torch.arange(5),
        torch.randn(4, 1).expand(4, 3),
    )
    for restored, inputs in zip(brought_back(*saved, model=model), saved, strict=True):
        assert torch.equal(restored, inputs)
        assert restored.data_ptr() == inputs.data_ptr()


def test_a_step_takes_the_memory_of_the_last_one_but_not_while_it_is_needed():
    stored = HalfActivations(nn.Module())
    with stored.in_half():
        first = stored._pack(torch.full((5, 5), 1.0))
    with stored.in_half():
        second = stored._pack(torch.full((5, 5), 2.0))
    address = first.values.data_ptr()
    assert second.values.data_ptr() != address
    assert float(half_activations._unpack(first).mean()) == 1.0
    del first
    with stored.in_half():
        assert stored._pack(torch.full((5, 5), 3.0)).values.data_ptr() == address


def test_one_tensor_is_remembered_once_and_again_when_it_was_changed():
    stored = HalfActivations(nn.Module())
    with stored.in_half():
        x = torch.randn(6, 8)
        first, second, turned = stored._pack(x), stored._pack(x.view(2, 3, 8)), stored._pack(x.t())
        assert first.values is second.values is turned.values
        x.mul_(2.0)
        changed = stored._pack(x)
        assert changed.values is not first.values
    assert torch.equal(half_activations._unpack(changed), 2 * half_activations._unpack(first))
    assert torch.equal(half_activations._unpack(turned), half_activations._unpack(first).t())


def test_memory_that_is_used_again_is_another_tensor():
    stored, packed, addresses = HalfActivations(nn.Module()), [], set()
    with stored.in_half():
        for i in range(20):
            x = torch.full((64, 64), float(i))
            addresses.add(x.data_ptr())
            packed.append(stored._pack(x))
            del x
    assert len(addresses) < 20, "no address came again: the test shows nothing"
    assert [float(half_activations._unpack(p)[3, 3]) for p in packed] == list(range(20))


@pytest.mark.parametrize(
    ("device", "dtype", "wanted"),
    [("cpu", torch.float32, True), ("cpu", torch.bfloat16, False), ("cuda", torch.float32, False)],
)
def test_it_is_for_float32_on_a_processor(device, dtype, wanted):
    assert half_activations.is_wanted(Placement(torch.device(device), dtype, "")) == wanted


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="no C++ compiler")
@pytest.mark.filterwarnings("ignore")
def test_compiled_layers_are_remembered_in_half_too(tiny_base):
    objective, parameters, batch = step(tiny_base("llama"), ("all-linear",))
    loss, exact = gradients(objective, parameters, batch)
    compile_layers(objective.model)
    objective.half_activations = HalfActivations(objective.model)
    half_loss, half = gradients(objective, parameters, batch)
    assert float(half_loss) == pytest.approx(float(loss), rel=1e-5)
    for kind in ("lora_a", "lora_b"):
        assert 1e-5 < apart(half, exact, kind) < 0.002
