"""When layers are compiled, and that a compiled step is the same step."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

from lvlora.errors import SettingsError
from lvlora.model import lora
from lvlora.model.head import NumericHead
from lvlora.text.windows import Batch
from lvlora.train import compilation
from lvlora.train.compilation import LEAST_BATCHES, as_written, compile_layers, is_wanted
from lvlora.train.objective import Objective

CPU = torch.device("cpu")


def test_short_runs_and_off_never_ask_for_a_compiler(monkeypatch):
    monkeypatch.setattr(compilation, "_problem", lambda device: pytest.fail("asked"))
    assert not is_wanted("auto", LEAST_BATCHES - 1, CPU)
    assert not is_wanted("off", 10**6, CPU)


def test_without_a_compiler_auto_goes_on_and_on_is_refused(monkeypatch):
    monkeypatch.setattr(compilation, "_problem", lambda device: "no g++")
    assert not is_wanted("auto", 10**6, CPU)
    with pytest.raises(SettingsError, match="no g\\+\\+"):
        is_wanted("on", 1, CPU)


def test_a_missing_compiler_is_found_missing(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("CXX", str(tmp_path / "no-such-compiler"))
    torch._dynamo.reset()
    from torch._inductor import config

    with config.patch({"cpp.cxx": (str(tmp_path / "no-such-compiler"),)}):
        assert compilation._problem(CPU)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="no C++ compiler")
@pytest.mark.filterwarnings("ignore")
def test_a_compiled_step_has_the_same_gradients(tiny_base):
    base = tiny_base()
    lora.inject(base.module, lora.LoraPlan(rank=2, targets=("all-linear",)))
    for _, layer in lora.lora_layers(base.module):
        torch.nn.init.normal_(layer.lora_b, std=0.1)
    base.module.train()
    objective = Objective(base.module, base.alphabet, NumericHead(base.module, base.alphabet))
    parameters = {n: p for n, p in base.module.named_parameters() if p.requires_grad}
    ids = np.array(base.alphabet.ids)[np.random.default_rng(0).integers(0, 12, (2, 41))]
    batch = Batch(ids[:, :-1], ids[:, 1:])

    def gradients():
        loss = objective.loss_sum(batch)
        return float(loss), torch.autograd.grad(loss, list(parameters.values()))

    plain = gradients()
    assert compile_layers(base.module) == base.shape.layers
    counters = torch._dynamo.utils.counters
    counters.clear()
    with as_written():
        assert gradients()[0] == plain[0]
    assert not counters["stats"]
    compiled = gradients()
    assert counters["stats"]["unique_graphs"] >= 1
    assert compiled[0] == pytest.approx(plain[0], rel=1e-5)
    for name, a, b in zip(parameters, plain[1], compiled[1], strict=True):
        assert torch.allclose(a, b, atol=1e-4 * a.abs().max().item()), name


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="no C++ compiler")
@pytest.mark.filterwarnings("ignore")
def test_rows_of_all_lengths_share_a_compilation(tiny_base):
    torch._dynamo.reset()
    base = tiny_base()
    lora.inject(base.module, lora.LoraPlan(rank=2, targets=("all-linear",)))
    base.module.train()
    objective = Objective(base.module, base.alphabet, NumericHead(base.module, base.alphabet))
    parameters = [p for p in base.module.parameters() if p.requires_grad]
    compile_layers(base.module)
    counters = torch._dynamo.utils.counters
    counters.clear()
    for n in (41, 37, 52, 60, 33, 150):
        ids = np.array(base.alphabet.ids)[np.random.default_rng(n).integers(0, 12, (1, n))]
        torch.autograd.grad(objective.loss_sum(Batch(ids[:, :-1], ids[:, 1:])), parameters)
    # the first layer, whose input has no gradient, and the others; for one length, then for all
    assert counters["stats"]["unique_graphs"] == 4
