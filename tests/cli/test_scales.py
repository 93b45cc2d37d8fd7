"""Small variables, levels far from their spread, signs, decimals: through the real commands."""

import json
from pathlib import Path

import numpy as np
import pytest
import tiny_runs

import lvlora
from lvlora.data.dataset import Dataset, Series

NAMES = ("platelets", "temperature", "change")


@pytest.fixture
def patients(tmp_path, monkeypatch):
    """A large variable, one near 37 all the time, and a signed one."""
    monkeypatch.chdir(tmp_path)
    rng, series = np.random.default_rng(0), []
    for i in range(8):
        time = np.arange(14.0)
        waves = np.sin(time[:, None] / rng.uniform(1, 3) + rng.uniform(0, 6, 3))
        values = np.array([2.5e5, 37.0, 0.0]) + waves * np.array([8e4, 0.3, 2.0])
        series.append(Series(f"p{i}", time, values))
    return tiny_runs.write_csv(Path("patients.csv"), Dataset(tuple(series), NAMES, "patients"))


SCORED = ["--context", "8", "--horizon", "3", "--limit", "1", "--no-rivals"]


def words(folder):
    return ["--model", str(folder), "--dtype", "float32", "--threads", "1", "--samples", "6"]


def test_no_variable_is_erased(run_lvlora, patients, tiny_folder):
    model = tiny_folder("qwen2")
    answer = run_lvlora(["tokenize", patients, "--model", str(model), "--json"], code=0)
    scale = answer.json["scale"]
    assert len(set(scale["divisors"])) == 3
    assert scale["offsets"][0] == scale["offsets"][2] == 0
    assert 35 < scale["offsets"][1] < 37
    assert max(scale["lost"]) < 0.01
    assert "loses" not in answer.stderr
    steps = answer.json["series"][0]["text"].split(";")[:-1]
    assert len({step.split(",")[1] for step in steps}) == len(steps)  # the temperature moves

    flags = tiny_runs.flags(model, Path("runs"), decimals=2, seq_len=64, max_steps=2)
    ran = run_lvlora(["train", patients, *flags], code=0)
    assert "loses" not in ran.stderr
    run = Path("runs") / Path("runs/latest").read_text().strip()
    stored = json.loads((run / "adapter/lvlora.json").read_text())["scale"]
    for adapter in ("latest", "none"):
        how = ["--adapter", adapter, "--horizon", "4", "--series", "p0,p1,p2", "--json"]
        ran = run_lvlora(["forecast", patients, *words(model), *how], code=0)
        for one in ran.json["series"]:
            quantiles = {
                name: np.array(v["quantiles"]["0.5"]) for name, v in one["variables"].items()
            }
            # random weights write any digits, but around the level and not around 0
            assert (quantiles["temperature"] > 30).all()
            assert (quantiles["platelets"] >= 0).all()
            if adapter == "latest":
                assert one["scale"] == stored
    signs = np.array([one["variables"]["change"]["quantiles"]["0.1"] for one in ran.json["series"]])
    assert (signs < 0).any()


def test_what_the_text_loses_is_said_with_figures(run_lvlora, patients, tiny_folder):
    model = tiny_folder("qwen2")
    warning = "With 0 decimals the text loses"
    plain = [*words(model), "--adapter", "none", "--decimals", "0"]
    for command in (
        ["tokenize", patients, "--model", str(model), "--decimals", "0"],
        ["forecast", patients, *plain, "--series", "p0"],
        ["evaluate", patients, *plain, *SCORED],
        ["train", patients, *tiny_runs.flags(model, Path("runs"), decimals=0, max_steps=1)],
    ):
        ran = run_lvlora(command, code=0)
        message = " ".join(ran.stderr.split())
        assert message.count(f"Warning: {warning}") == 1, command[0]
        assert "% of the spread of temperature" in message


@pytest.mark.slow
def test_other_decimals_than_the_model_was_made_for_are_warned_of(
    run_lvlora, tmp_path, monkeypatch, tiny_folder, unbounded
):
    monkeypatch.chdir(tmp_path)
    data = tiny_runs.write_csv(Path("data.csv"), tiny_runs.dataset())
    short = ["--threads", "1", "--dtype", "float32", "--samples", "2"]
    bundled = ["forecast", data, "--model", "bundled", "--adapter", "none", "--horizon", "1"]
    ran = run_lvlora([*bundled, *short, "--series", "s0", "--decimals", "4"], code=0)
    assert "was made for 2 decimals" in " ".join(ran.stderr.split())
    ran = run_lvlora([*bundled, *short, "--series", "s0"])
    assert "was made for" not in ran.stderr

    model = tiny_folder("qwen2")
    assert run_lvlora(["train", data, *tiny_runs.flags(model, Path("runs"))]).exit_code == 0
    arguments = ["evaluate", data, *words(model), *SCORED]
    ran = run_lvlora([*arguments, "--no-zero-shot", "--decimals", "4"])
    assert "was made for 1 decimals" in " ".join(ran.stderr.split())
    ran = run_lvlora([*arguments, "--no-zero-shot"], code=0)
    assert "was made for" not in ran.stderr
    ran = run_lvlora(f"train {data} --model bundled --decimals 4 --max-steps 1 --dry-run".split())
    assert "must learn to write" in " ".join(ran.stderr.split())


def test_evaluate_forecast_and_python_forecast_the_same(
    run_lvlora, tmp_path, monkeypatch, tiny_folder
):
    """Without an adapter and with one: the same series, steps, seed."""
    monkeypatch.chdir(tmp_path)
    data = tiny_runs.write_csv(Path("data.csv"), tiny_runs.dataset(8, n_steps=12))
    model = tiny_folder("qwen2")
    assert run_lvlora(["train", data, *tiny_runs.flags(model, Path("runs"))]).exit_code == 0
    arguments = [*words(model), "--decimals", "1", "--seed", "3"]
    for adapter in ("latest", "none"):
        scored = "--no-zero-shot --no-rivals --split all --context 9 --horizon 3 --json".split()
        ran = run_lvlora(
            ["evaluate", data, *arguments, "--adapter", adapter, "--out", adapter, *scored], code=0
        )
        mae = ran.json["forecasters"][0]["mae"]
        ran = run_lvlora(
            ["forecast", data, *arguments, "--adapter", adapter, "--holdout", "3", "--json"], code=0
        )
        assert ran.json["scores"]["mae"] == pytest.approx(mae, rel=1e-12)
        forecaster = lvlora.open_model(str(model), adapter, decimals=1, dtype="float32")
        protocol = {"split": "all", "context": 9, "horizon": 3, "rivals": False}
        (entry,) = lvlora.evaluate(lvlora.read(data), forecaster, **protocol, samples=6, seed=3)
        assert entry.mae == pytest.approx(mae, rel=1e-12)


def test_an_adapter_made_at_scales_of_histories_reads_each_at_its_own(
    run_lvlora, tmp_path, monkeypatch, tiny_folder
):
    """Series of very different size: one scale for all would round the small ones away."""
    monkeypatch.chdir(tmp_path)
    data = tiny_runs.dataset()
    sizes = [10.0 ** (i % 5) for i in range(len(data))]
    series = [Series(s.id, s.time, s.values * size) for s, size in zip(data, sizes, strict=True)]
    tiny_runs.write_csv(Path("sizes.csv"), Dataset(tuple(series), data.variables, "sizes"))
    model = tiny_folder("qwen2")
    flags = tiny_runs.flags(model, Path("runs"), decimals=2, seq_len=64, max_steps=4)
    for scaling in ("dataset", "history"):
        run_lvlora(["train", "sizes.csv", *flags, "--scaling", scaling], code=0)
        run = Path("runs") / Path("runs/latest").read_text().strip()
        stored = json.loads((run / "adapter/lvlora.json").read_text())["scale"]
        assert (stored is None) == (scaling == "history")
        options = [*words(model), "--adapter", run, *"--horizon 3 --series s0,s4 --json".split()]
        answer = run_lvlora(["forecast", "sizes.csv", *options], code=0)
        scales = [one["scale"] for one in answer.json["series"]]
        assert all(one["rule"] != "dataset" for one in scales) == (scaling == "history")
        if scaling == "history":
            tops = [
                np.abs(s.values).max() / one["divisors"][0]
                for s, one in zip((series[0], series[4]), scales, strict=True)
            ]
            assert np.allclose(tops, 5)
