"""A plan needs no weights, a refusal leaves nothing, Python answers as the command."""

import json
from pathlib import Path

import ledgers
import numpy as np
import pytest
import tiny_models
import tiny_runs

import lvlora
from lvlora.errors import BudgetError, ModelError, SettingsError
from lvlora.flops.ledger import Ledger
from lvlora.narrator import Silent
from lvlora.train import fine_tune
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


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A file in the working folder."""
    monkeypatch.chdir(tmp_path)
    return tiny_runs.write_csv(tmp_path / "data.csv", tiny_runs.dataset())


@pytest.mark.parametrize("limit", [{"max_flops": 10}, {"budget": 10}])
def test_a_refusal_by_the_budget_leaves_nothing(run_lvlora, data, tiny_folder, limit):
    run_lvlora(["train", data, *tiny_runs.flags(tiny_folder("qwen2"), "runs", **limit)], code=3)
    assert not Path("runs").exists()


def test_so_does_one_that_comes_when_others_have_spent(run_lvlora, data, tiny_folder, monkeypatch):
    """Between the look at the budget and the reservation another process takes what was left."""
    model = tiny_folder("qwen2")
    budget = tiny_runs.plan(model, Path("runs"), tiny_runs.dataset()).at_most().executed
    look = fine_tune.check_limits

    def check(*args, **limits):
        look(*args, **limits)
        with Ledger.for_runs(Path("runs")) as ledger:
            ledgers.reserve(ledger, 1, 1, "other")

    monkeypatch.setattr(fine_tune, "check_limits", check)
    run_lvlora(["train", data, *tiny_runs.flags(model, "runs", budget=budget)], code=3)
    assert [p.name for p in Path("runs").iterdir() if p.is_dir()] == []
    with Ledger.for_runs(Path("runs")) as ledger:
        assert [row.run for row in ledger.rows()] == ["other"]
        assert ledger.budget() is None


def test_python_and_json_are_one_answer(run_lvlora, data, tiny_folder):
    settings = tiny_runs.settings(tiny_folder("qwen2"), Path("runs"))
    options = settings.model_dump(exclude_defaults=True)
    output = lvlora.fine_tune(
        data, **options, narrator=Silent(), runs="runs", out=Path("runs/python")
    )
    assert isinstance(output, lvlora.Result)
    flags = tiny_runs.flags(tiny_folder("qwen2"), Path("runs"))
    ran = run_lvlora(["train", data, *flags, "--out", "runs/command", "--json"], code=0)
    timed = ("seconds", "run", "folder", "adapter", "files")
    mine = output.model_dump(mode="json")
    assert list(mine) == list(ran.json)
    assert {k: v for k, v in mine.items() if k not in timed} == {
        k: v for k, v in ran.json.items() if k not in timed
    }
    assert output.flops.executed == lvlora.spent("runs").executed // 2


def test_a_dry_run_needs_no_weights(run_lvlora, data, weightless):
    flags = tiny_runs.flags(weightless, Path("runs"))
    ran = run_lvlora(["train", data, *flags, "--dry-run", "--json"], code=0)
    plan = tiny_runs.plan(weightless, Path("runs"))
    assert ran.json["flops_at_most"] == plan.at_most().to_dict()
    assert ran.json["trainable_parameters"] == plan.trained.n_parameters
    assert ran.json["estimate"] is None
    assert "The weights are not here" in ran.stderr
    ran = run_lvlora(["train", data, *flags, "--max-flops", "1e3", "--dry-run"], code=3)
    ran = run_lvlora(["train", data, *flags], code=4)
    assert not Path("runs").exists()
