"""Forecasters scored on a folder of Parquet files, each part as a file of its own."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from clusters import losing_a_worker

from lvlora.flops.ledger import Ledger

COMMAND = ("evaluate", "panel", "--holdout", "4", "--split", "all", "--adapter", "none")
MODEL = ("--model", "bundled", "--samples", "3", "--no-rivals")


@pytest.fixture
def panel(tmp_path, monkeypatch):
    """A folder of three parts in the working directory, one of them in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for n, name in enumerate(("a.parquet", "b.parquet", "year=2024/c.parquet")):
        file = Path("panel", name)
        file.parent.mkdir(parents=True, exist_ok=True)
        series = [f"s{n}-{i}" for i in range(n + 1)]
        waves = np.exp(rng.normal(0, 0.2, (n + 1, 24)).cumsum(axis=1))
        times = np.tile(np.arange(24), n + 1)
        table = {"id": np.repeat(series, 24), "t": times, "y": waves.ravel()}
        pd.DataFrame(table).to_parquet(file, index=False)
    return Path("panel")


def _record(part):
    return json.loads(Path(part, "evaluation.json").read_text())


def _entries():
    with Ledger.for_runs(Path("runs")) as ledger:
        return ledger.rows()


def test_parts_have_the_scores_of_their_files(panel, run_lvlora):
    record = run_lvlora([*COMMAND, *MODEL, "--out", "out", "--json"], code=0).json
    assert (record["parts"], record["parts_kept"], record["series"]) == (3, 0, 6)
    maes = []
    for name in ("a", "b", "year=2024/c"):
        words = ["evaluate", panel / f"{name}.parquet", *COMMAND[2:], *MODEL, "--out", "one"]
        alone = run_lvlora([*words, "--fresh", "--json"], code=0).json
        part = _record(Path("out", name))
        assert part["forecasters"][0]["mae"] == alone["forecasters"][0]["mae"]
        maes.append(part["forecasters"][0]["mae"])
    (model,) = record["forecasters"]
    assert model["mae"] == pytest.approx(np.average(maes, weights=[1, 2, 3]))
    assert pd.read_csv("out/table.csv")["mae"][0] == model["mae"]
    entry = next(e for e in _entries() if e.spent.executed == record["flops"]["executed"])
    assert entry.status == "settled"
    # a part's page is drawn when somebody asks for it
    assert not list(Path("out").rglob("report.html"))
    run_lvlora(["report", "out/a"], code=0)
    assert Path("out/a/report.html").is_file()


def test_only_what_is_missing_or_has_changed_is_made_again(panel, run_lvlora):
    words = [*COMMAND, *MODEL, "--out", "out", "--json"]
    first = run_lvlora(words, code=0).json
    again = run_lvlora(words, code=0).json
    assert (again["parts_kept"], again["flops"]["executed"]) == (3, 0)
    assert again["forecasters"] == first["forecasters"]
    other = pd.read_parquet(panel / "a.parquet")
    other["y"] *= 2
    other.to_parquet(panel / "a.parquet", index=False)
    assert run_lvlora(words, code=0).json["parts_kept"] == 2
    assert run_lvlora([*words, "--fresh"], code=0).json["parts_kept"] == 0


def test_a_limit_is_for_all_parts_together(panel, run_lvlora):
    words = [*COMMAND, *MODEL, "--out", "out"]
    price = run_lvlora([*words, "--dry-run", "--json"], code=0).json
    assert price["n_series"] == 6
    bound = price["flops_at_most"]["executed"]
    run_lvlora([*words, "--max-flops", str(bound - 1)], code=3)
    assert not list(Path("out").rglob("evaluation.json"))
    run_lvlora([*words, "--max-flops", str(bound)], code=0)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ((), "--out"),
        (("--out", "panel"), "--out"),
        (("--out", "out", "--output", "table.csv"), "--output"),
        (("--out", "out", "--scheduler", "tcp://127.0.0.1:1"), "--scheduler"),
    ],
)
def test_what_cannot_be_done_is_refused(panel, run_lvlora, monkeypatch, words, named):
    monkeypatch.setattr("lvlora.forecast.workers._WAITING_SECONDS", 1)
    ran = run_lvlora([*COMMAND, *MODEL, *words], code=None)
    assert ran.exit_code in (1, 2)
    assert named in ran.stderr
    assert not list(Path().rglob("evaluation.json"))


def test_a_scheduler_needs_a_folder(panel, run_lvlora):
    words = ["evaluate", panel / "a.parquet", "--scheduler", "tcp://127.0.0.1:1"]
    assert "--scheduler" in run_lvlora(words, code=2).stderr


@pytest.mark.slow
def test_workers_of_a_cluster_give_the_same_bits_and_one_may_die(
    panel, run_lvlora, run_lvlora_process
):
    words = [*COMMAND, *MODEL, "--json", "--out"]
    here = json.loads(run_lvlora_process([*words, "here"], code=0).stdout)
    with losing_a_worker() as address:
        there = run_lvlora([*words, "there", "--scheduler", address], code=0).json
    for row in (*here["forecasters"], *there["forecasters"]):
        del row["seconds"]
    assert there["forecasters"] == here["forecasters"]
    assert there["flops"] == here["flops"]
    first, second = _entries()
    assert second.spent == first.spent
