"""`lvlora forecast --density` as a user meets it."""

import csv
import io
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import tiny_runs
from safetensors.torch import load_file, save_file

from lvlora.flops.ledger import Ledger


@pytest.fixture
def words(tmp_path, monkeypatch, tiny_folder):
    monkeypatch.chdir(tmp_path)
    tiny_runs.write_csv(tmp_path / "data.csv", tiny_runs.dataset(2, n_steps=8))
    return ["forecast", "data.csv", *tiny_runs.quick(tiny_folder("qwen2")), "--density"]


def test_json_holds_the_whole_distribution(run_lvlora, words):
    ran = run_lvlora(
        [*words, "--json", "--density-floor", "1e-3", "--quantiles", "0.5,0.99"], code=0
    )
    found = ran.json
    assert [s["id"] for s in found["series"]] == ["s0", "s1"]
    for series in found["series"]:
        assert series["time"] == 8
        prey, predator = series["variables"]["prey"], series["variables"]["predator"]
        assert prey["given"] == {}
        assert predator["given"] == {"prey": prey["mode"]}
        for one in (prey, predator):
            total = sum(one["probabilities"]) + one["remainder"]
            assert total == pytest.approx(1, abs=1e-9)
            assert one["densities"][3] * one["width"] == pytest.approx(one["probabilities"][3])
            assert one["values"] == sorted(one["values"])
            assert one["quantiles"]["0.5"] <= one["quantiles"]["0.99"]
            assert one["mode"] == one["values"][int(np.argmax(one["probabilities"]))]
    with Ledger.for_runs(Path("runs")) as ledger:
        (row,) = ledger.rows()
    assert row.spent.executed == found["flops"]["executed"] > 0
    planned = run_lvlora([*words, "--json", "--density-floor", "1e-3", "--dry-run"])
    for convention, most in planned.json["flops_at_most"].items():
        assert found["flops"][convention] <= most


def test_csv_has_a_row_a_value(run_lvlora, words):
    ran = run_lvlora([*words, "--series", "s1", "-o", "-", "-q"], code=0)
    rows = list(csv.DictReader(io.StringIO(ran.stdout)))
    assert list(rows[0]) == ["id", "time", "variable", "value", "width", "probability", "density"]
    for name in ("prey", "predator"):
        mass = sum(float(r["probability"]) for r in rows if r["variable"] == name)
        assert 0.9 < mass < 1 + 1e-9
    assert run_lvlora([*words, "--series", "s1", "-o", "d.csv"]).exit_code == 0
    assert Path("d.csv").read_text() == ran.stdout


def test_a_histogram_for_people(run_lvlora, words):
    ran = run_lvlora([*words, "--series", "s0"], code=0)
    assert "prey at 8" in ran.stdout
    assert "predator at 8, given prey = " in ran.stdout
    assert "█" in ran.stdout
    assert "not listed" in ran.stdout
    assert max(map(len, ran.stdout.splitlines()[:18])) <= 80


@pytest.mark.parametrize(
    ("given", "option"),
    [
        (["--horizon", "2"], "--horizon"),
        (["--holdout", "2"], "--holdout"),
        (["--plot", "p.png"], "--plot"),
        (["--samples-out", "s.csv"], "--samples-out"),
        (["--calibrated"], "--calibrated"),
        (["--greedy"], "--greedy"),
    ],
)
def test_it_draws_no_futures(run_lvlora, words, given, option):
    ran = run_lvlora([*words, *given], code=2)
    assert f"--density and {option}" in ran.stderr
    assert not Path("runs").exists()


def test_nearly_uniform_digits_end_after_the_calls_that_were_told(
    run_lvlora, words, tiny_folder, tmp_path
):
    """Ten thousand branches hold the floor, and none is better than another."""
    model = shutil.copytree(tiny_folder("llama"), tmp_path / "uniform")
    tensors = load_file(model / "model.safetensors")
    tensors["lm_head.weight"] = 1e-3 * tensors["lm_head.weight"]
    save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})
    words = [*words, "--model", model, "--decimals", "3", "--series", "s0"]
    begun = time.monotonic()
    ran = run_lvlora([*words, "--json", "--density-calls", "5"], code=0)
    assert time.monotonic() - begun < 30  # a busy machine; all branches take minutes
    assert "At most 5 calls of the model for each of 2 values" in ran.stderr
    assert "2 of 2 distributions were not walked to their end" in ran.stderr
    for one in ran.json["series"][0]["variables"].values():
        total = sum(one["probabilities"]) + one["remainder"]
        assert total == pytest.approx(1, abs=1e-9)
        assert 0.5 < one["cut"] <= one["remainder"]
    assert ran.json["density_calls"] == 5
    ran = run_lvlora([*words, "--density-calls", "1"], code=0)
    assert "not listed" in ran.stdout
