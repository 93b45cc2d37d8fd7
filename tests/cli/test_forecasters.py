"""Who forecasts: a rival alone, the ensemble, by the real command."""

import json
from pathlib import Path

import numpy as np
import pytest

from lvlora.evaluation import evaluate, scores
from lvlora.forecast import ensemble
from lvlora.forecast.rivals import LastValue, SeasonalNaive, VectorAutoregression


def quick(season: object = "auto") -> list[object]:
    return [LastValue(), SeasonalNaive(), VectorAutoregression()]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three waves of 30 steps."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(scores, "default_rivals", quick)
    monkeypatch.setattr(ensemble, "default_rivals", quick)
    monkeypatch.setattr(evaluate, "draw_evaluation", lambda *_: [])
    path = tmp_path / "data.csv"
    rows = ["id,time,prey,predator"]
    for k in range(3):
        rows += [
            f"s{k},{t},{5 + np.sin(t / 2 + k):.4f},{7 + np.cos(t / 2 + k):.4f}" for t in range(30)
        ]
    path.write_text("\n".join(rows) + "\n")
    return path


def test_a_rival_needs_no_model_and_spends_nothing(run_lvlora, data, monkeypatch) -> None:
    from lvlora.forecast import verb

    monkeypatch.setattr(verb, "open_forecaster", None)  # not callable: nobody may try
    options = ["--forecaster", "seasonal-naive", "--horizon", "4", "--samples", "9"]
    ran = run_lvlora(["forecast", data, *options, "--json", "--output", "out.csv"], code=0)
    answer = ran.json
    assert answer["model"] is None
    assert answer["forecaster"] == "seasonal naive"
    assert answer["flops"] == {"executed": 0, "coursework": 0}
    assert not Path("runs").exists()
    first = answer["series"][0]
    assert first["scale"] is None
    assert first["time"] == [30, 31, 32, 33]
    of = first["variables"]["prey"]
    assert of["quantiles"]["0.1"][0] < of["quantiles"]["0.9"][0]
    assert Path("out.csv").read_text().count("\n") == 1 + 3 * 4 * 2
    priced = run_lvlora(["forecast", data, *options, "--dry-run", "--json"]).json
    assert priced["flops_at_most"] is None
    one = run_lvlora(["forecast", data, *options, "--greedy", "--json"]).json
    assert one["samples"] == 1
    of = one["series"][0]["variables"]["prey"]
    assert of["median"] == of["quantiles"]["0.9"]


def test_a_rival_beside_the_truth(run_lvlora, data) -> None:
    options = ["--forecaster", "seasonal-naive", "--holdout", "5", "--samples", "9"]
    ran = run_lvlora(["forecast", data, *options, "--json"])
    scores = ran.json["scores"]
    (same,) = [r for r in scores["rivals"] if r["name"] == "seasonal naive"]
    assert scores["mae"] == pytest.approx(same["mae"])
    assert scores["nll"] is None
    assert "nll" not in ran.json["series"][0]
    printed = run_lvlora(["forecast", data, *options])
    assert "Against the 30 values held out" in printed.stdout
    assert "NLL/D" not in printed.stdout


def test_the_ensemble_leans_on_who_was_right(run_lvlora, data, tiny_folder, unbounded) -> None:
    """A random model and the last value know nothing of waves; an autoregression does."""
    options = ["--model", tiny_folder("qwen2"), "--samples", "4", "--views", "1", "--holdout", "4"]
    ran = run_lvlora(["forecast", data, "--forecaster", "auto", *options, "--json"], code=0)
    answer = ran.json
    assert answer["forecaster"] == "auto"
    assert answer["model"]["name"]
    for series in answer["series"]:
        assert sum(series["weights"].values()) == pytest.approx(1)
        assert next(iter(series["weights"])) == "var on logs"
        assert len(series["weights"]) == 4
    assert answer["members"][0]["name"] == "var on logs"
    assert sum(member["weight"] for member in answer["members"]) == pytest.approx(1)
    assert all(member["seconds"] > 0 for member in answer["members"])
    nearest = min(r["mae"] for r in answer["scores"]["rivals"])  # that of the same rival
    assert answer["scores"]["mae"] <= nearest * (1 + 1e-6)
    assert 0 < answer["flops"]["executed"]
    # its past is forecast too, and reserved and charged with it
    plain = run_lvlora(["forecast", data, *options, "--json"], code=0)
    assert answer["flops"]["executed"] > plain.json["flops"]["executed"]
    priced = run_lvlora(["forecast", data, "--forecaster", "auto", *options, "--dry-run", "--json"])
    assert priced.json["flops_at_most"]["executed"] >= answer["flops"]["executed"]
    ledger = run_lvlora(["flops", "--ledger", "--json"]).json
    assert json.dumps(answer["flops"]["executed"]) in json.dumps(ledger)


def test_who_is_slower_than_patience_is_left_out_and_named(run_lvlora, data, tiny_folder) -> None:
    options = ["--model", tiny_folder("qwen2"), "--greedy", "--views", "1", "-n", "2"]
    options = ["forecast", data, "--forecaster", "auto", *options, "--patience", "1e-9"]
    ran = run_lvlora([*options, "--json"], code=0)
    slow = {member["name"] for member in ran.json["members"] if member["weight"] is None}
    assert slow == {"last value", "seasonal naive", "var on logs"}
    assert all(list(series["weights"].values()) == [1.0] for series in ran.json["series"])
    assert "--patience" in run_lvlora(options).stdout


def test_a_rival_that_was_nearer_is_recommended_by_name(run_lvlora, data, tiny_folder) -> None:
    options = ["forecast", data, "--model", tiny_folder("qwen2"), "--holdout", "4", "--greedy"]
    answer = run_lvlora([*options, "--json"]).json["scores"]
    nearest = min(answer["rivals"], key=lambda rival: rival["mase"])
    assert nearest["mase"] < answer["mase"]
    assert answer["nearer"] == nearest["name"]
    word = nearest["name"].replace(" ", "-")
    assert f"--forecaster {word}" in run_lvlora(options).stdout
    options = ["forecast", data, "--forecaster", word, "--holdout", "4", "--greedy", "--json"]
    assert run_lvlora(options).json["scores"]["nearer"] is None
