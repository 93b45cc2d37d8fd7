"""A model that gives no finite numbers makes no forecast: exit code 3, and where it breaks."""

import json
import shutil
from pathlib import Path

import pytest
import tiny_models
import tiny_runs
import torch
from safetensors.torch import load_file, save_file

from lvlora.flops.ledger import Ledger
from lvlora.model import adapters, lora
from lvlora.model.adapters import config_for

WEIGHTS = "model.safetensors"
BREAKS = {
    "NaN in the embedding": ("model.embed_tokens.weight", float("nan"), "embed_tokens.weight"),
    "an infinite norm": (
        "model.layers.1.input_layernorm.weight",
        float("inf"),
        "model.layers.1.input_layernorm",
    ),
    "a layer that overflows": ("model.layers.0.mlp.down_proj.weight", 1e30, "finite"),
    "the last layer": ("model.layers.1.mlp.down_proj.weight", 1e30, "finite"),
}
SCORED = "data.csv --context 20 --horizon 5 --samples 2 --no-rivals"
COMMANDS = {
    "forecast": "forecast data.csv --horizon 3 --samples 2",
    "greedy": "forecast data.csv --horizon 3 --greedy",
    "evaluate": f"evaluate {SCORED} --split all",
    "baseline": f"baseline {SCORED}",
}
PLAIN = ["--decimals", "1", "--dtype", "float32", "--threads", "1", "--quiet"]


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tiny_runs.write_csv(tmp_path / "data.csv", tiny_runs.dataset(6, n_steps=30))


def broken(folder: Path, to: Path, name: str, value: float) -> Path:
    shutil.copytree(folder, to)
    tensors = load_file(to / WEIGHTS)
    tensors[name] = torch.full_like(tensors[name], value)
    save_file(tensors, to / WEIGHTS, metadata={"format": "pt"})
    return to


@pytest.mark.parametrize(
    ("command", "how"),
    [
        *(("forecast", how) for how in BREAKS),
        *((command, "a layer that overflows") for command in COMMANDS if command != "forecast"),
    ],
)
def test_a_broken_model_is_named(run_lvlora, data, tiny_folder, tmp_path, command, how):
    name, value, where = BREAKS[how]
    model = broken(tiny_folder("qwen2"), tmp_path / "mine", name, value)
    adapter = [] if command == "baseline" else ["--adapter", "none"]
    ran = run_lvlora([*COMMANDS[command].split(), "--model", model, *adapter, *PLAIN], code=3)
    assert ran.stdout == ""
    assert "Error: mine zero-shot: its logits for series 's" in ran.stderr
    assert where in ran.stderr
    with Ledger.for_runs(Path("runs")) as ledger:
        assert all(row.spent.executed > 0 for row in ledger.rows())


@pytest.mark.parametrize(("command", "target"), [("forecast", "v_proj"), ("evaluate", "down_proj")])
def test_an_adapter_that_multiplies_too_much(
    run_lvlora, data, tiny_folder, tiny_base, tmp_path, target, command
):
    base, adapter = tiny_base("qwen2"), tmp_path / "mine"
    adapter.mkdir()
    plan = lora.LoraPlan(rank=2, targets=(target,))
    lora.inject(base.module, plan)
    with torch.no_grad():
        for _, layer in lora.lora_layers(base.module):
            layer.lora_b.fill_(0.1)
    config = config_for(plan, str(tiny_folder("qwen2")), False)
    adapters.save(adapter, config, adapters.adapter_tensors(base.module), {})
    tiny_models.edit(adapter / "lvlora.json", sha256="gone", facts_sha256="gone")
    words = [*COMMANDS[command].split(), "--adapter", adapter, *PLAIN]
    assert run_lvlora(words).exit_code == 0
    tiny_models.edit(adapter / "adapter_config.json", lora_alpha=1e30)
    ran = run_lvlora(words, code=3)
    assert "qwen2 + mine: its logits for series 's" in ran.stderr
    assert "5e+29" in ran.stderr


@pytest.mark.slow
def test_nothing_is_exported_or_trained(run_lvlora, data, tiny_folder, tmp_path):
    name, value, where = BREAKS["NaN in the embedding"]
    model = broken(tiny_folder("qwen2"), tmp_path / "mine", name, value)
    words = tiny_runs.flags(model, tmp_path / "runs", max_steps=2)
    ran = run_lvlora(["train", data, *words], code=3)
    assert where in ran.stderr
    sound = tiny_folder("qwen2")
    words = tiny_runs.flags(sound, tmp_path / "runs", max_steps=2, out=tmp_path / "runs" / "good")
    assert run_lvlora(["train", data, *words]).exit_code == 0
    facts = json.loads((tmp_path / "runs/good/adapter/lvlora.json").read_text())
    assert facts["base_sha256"]
    adapter = shutil.copytree(tmp_path / "runs/good/adapter", tmp_path / "a")
    (adapter / "lvlora.json").unlink()
    ran = run_lvlora(["export", adapter, "--model", model, "--merged", tmp_path / "merged"], code=3)
    assert where in ran.stderr
    assert not (tmp_path / "merged").exists()
