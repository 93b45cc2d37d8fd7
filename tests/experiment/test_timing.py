"""Stages are timed by small models of the same widths."""

from __future__ import annotations

import shutil

import pytest
import tiny_models
import tiny_runs
import torch

from lvlora.experiment import timing
from lvlora.experiment.plan import Planned, plan_stages
from lvlora.flops.budget import NOTHING
from lvlora.forecast.estimate import Estimate
from lvlora.model.devices import Placement
from lvlora.model.loading import outline
from lvlora.model.stand_in import stand_in
from lvlora.settings.experiment import Stage
from lvlora.settings.scoring import EvaluateSettings

CPU = Placement(torch.device("cpu"), torch.float32, "for tests")


@pytest.mark.parametrize("family", ["qwen2", "llama"])
def test_a_stand_in_has_the_widths_and_its_own_layers(tiny_folder, tmp_path, family):
    shutil.copytree(
        tiny_folder(family), tmp_path / family, ignore=shutil.ignore_patterns("*.safetensors")
    )
    source = tiny_models.source(tmp_path / family)
    known = outline(source, CPU)
    made = stand_in(source, known, 5)
    real = tiny_models.load_tiny(tiny_folder(family)).module
    sizes = {name: p.shape for name, p in made.module.named_parameters()}
    assert sizes.items() >= {name: p.shape for name, p in real.named_parameters()}.items()
    assert made.shape.layers == 5
    assert "model.layers.4.mlp.up_proj.weight" in sizes
    assert known.shape.layers == 2
    assert (
        made.module.lm_head.weight.is_set_to(made.module.model.embed_tokens.weight)
        == known.shape.tied
    )
    with torch.no_grad():
        logits = made.module(torch.tensor([[1, 2, 3]])).logits
    assert torch.isfinite(logits).all()
    assert not any(p.requires_grad for p in made.module.parameters())


def test_other_families_have_none(tiny_folder):
    source = tiny_models.source(tiny_folder("gemma"))
    assert stand_in(source, outline(source, CPU), 2) is None


def test_time_and_memory_grow_to_the_models_layers(tmp_path, monkeypatch):
    folder = tiny_models.write(tmp_path / "deep", "qwen2", num_hidden_layers=10)
    (folder / "model.safetensors").unlink()
    data = tiny_runs.dataset(12, 14)
    settings = tiny_runs.settings(folder, tmp_path / "runs")
    (planned,) = plan_stages([Stage("first", "train", settings, {})], data)

    def of_size(of_one: Planned, layers: int, timed: dict) -> Estimate:
        return Estimate(3.0 + 0.5 * layers, 100 + 7 * layers, NOTHING)

    assert timing.time_stages([planned]).seconds[0] > 0  # the real ones
    monkeypatch.setattr(timing, "_stage", of_size)
    found = timing.time_stages([planned])
    assert found.seconds == pytest.approx((8.0,))
    assert found.peak_bytes == 170
    assert not (tmp_path / "runs").exists()


def test_models_that_take_as_long_are_timed_once(tmp_path, monkeypatch, tiny_folder):
    data = tiny_runs.dataset(20, 14)
    model = str(tiny_folder("qwen2"))
    scoring = {"model": model, "context": 6, "horizon": 4, "rivals": False}
    scoring |= {"decimals": 1, "dtype": "float32"}  # as the run is made
    trained = tiny_runs.settings(model, tmp_path / "runs")
    alone = EvaluateSettings(**scoring)
    beside = EvaluateSettings(**scoring, adapter=("first",))
    longer = EvaluateSettings(**{**scoring, "horizon": 6}, adapter=("first",), zero_shot=False)
    stages = plan_stages(
        [
            Stage("zero-shot", "evaluate", alone, {}),
            Stage("first", "train", trained, {}),
            Stage("both", "evaluate", beside, {}),
            Stage("longer", "evaluate", longer, {}),
        ],
        data,
    )
    asked = []

    def of_model(forecaster, task, sampling):
        asked.append(task.protocol.horizon)
        return Estimate(3.0, 10**15, NOTHING)

    monkeypatch.setattr(timing, "of_model", of_model)
    zero_shot, _, both, later = timing.time_stages(stages).seconds
    assert asked == [4, 6]
    assert zero_shot == pytest.approx(later)
    assert timing.time_stages(stages[:3]).peak_bytes == 10**15  # the last was not timed
    assert both == pytest.approx(zero_shot)  # of the adapter: the model without it is scored
