"""A folder of Parquet files, forecast part by part: here and by the workers of a cluster."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from clusters import losing_a_worker

from lvlora.flops.ledger import Ledger

pytestmark = pytest.mark.usefixtures("few_rivals")
COMMAND = ("forecast", "panel", "--horizon", "4", "--model", "bundled", "--samples", "3")


@pytest.fixture
def panel(tmp_path, monkeypatch):
    """A folder of three parts in the working directory, one of them in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for n, name in enumerate(("a.parquet", "b.parquet", "year=2024/c.parquet")):
        file = Path("panel", name)
        file.parent.mkdir(parents=True, exist_ok=True)
        series = [f"s{n}-{i}" for i in range(2)]
        waves = np.exp(rng.normal(0, 0.2, (2, 24)).cumsum(axis=1))
        times = np.tile(np.arange(24), 2)
        table = {"id": np.repeat(series, 24), "t": times, "y": waves.ravel()}
        pd.DataFrame(table).to_parquet(file, index=False)
    return Path("panel")


def _tables(folder):
    return {p.relative_to(folder): pd.read_parquet(p) for p in sorted(folder.rglob("*.parquet"))}


def _entries():
    with Ledger.for_runs(Path("runs")) as ledger:
        return ledger.rows()


def test_parts_have_the_forecasts_of_their_files(panel, run_lvlora):
    record = run_lvlora([*COMMAND, "--output", "out", "--json"]).json
    tables = _tables(Path("out"))
    assert set(tables) == set(_tables(panel))
    assert (record["parts"], record["parts_kept"], record["series"]) == (3, 0, 6)
    (entry,) = _entries()
    assert entry.status == "settled"
    assert entry.spent.executed == record["flops"]["executed"]
    for name, table in tables.items():
        run_lvlora(["forecast", panel / name, *COMMAND[2:], "--output", "one.csv", "--overwrite"])
        alone = pd.read_csv("one.csv")
        assert np.array_equal(alone["median"], table["median"])


def test_only_what_is_missing_or_has_changed_is_made_again(panel, run_lvlora):
    first = run_lvlora([*COMMAND, "--output", "out", "--json"]).json
    again = run_lvlora([*COMMAND, "--output", "out", "--json"]).json
    assert (again["parts_kept"], again["flops"]["executed"]) == (3, 0)
    assert len(_entries()) == 1
    before = _tables(Path("out"))
    Path("out/b.parquet").unlink()
    other = pd.read_parquet(panel / "a.parquet")
    other["y"] *= 2
    other.to_parquet(panel / "a.parquet", index=False)
    mended = run_lvlora([*COMMAND, "--output", "out", "--json"]).json
    assert (mended["parts_kept"], mended["series"]) == (1, 4)
    assert mended["flops"]["executed"] < first["flops"]["executed"]
    after = _tables(Path("out"))
    pd.testing.assert_frame_equal(after[Path("b.parquet")], before[Path("b.parquet")])
    assert not after[Path("a.parquet")].equals(before[Path("a.parquet")])
    reseeded = run_lvlora([*COMMAND, "--seed", "1", "--output", "out", "--json"]).json
    assert reseeded["parts_kept"] == 0


def test_a_limit_is_for_all_parts_together(panel, run_lvlora):
    price = run_lvlora([*COMMAND, "--output", "out", "--dry-run", "--json"]).json
    bound = price["flops_at_most"]["executed"]
    assert price["n_series"] == 6
    run_lvlora([*COMMAND, "--output", "out", "--max-flops", str(bound - 1)], code=3)
    assert not list(Path("out").rglob("*.parquet"))
    run_lvlora([*COMMAND, "--output", "out", "--max-flops", str(bound)])


def test_a_rival_forecasts_parts_without_a_model(panel, run_lvlora):
    words = ["forecast", panel, "--horizon", "3", "--forecaster", "last-value", "--output", "out"]
    record = run_lvlora([*words, "--json"]).json
    assert record["series"] == 6
    assert not Path("runs").exists() or not _entries()
    assert "6 series" in run_lvlora([*words, "--seed", "1"]).stdout


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ((), "--output"),
        (("--output", "out.csv"), "--output"),
        (("--output", "panel"), "--output"),
        (("--output", "out", "--plot", "p.png"), "--plot"),
        (("--output", "out", "--holdout", "2"), "--holdout"),
        (("--output", "out", "--scheduler", "tcp://127.0.0.1:1"), "--scheduler"),
    ],
)
def test_what_cannot_be_done_is_refused(panel, run_lvlora, monkeypatch, words, named):
    monkeypatch.setattr("lvlora.forecast.workers._WAITING_SECONDS", 1)
    ran = run_lvlora([*COMMAND, *words], code=None)
    assert ran.exit_code in (1, 2)
    assert named in ran.stderr
    assert not list(Path().rglob("out/*.parquet"))


def test_a_scheduler_needs_a_folder(panel, run_lvlora):
    words = ["forecast", panel / "a.parquet", "--scheduler", "tcp://127.0.0.1:1"]
    assert "--scheduler" in run_lvlora(words, code=2).stderr
    Path("empty").mkdir()
    assert "empty" in run_lvlora(["forecast", "empty", "--output", "out"], code=4).stderr


@pytest.mark.slow
def test_workers_of_a_cluster_give_the_same_bits_and_one_may_die(
    panel, run_lvlora, run_lvlora_process
):
    run_lvlora_process([*COMMAND, "--output", "here"], code=0)
    with losing_a_worker() as address:
        words = [*COMMAND, "--output", "there", "--scheduler", address, "--json"]
        record = run_lvlora(words).json
    here, there = _tables(Path("here")), _tables(Path("there"))
    assert list(here) == list(there)
    for name, table in here.items():
        pd.testing.assert_frame_equal(table, there[name], check_exact=True)
    first, second = _entries()
    assert second.spent == first.spent
    assert record["flops"]["executed"] == first.spent.executed
    assert len(json.loads(Path("there/done.json").read_text())) == 3
