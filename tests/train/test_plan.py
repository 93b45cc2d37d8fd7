"""A plan needs settings, data and a model's outline: everything is known before weights are."""

import json

import numpy as np
import pytest
import tiny_models
import tiny_runs

from lvlora.errors import BudgetError, ModelError, SettingsError
from lvlora.train.loop import load_run
from lvlora.train.plan import plan_run


@pytest.fixture
def weightless(tmp_path):
    """A folder with config.json and a tokenizer, and no weights."""
    folder = tiny_models.write(tmp_path / "outlined", "llama")
    (folder / "model.safetensors").unlink()
    return folder


def test_a_run_is_planned_and_priced_without_weights(weightless, tiny_folder, tmp_path):
    plan = tiny_runs.plan(weightless, tmp_path / "runs", layers="0", targets=("q_proj", "up_proj"))
    loaded = tiny_runs.loaded(
        tiny_folder("llama"), tmp_path / "runs", layers="0", targets=("q_proj", "up_proj")
    )
    assert plan.at_most() == loaded.plan.at_most()
    assert plan.at_most().executed > 6 * plan.cost.per_step.executed
    assert (plan.n_steps, plan.validate_at, plan.n_validations()) == (6, {3, 6}, 3)
    parameters = sum(p.numel() for p in loaded.parameters.values())
    assert plan.trained.n_parameters == parameters
    with pytest.raises(ModelError, match=r"no \*\.safetensors"):
        load_run(plan)
    assert not (tmp_path / "runs").exists()


def test_refusals_need_no_weights(weightless, tmp_path):
    runs = tmp_path / "runs"
    with pytest.raises(BudgetError, match="one step costs"):
        tiny_runs.plan(weightless, runs, max_steps=None, max_flops=1000)
    with pytest.raises(SettingsError, match="reads 512 tokens"):
        tiny_runs.plan(weightless, runs, tiny_runs.dataset(n_steps=200), seq_len=600)
    with pytest.raises(SettingsError, match="the model has no such linear layer"):
        tiny_runs.plan(weightless, runs, targets=("w_proj",))
    with pytest.raises(SettingsError, match="of memory"):
        tiny_runs.plan(weightless, runs, batch_size=10**9)
    with pytest.raises(SettingsError, match="max_memory"):
        tiny_runs.plan(weightless, runs, max_memory=1000)
    assert not runs.exists()


def test_another_length_has_the_same_prices(weightless, tmp_path):
    plan = tiny_runs.plan(weightless, tmp_path, validate_every=None)
    longer = plan.lasting(40, save_every=4)
    fresh = tiny_runs.plan(weightless, tmp_path, max_steps=40, validate_every=None, save_every=4)
    assert longer.at_most() == fresh.at_most() == plan.cost.of_run(plan.settings, 40)
    assert longer.settings == fresh.settings
    assert (longer.n_steps, longer.validate_at) == (40, {10, 20, 30, 40})


def test_layers_are_compiled_in_long_runs(weightless, tmp_path):
    plan = tiny_runs.plan(weightless, tmp_path, accumulation=5)
    assert not plan.lasting(99).compiles
    assert plan.lasting(100).compiles
    assert not tiny_runs.plan(weightless, tmp_path, max_steps=1000, compile="off").compiles
    assert tiny_runs.plan(weightless, tmp_path, max_steps=1, compile="on").compiles


def test_a_short_run_of_a_dear_model_is_validated_on_few_series(tmp_path):
    large = tiny_models.write(tmp_path / "m", "llama", hidden_size=256, intermediate_size=256)
    config = json.loads((large / "config.json").read_text())
    config |= {"num_hidden_layers": 400, "intermediate_size": 8192}
    (large / "config.json").write_text(json.dumps(config))
    (large / "model.safetensors").unlink()
    data = tiny_runs.dataset(n_series=100)
    settings = tiny_runs.settings(large, tmp_path, validate_every=None, max_steps=20)
    assert plan_run(settings, data).part.n_series == 4


def test_a_run_says_which_gaps_its_text_does_not_have(weightless, tmp_path):
    data = tiny_runs.dataset()
    for series in data.series:
        series.values[3, 0] = series.values[6, 1] = np.nan
    plan = tiny_runs.plan(weightless, tmp_path, data)
    n = 2 * len(plan.split.train)
    assert any(f"In place of {n} missing values the text has" in note for note in plan.notes)
