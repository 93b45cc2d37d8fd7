"""The verb: a refusal leaves nothing, from Python and the command; plans need no weights."""

from pathlib import Path

import ledgers
import pytest
import tiny_models
import tiny_runs

import lvlora
from lvlora.flops.ledger import Ledger
from lvlora.train import fine_tune


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _as_words(settings):
    return {
        **settings.model_dump(exclude_defaults=True),
        "runs": str(settings.runs),
    }


@pytest.mark.parametrize("limit", [{"max_flops": 10}, {"budget": 10}])
@pytest.mark.parametrize("way", ["python", "command"])
def test_a_refusal_by_the_budget_leaves_nothing(run_lvlora, place, tiny_folder, limit, way):
    model = tiny_folder("qwen2")
    if way == "python":
        given = _as_words(tiny_runs.settings(model, Path("runs"), **limit))
        with pytest.raises(lvlora.BudgetError):
            lvlora.fine_tune(tiny_runs.dataset(), **given)
    else:
        tiny_runs.write_csv(place / "data.csv", tiny_runs.dataset())
        flags = tiny_runs.flags(model, Path("runs"), **limit)
        assert run_lvlora(["train", "data.csv", *flags]).exit_code == 3
    assert not Path("runs").exists()


@pytest.mark.parametrize("way", ["python", "command"])
def test_so_does_one_that_comes_when_others_have_spent(
    run_lvlora, place, tiny_folder, monkeypatch, way
):
    """Between the look at the budget and the reservation another process takes what was left."""
    model, data = tiny_folder("qwen2"), tiny_runs.dataset()
    budget = tiny_runs.plan(model, Path("runs"), data).at_most().executed
    look = fine_tune.check_limits

    def check(*asked, **limits):
        look(*asked, **limits)
        with Ledger.for_runs(Path("runs")) as ledger:
            ledgers.reserve(ledger, 1, 1, "other")

    monkeypatch.setattr(fine_tune, "check_limits", check)
    if way == "python":
        given = _as_words(tiny_runs.settings(model, Path("runs"), budget=budget))
        with pytest.raises(lvlora.BudgetError):
            lvlora.fine_tune(data, **given)
    else:
        tiny_runs.write_csv(place / "data.csv", data)
        flags = tiny_runs.flags(model, Path("runs"), budget=budget)
        assert run_lvlora(["train", "data.csv", *flags]).exit_code == 3
    assert [p.name for p in Path("runs").iterdir() if p.is_dir()] == []
    with Ledger.for_runs(Path("runs")) as ledger:
        assert [row.run for row in ledger.rows()] == ["other"]
        assert ledger.budget() is None


def test_python_and_json_are_one_answer(run_lvlora, place, tiny_folder):
    model, data = tiny_folder("qwen2"), tiny_runs.dataset()
    file = tiny_runs.write_csv(place / "data.csv", data)
    given = _as_words(tiny_runs.settings(model, Path("runs")))
    made = lvlora.fine_tune(file, **given, out=Path("runs/python"))
    assert isinstance(made, lvlora.Result)
    flags = tiny_runs.flags(model, Path("runs"))
    ran = run_lvlora(["train", "data.csv", *flags, "--out", "runs/command", "--json"], code=0)
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


def test_a_dry_run_needs_no_weights(run_lvlora, place, weightless):
    tiny_runs.write_csv(place / "data.csv", tiny_runs.dataset())
    flags = tiny_runs.flags(weightless, Path("runs"))
    ran = run_lvlora(["train", "data.csv", *flags, "--dry-run", "--json"], code=0)
    plan = tiny_runs.plan(weightless, Path("runs"))
    assert ran.json["flops_at_most"] == plan.at_most().to_dict()
    assert ran.json["trainable_parameters"] == plan.trained.n_parameters
    assert ran.json["estimate"] is None
    assert "The weights are not here" in ran.stderr
    ran = run_lvlora(["train", "data.csv", *flags, "--max-flops", "1e3", "--dry-run"], code=3)
    ran = run_lvlora(["train", "data.csv", *flags], code=4)
    assert not Path("runs").exists()
