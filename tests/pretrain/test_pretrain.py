"""Pretraining: prices of a step, one schedule, runs that go on where they stopped."""

import ladder
import pretrain
import pytest
import rows
import torch
import training
from rows import Rows
from torch.utils.flop_counter import FlopCounterMode
from training import Recipe, train

TINY = Recipe(budget=2e9, rows=Rows("numbers", seed=3), hidden=64, layers=1, warmup=2)


@pytest.fixture
def small_pools(monkeypatch):
    monkeypatch.setattr(rows, "POOL", 200)
    monkeypatch.setattr(rows, "STEP_TOKENS", 128)
    monkeypatch.setattr(rows, "NUMBERS", (32, 64))
    monkeypatch.setattr(rows, "SHARES", (0.5, 0.5))
    monkeypatch.setattr(training, "SAVE_EVERY", 2)


def test_products_of_muon_are_counted():
    shapes = {"layer.q": (8, 8), "layer.up": (24, 8), "layer.down": (8, 24), "layer.norm": (8,)}
    parameters = {
        name: torch.nn.Parameter(torch.randn(shape))
        for name, shape in (shapes | {"embed_tokens": (16, 8)}).items()
    }
    optimizers = training.optimizers_of(parameters, TINY)
    moved = [q for o in optimizers for group in o.param_groups for q in group["params"]]
    assert len(moved) == len(parameters)
    for parameter in moved:
        parameter.grad = torch.randn_like(parameter)
    with FlopCounterMode(display=False) as counter:
        for each in optimizers:
            each.step()
    assert training.orthogonalisations(optimizers) == counter.get_total_flops() > 0


@pytest.mark.slow
def test_a_stopped_run_ends_as_an_unbroken_one(tmp_path, small_pools, monkeypatch):
    unbroken = train(TINY, tmp_path / "one")
    assert unbroken.executed <= TINY.budget
    assert unbroken.steps > 4
    save = training.run_folder.save_state

    def killed(folder, step, *rest):
        save(folder, step, *rest)
        if step == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(training.run_folder, "save_state", killed)
    with pytest.raises(KeyboardInterrupt):
        train(TINY, tmp_path / "two")
    monkeypatch.setattr(training.run_folder, "save_state", save)
    resumed = train(TINY, tmp_path / "two")
    for one, two in zip(unbroken.model.parameters(), resumed.model.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=0)


def test_the_recipe_is_one_run_of_at_most_1e16_flops():
    assert pretrain.RECIPE.budget <= 1e16
    config = pretrain.RECIPE.config()
    assert config.max_position_embeddings == 4096
    assert config.model_type == "qwen2"


@pytest.mark.slow
def test_a_ladder_goes_on_after_its_finished_runs(tmp_path, small_pools, monkeypatch):
    monkeypatch.setattr(ladder, "candidates", lambda: [ladder.Candidate("tiny, 64", TINY)])
    monkeypatch.setattr(ladder, "scores", lambda folder: dict.fromkeys(ladder.LINES, 0.5))
    results = tmp_path / "ladder.csv"
    ladder.climb(tmp_path, results, (2e9,))
    before = results.read_text()
    ladder.climb(tmp_path, results, (2e9, 3e9))
    assert results.read_text().startswith(before)
    assert [row["budget"] for row in ladder.finished(results)] == ["2e+09", "3e+09"]
    assert results.with_suffix(".png").stat().st_size > 0
