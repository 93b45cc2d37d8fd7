"""Losses, gradients, accumulation and compiled layers of a training step."""

import shutil

import numpy as np
import pytest
import tiny_runs
import torch
from torch import nn

from lvlora.errors import SettingsError
from lvlora.model import lora
from lvlora.model.head import NumericHead
from lvlora.text.windows import IGNORED, Batch
from lvlora.train import loop
from lvlora.train.loop import Objective, compile_layers


def _batch(base, rows=2, width=20, seed=0, padded=0):
    rng = np.random.default_rng(seed)
    ids = np.array(base.alphabet.ids)[rng.integers(0, 12, (rows, width + 1))]
    targets = ids[:, 1:].copy()
    if padded:
        targets[0, -padded:] = IGNORED
    return Batch(ids[:, :-1], targets)


@pytest.mark.parametrize("family", ["qwen2", "llama", "gemma2"])
def test_full_cross_entropy_is_the_restricted_one_less_log_p_of_the_alphabet(tiny_base, family):
    base = tiny_base(family)
    batch = _batch(base, padded=5)
    full = Objective(base.module, base.alphabet, None)
    restricted = Objective(base.module, base.alphabet, NumericHead(base.module, base.alphabet))
    with torch.no_grad():
        logits = full.logits(torch.from_numpy(batch.inputs))
        log_p = torch.log_softmax(logits.double(), -1)[..., list(base.alphabet.ids)].logsumexp(-1)
        counted = torch.from_numpy(batch.targets != IGNORED)
        outside = float(log_p[counted].sum())
        assert outside < -1e-3  # there is something outside of the alphabet
        difference = float(restricted.loss_sum(batch)) - outside
        assert float(full.loss_sum(batch)) == pytest.approx(difference, rel=1e-5)


@pytest.mark.parametrize("full", [False, True])
def test_padding_neither_counts_nor_is_seen(tiny_base, full):
    base = tiny_base()
    head = None if full else NumericHead(base.module, base.alphabet)
    objective = Objective(base.module, base.alphabet, head)
    short = _batch(base, rows=1, width=12)
    other = np.array(base.alphabet.ids)[3]
    longer = Batch(
        np.pad(short.inputs, ((0, 0), (0, 7)), constant_values=other),
        np.pad(short.targets, ((0, 0), (0, 7)), constant_values=IGNORED),
    )
    assert longer.n_targets == short.n_targets == 12
    with torch.no_grad():
        assert float(objective.loss_sum(longer)) == pytest.approx(
            float(objective.loss_sum(short)), rel=1e-6
        )


def _one_step(base, batches, accumulation, clip_norm=0.0):
    lora.inject(base.module, lora.LoraPlan(rank=2), seed=1)
    # B is zero at first, and with it the gradient of A
    for _, layer in lora.lora_layers(base.module):
        nn.init.normal_(layer.lora_b, generator=torch.Generator().manual_seed(2))
    objective = Objective(base.module, base.alphabet, NumericHead(base.module, base.alphabet))
    parameters = [p for p in base.module.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(parameters, lr=1.0)
    before = [p.detach().clone() for p in parameters]
    step = next(
        loop.steps(
            parameters,
            [optimizer],
            objective.loss_sum,
            batches.__getitem__,
            lambda _: 1.0,
            first=0,
            last=1,
            accumulation=accumulation,
            clip_norm=clip_norm,
        )
    )
    return step, [b - p.detach() for b, p in zip(before, parameters, strict=True)]


def test_two_micro_batches_of_two_are_one_batch_of_four(tiny_base):
    base = tiny_base()
    halves = [_batch(base, seed=1, padded=9), _batch(base, seed=2)]
    reference = Batch(
        np.concatenate([b.inputs for b in halves]), np.concatenate([b.targets for b in halves])
    )
    one, gradients = _one_step(base, [reference], 1)
    two, accumulated = _one_step(tiny_base(), halves, 2)
    assert two.loss == pytest.approx(one.loss, rel=1e-6)
    assert two.tokens == one.tokens == 4 * 20 - 9
    assert two.shapes == ((2, 20), (2, 20))
    assert max(float(g.abs().max()) for g in gradients) > 1e-3
    for a, b in zip(gradients, accumulated, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_clipping_limits_the_norm_and_tells_what_it_was(tiny_base):
    base = tiny_base()
    free, gradients = _one_step(base, [_batch(base)], 1)
    clipped, smaller = _one_step(tiny_base(), [_batch(base)], 1, clip_norm=free.grad_norm / 4)
    norm = torch.stack([g.norm() for g in gradients]).norm()
    assert free.grad_norm == pytest.approx(float(norm), rel=1e-4)
    assert clipped.grad_norm == pytest.approx(free.grad_norm, rel=1e-6)
    assert float(torch.stack([g.norm() for g in smaller]).norm()) == pytest.approx(
        free.grad_norm / 4, rel=1e-3
    )


def test_a_full_head_in_bfloat16_has_float32_logits(tiny_base):
    base = tiny_base("qwen2", torch.bfloat16)
    objective = Objective(base.module, base.alphabet, None)
    assert objective.logits(torch.from_numpy(_batch(base).inputs)).dtype == torch.float32


def test_without_a_compiler_auto_goes_on_and_on_is_refused(monkeypatch, tiny_folder, tmp_path):
    monkeypatch.setattr(loop, "compile_problem", lambda device: "no g++")
    assert not tiny_runs.loaded(tiny_folder("qwen2"), tmp_path, max_steps=500).compiled
    with pytest.raises(SettingsError, match="no g\\+\\+"):
        tiny_runs.loaded(tiny_folder("qwen2"), tmp_path, compile="on")


@pytest.mark.slow
def test_a_missing_compiler_is_found_missing(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("CXX", str(tmp_path / "no-such-compiler"))
    torch._dynamo.reset()
    from torch._inductor import config

    with config.patch({"cpp.cxx": (str(tmp_path / "no-such-compiler"),)}):
        assert loop.compile_problem(torch.device("cpu"))


compiler = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("g++"), reason="no C++ compiler"),
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture
def compilable(tiny_base):
    """(an objective with updates that differ from zero, what is trained)."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    base = tiny_base()
    lora.inject(base.module, lora.LoraPlan(rank=2, targets=("all-linear",)))
    for _, layer in lora.lora_layers(base.module):
        nn.init.normal_(layer.lora_b, std=0.1)
    base.module.train()
    objective = Objective(base.module, base.alphabet, NumericHead(base.module, base.alphabet))
    return objective, [p for p in base.module.parameters() if p.requires_grad]


def _gradients(objective, parameters, batch):
    loss = objective.loss_sum(batch)
    return float(loss), torch.autograd.grad(loss, parameters)


class TestCompiled:
    pytestmark = compiler

    def test_a_step_has_the_same_gradients(self, compilable):
        objective, parameters = compilable
        batch, counters = _batch(objective, width=40), torch._dynamo.utils.counters
        loss, gradients = _gradients(objective, parameters, batch)
        assert compile_layers(objective.model) == objective.model.config.num_hidden_layers
        with torch.compiler.set_stance("force_eager"):
            assert _gradients(objective, parameters, batch)[0] == loss
        assert not counters["stats"]
        compiled_loss, compiled = _gradients(objective, parameters, batch)
        assert counters["stats"]["unique_graphs"] >= 1
        assert compiled_loss == pytest.approx(loss, rel=1e-5)
        for a, b in zip(gradients, compiled, strict=True):
            assert torch.allclose(a, b, atol=1e-4 * a.abs().max().item())

    def test_rows_of_all_lengths_share_a_compilation(self, compilable):
        objective, parameters = compilable
        compile_layers(objective.model)
        for n in (40, 36, 51, 59, 32, 149):
            _gradients(objective, parameters, _batch(objective, rows=1, width=n, seed=n))
        # the first layer, whose input has no gradient, and the others; for one length, then for all
        assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 4
