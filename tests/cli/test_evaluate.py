"""`lvlora baseline` and `lvlora evaluate` through the real command."""

import csv
from pathlib import Path

import pytest

RIVALS = (
    "last value", "context mean", "seasonal naive", "context parroting", "var", "ridge",
    "lotka-volterra", "rosenzweig-macarthur", "rounding floor",
)  # fmt: skip


@pytest.fixture
def data(run_lvlora, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "data.h5"
    made = run_lvlora(["simulate", path, "-n", "14", "--n-steps", "30", "--duration", "60"])
    assert made.exit_code == 0, made.stderr
    return path


def test_baseline_has_every_rival_and_the_untrained_model(run_lvlora, data, tiny_folder) -> None:
    ran = run_lvlora(
        ["baseline", data, "--model", tiny_folder("qwen2"), "--context", "15", "--horizon", "5",
         "--samples", "3", "--json", "--output", "table.csv"]
    )  # fmt: skip
    assert ran.exit_code == 0, ran.stderr
    found = ran.json
    names = [f["name"].lower() for f in found["forecasters"]]
    for rival in RIVALS:
        assert any(rival in name for name in names), rival
    assert sum(f["kind"] == "model" for f in found["forecasters"]) == 1
    assert "zero-shot" in names[0]
    assert found["protocol"] == {
        "name": "own", "split": "validation", "context": 15, "horizon": 5, "series": 2,
        "left_out": 0,
    }  # fmt: skip
    floor = next(f for f in found["forecasters"] if f["kind"] == "floor")
    assert all(floor["mae"] <= f["mae"] for f in found["forecasters"] if f["kind"] == "model")
    with Path("table.csv").open() as stream:
        assert [row["name"].lower() for row in csv.DictReader(stream)] == names


def test_the_table_for_people(run_lvlora, data, tiny_folder) -> None:
    ran = run_lvlora(
        ["baseline", data, "--model", tiny_folder("qwen2"), "--context", "15", "--horizon", "5",
         "--greedy", "--no-rivals"]
    )  # fmt: skip
    assert ran.exit_code == 0, ran.stderr
    assert "5 steps from 15" in ran.stdout
    assert "the figures are rough" in ran.stderr


def test_rivals_alone_spend_nothing(run_lvlora, data) -> None:
    ran = run_lvlora(
        ["baseline", data, "--no-model", "--context", "15", "--horizon", "5", "--json"]
    )
    assert ran.exit_code == 0, ran.stderr
    assert all(f["kind"] != "model" for f in ran.json["forecasters"])
    assert not Path("runs").exists()


def test_evaluate_scores_the_newest_run(run_lvlora, data, tiny_folder) -> None:
    trained = run_lvlora(
        ["train", data, "--model", tiny_folder("qwen2"), "--max-steps", "2", "--seq-len", "64",
         "--no-validation", "--threads", "1"]
    )  # fmt: skip
    assert trained.exit_code == 0, trained.stderr
    ran = run_lvlora(
        ["evaluate", data, "--context", "15", "--horizon", "5", "--greedy", "--no-rivals",
         "--no-zero-shot", "--json"]
    )  # fmt: skip
    assert ran.exit_code == 0, ran.stderr
    (entry,) = ran.json["forecasters"]
    assert "zero-shot" not in entry["name"]
    table = run_lvlora(["flops", "--ledger", "--json"]).json
    assert [r["command"] for r in table["runs"]][-1] == "evaluate"
    assert table["runs"][-1]["executed"] == entry["flops"]["executed"]


def test_dry_run_spends_nothing(run_lvlora, data, tiny_folder) -> None:
    args = ["evaluate", data, "--model", tiny_folder("qwen2"), "--adapter", "none",
            "--context", "15", "--horizon", "5", "--samples", "3", "--json"]  # fmt: skip
    planned = run_lvlora([*args, "--dry-run"])
    assert planned.exit_code == 0, planned.stderr
    assert not Path("runs").exists()
    spent = run_lvlora([*args, "--no-rivals"]).json["forecasters"][0]["flops"]
    for convention, most in planned.json["flops_at_most"].items():
        assert 0 < spent[convention] <= most


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["--context", "29", "--horizon", "9"], 4, "no series"),
        (["--no-model", "--no-rivals"], 2, "nothing to score"),
        (["--horizon", "0"], 2, "--horizon"),
        (["--context", "15", "--horizon", "5", "--model", "nonsense"], 4, "nonsense"),
        (["--context", "15", "--horizon", "5", "--adapter", "nonsense"], 4, "nonsense"),
    ],
)
def test_what_cannot_be_scored_is_said(run_lvlora, data, args, code, words) -> None:
    ran = run_lvlora(["evaluate", data, *args])
    assert ran.exit_code == code
    assert words in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_budget_is_kept(run_lvlora, data, tiny_folder) -> None:
    ran = run_lvlora(
        ["baseline", data, "--model", tiny_folder("qwen2"), "--context", "15", "--horizon", "5",
         "--max-flops", "1000"]
    )  # fmt: skip
    assert ran.exit_code == 3
    assert "1,000" in ran.stderr


def test_what_was_spent_says_on_what(run_lvlora, data, tiny_folder) -> None:
    from lvlora.flops.ledger import Ledger

    args = ["baseline", data, "--model", tiny_folder("qwen2"), "--context", "15", "--horizon", "5",
            "--no-rivals"]  # fmt: skip
    for more in (["--greedy"], ["--greedy", "--output", "t.csv"], ["--samples", "2"]):
        assert run_lvlora([*args, *more]).exit_code == 0
    with Ledger.for_runs(Path("runs")) as ledger:
        greedy, again, sampled = ledger.rows()
    assert greedy.settings_hash == again.settings_hash != sampled.settings_hash
    assert len(greedy.settings_hash) == 64
    assert greedy.model_hash == sampled.model_hash != ""
    # two histories of 15 steps and two futures of 5, at least ten symbols a step
    assert greedy.tokens_useful >= 2 * 20 * 10
    assert sampled.tokens_useful > greedy.tokens_useful
