"""`lvlora evaluate` through the real command: which models, their prices, their folder."""

import csv
import json
import shutil
from pathlib import Path

import pytest

from lvlora.evaluation import scores
from lvlora.forecast.rivals import lotka_volterra

STEPS = ["--context", "15", "--horizon", "5"]
SHORT = [*STEPS, "--samples", "3", "--workers", "1"]


def ledger_rows() -> int:
    from lvlora.flops.ledger import Ledger

    with Ledger.for_runs(Path("runs")) as ledger:
        return len(ledger.rows())


def test_evaluate_scores_the_newest_run(run_lvlora, data, runs, made_figures) -> None:
    training = json.loads(Path("runs/rank-2/adapter/lvlora.json").read_text())["flops"]
    args = ["evaluate", data, *STEPS, "--greedy", "--no-rivals"]
    ran = run_lvlora([*args, "--no-zero-shot", "--json"], code=0)
    (entry,) = ran.json["forecasters"]
    assert entry["name"].endswith("rank-2")
    table = run_lvlora(["flops", "--ledger", "--json"]).json
    assert [r["command"] for r in table["runs"]][-1] == "evaluate"
    assert table["runs"][-1]["executed"] == entry["flops"]["executed"]
    # what the adapter cost stands beside what it is worth
    assert entry["training_flops"] == training
    run_lvlora([*args, "--output", "table.csv"])
    with open("table.csv", encoding="utf-8") as file:
        costs = [int(row["training_flops_executed"]) for row in csv.DictReader(file)]
    assert costs == [training["executed"], 0]
    (figure,) = Path("runs").glob("evaluation-*/figures/cost-training.svg")
    assert "FLOPs of the adapter" in figure.read_text(encoding="utf-8")


def test_an_adapter_from_elsewhere_has_no_known_price(run_lvlora, data, runs, tiny_folder) -> None:
    Path("runs/rank-1/adapter/lvlora.json").unlink()  # as peft writes one
    args = ["evaluate", data, "--model", tiny_folder("qwen2"), "--adapter", "runs/rank-1/adapter"]
    args += [*STEPS, "--greedy", "--no-rivals", "--decimals", "2", "--json"]
    ran = run_lvlora(args, code=0)
    tuned, alone = ran.json["forecasters"]
    assert tuned["training_flops"] is None
    assert alone["training_flops"] == {"executed": 0, "coursework": 0}


def test_dry_run_spends_nothing(run_lvlora, data, tiny_folder, monkeypatch) -> None:
    monkeypatch.setattr(scores, "default_rivals", lambda season: [lotka_volterra()])
    args = ["evaluate", data, "--model", tiny_folder("qwen2"), "--adapter", "none"]
    args += [*STEPS, "--samples", "3", "--json"]
    planned = run_lvlora([*args, "--dry-run"], code=0)
    assert not Path("runs").exists()
    with_rivals = planned.json["estimate"]["seconds"]
    alone = run_lvlora([*args, "--no-rivals", "--dry-run"]).json["estimate"]
    assert 0 < alone["seconds"] < with_rivals
    assert alone["probe_flops"]["executed"] > 0
    spent = run_lvlora([*args, "--no-rivals"]).json["forecasters"][0]["flops"]
    for convention, most in planned.json["flops_at_most"].items():
        assert 0 < spent[convention] <= most


def test_a_refusal_leaves_nothing_behind(run_lvlora, data, tiny_folder) -> None:
    request = ["evaluate", data, "--model", tiny_folder("qwen2"), "--adapter", "none", *SHORT]
    request += ["--no-rivals", "--out", "here"]
    assert run_lvlora([*request, "--max-flops", "1000"]).exit_code == 3
    assert not Path("here").exists()
    assert not Path("runs/ledger.sqlite").exists()
    assert run_lvlora(request).exit_code == 0
    before = {path: path.read_bytes() for path in Path("here").rglob("*") if path.is_file()}
    assert run_lvlora([*request, "--fresh", "--max-flops", "1000"]).exit_code == 3
    after = {path: path.read_bytes() for path in Path("here").rglob("*") if path.is_file()}
    assert after == before


def test_several_adapters_their_base_and_the_rivals(run_lvlora, data, runs) -> None:
    args = ["evaluate", data, *SHORT, "--adapter", runs[0], "--json"]
    one = run_lvlora(args, code=0)
    spent = ledger_rows()
    both = run_lvlora([*args, "--adapter", "runs/rank-2"], code=0)
    forecasters = {f["name"]: f for f in both.json["forecasters"]}
    models = [name for name, f in forecasters.items() if f["kind"] == "model"]
    assert [m.rpartition(" ")[2] for m in models] == ["rank-1", "rank-2", "zero-shot"]
    for name, facts in forecasters.items():
        assert set(facts["mae_minus"]) == set(models) - {name}
        for other, gap in facts["mae_minus"].items():
            assert gap["mean"] == pytest.approx(facts["mae"] - forecasters[other]["mae"])
        assert set(facts["per_cluster"]) == {c["name"] for c in both.json["clusters"]}
        assert len(facts["mae_by_step"]) == 5
    assert set(forecasters[models[0]]["coverage"]) == {"0.8"}
    # the second evaluation found the first one's adapter, base and rivals done
    assert ledger_rows() == spent + 1
    assert one.json["folder"] == both.json["folder"]
    before = {f["name"]: f for f in one.json["forecasters"]}
    for name, facts in before.items():
        assert forecasters[name]["mae"] == facts["mae"], name
        assert forecasters[name]["flops"] == facts["flops"], name


def test_the_folder_of_an_evaluation(run_lvlora, data, runs, made_figures) -> None:
    args = ["evaluate", data, *SHORT, "--adapter", runs[0], "--out", "runs/here", "--json"]
    ran = run_lvlora(args, code=0)
    assert {*ran.json["files"]} >= {"runs/here/figures/forecasts.svg"} | {
        f"runs/here/{name}"
        for name in "evaluation.json table.csv series.csv report.html split.json".split()
    }
    with Path("runs/here/table.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    facts = {f["name"]: f for f in ran.json["forecasters"]}
    for row in rows:
        assert float(row["mae"]) == pytest.approx(facts[row["name"]]["mae"], rel=1e-9)
        prey = facts[row["name"]]["per_variable"]["mae"][0]
        assert float(row["mae_prey"]) == pytest.approx(prey, rel=1e-9)
    with Path("runs/here/series.csv").open() as stream:
        series = list(csv.DictReader(stream))
    assert len(series) == 2
    mean = sum(float(s["last value"]) for s in series) / 2
    assert mean == pytest.approx(facts["last value"]["mae"], rel=1e-9)
    record = json.loads(Path("runs/here/evaluation.json").read_text())
    assert {s["id"] for s in record["drawn"]["series"]} == {s["id"] for s in series}
    page = Path("runs/here/report.html")
    before = page.read_bytes()
    page.unlink()
    report = run_lvlora(["report", "--json"], code=0)  # it is newer than the runs
    assert report.json["evaluation"] == "here"
    assert page.read_bytes() == before
    # the same command again has nothing to do, and says the same
    spent = ledger_rows()
    again = run_lvlora(args, code=0)
    assert "finished before" in again.stderr
    assert ledger_rows() == spent
    assert again.json["forecasters"] == ran.json["forecasters"]
    assert page.read_bytes()[:500] == before[:500]
    # another evaluation is not written over it, unless that is asked for
    other = [*args[:2], "--context", "10", *args[4:]]
    refused = run_lvlora(other, code=2)
    assert "holds the evaluation of something else" in refused.stderr
    assert run_lvlora([*other, "--fresh", "--dry-run"]).exit_code == 0
    Path("full").mkdir()
    Path("full/precious.txt").write_text("not an evaluation")
    refused = run_lvlora([*args, "--out", "full"], code=2)
    assert "holds no evaluation" in refused.stderr


def test_a_limit_is_that_of_all_models_together(run_lvlora, data, runs) -> None:
    args = ["evaluate", data, *SHORT, "--adapter", runs[0], "--no-rivals", "--json"]
    price = run_lvlora([*args, "--dry-run"]).json
    first = next(iter(price["forecasters"].values()))["executed"]
    assert first < price["flops_at_most"]["executed"]
    run_lvlora([*args, "--max-flops", str(first)], code=3)
    # what was bought is kept
    run_lvlora([*args, "--max-flops", str(first)], code=0)


def test_a_model_that_saw_what_is_scored_is_told_of(run_lvlora, data, runs) -> None:
    args = ["evaluate", data, *SHORT, "--no-zero-shot", "--adapter", runs[0], "--dry-run"]
    assert "has seen some of the series" in run_lvlora([*args, "--split-seed", "1"]).stderr
    heard = run_lvlora([*args, "--split", "all"]).stderr
    assert "was trained on" in " ".join(heard.split())
    heard = run_lvlora(args).stderr
    assert "trained on" not in heard


def test_the_test_part_is_for_evaluate_alone(run_lvlora, data) -> None:
    run_lvlora(["baseline", data, "--split", "test"], code=2)
    ran = run_lvlora(
        ["evaluate", data, *SHORT, "--no-model", "--split", "test", "--json", "--out", "final"],
        code=0,
    )
    assert "choose nothing" in ran.stderr
    assert ran.json["protocol"]["split"] == "test"


def test_two_adapters_of_the_same_name_are_told_apart(run_lvlora, data, runs, tmp_path) -> None:
    shutil.copytree("runs/rank-1/adapter", tmp_path / "a" / "best")
    shutil.copytree("runs/rank-2/adapter", tmp_path / "b" / "best")
    args = ["evaluate", data, *SHORT, "--greedy", "--no-rivals", "--no-zero-shot", "--json"]
    named = [word for name in ("a/best", "b/best", "a/best") for word in ("--adapter", name)]
    ran = run_lvlora([*args, *named], code=0)
    names = [f["name"].rpartition(" ")[2] for f in ran.json["forecasters"]]
    assert names == ["best", "b/best"]


@pytest.mark.slow
def test_killed_it_goes_on_to_the_same_table(run_lvlora, data, tmp_path, every_rival) -> None:
    """SIGKILL among the series of a slow rival; what is finished is not done again."""
    import os
    import signal
    import subprocess
    import sys
    import time

    args = ["evaluate", "data.h5", "--no-model", "--split", "all", "--context", "20"]
    args += ["--horizon", "5", "--workers", "1", "--json", "--out"]
    reference = run_lvlora([*args, "whole"], code=0)
    process = subprocess.Popen(
        [sys.executable, "-m", "lvlora", *args, "killed"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    pattern = "killed/forecasts/lotka-volterra-fit-*.jsonl"
    for _ in range(3600):
        file = next(tmp_path.glob(pattern), None)
        if file is not None and len(file.read_text().splitlines()) > 4:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed" / "evaluation.json").exists()
    assert file is not None
    saved = file.read_text().splitlines()
    saved = saved if file.read_text().endswith("\n") else saved[:-1]
    assert 3 < len(saved)
    ran = run_lvlora([*args, "killed"], code=0)
    assert file.read_text().splitlines()[: len(saved)] == saved
    for mine, theirs in zip(ran.json["forecasters"], reference.json["forecasters"], strict=True):
        for fact in ("name", "mae", "crps", "mae_by_step"):
            assert mine[fact] == theirs[fact], (mine["name"], fact)
