"""The verb: a refusal leaves nothing, Python answers as the command, plans need no weights."""

from pathlib import Path

import ledgers
import pytest
import tiny_models
import tiny_runs

import lvlora
from lvlora.flops.ledger import Ledger
from lvlora.narrator import Silent
from lvlora.train import fine_tune


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
    made = lvlora.fine_tune(
        data, **options, narrator=Silent(), runs="runs", out=Path("runs/python")
    )
    assert isinstance(made, lvlora.Result)
    flags = tiny_runs.flags(tiny_folder("qwen2"), Path("runs"))
    ran = run_lvlora(["train", data, *flags, "--out", "runs/command", "--json"], code=0)
    timed = ("seconds", "run", "folder", "adapter", "files")
    mine = made.model_dump(mode="json")
    assert list(mine) == list(ran.json)
    assert {k: v for k, v in mine.items() if k not in timed} == {
        k: v for k, v in ran.json.items() if k not in timed
    }
    assert made.flops.executed == lvlora.spent("runs").executed // 2


@pytest.fixture
def weightless(tmp_path):
    folder = tiny_models.write(tmp_path / "outlined", "llama")
    (folder / "model.safetensors").unlink()
    return folder


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
