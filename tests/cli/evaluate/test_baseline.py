"""`lvlora baseline` through the real command: tables, rivals, what is spent, protocols."""

import csv
from pathlib import Path

import pytest

STEPS = ["--context", "15", "--horizon", "5"]
RIVALS = (
    "last value",
    "context mean",
    "context parroting",
    "var",
    "exponential smoothing",
    "gompertz",
    "lotka-volterra",
    "rosenzweig-macarthur",
    "rounding floor",
)


@pytest.mark.slow
def test_baseline_has_every_rival_and_the_untrained_model(
    run_lvlora, data, tiny_folder, every_rival
) -> None:
    args = ["baseline", data, "--model", tiny_folder("qwen2"), *STEPS, "--samples", "3"]
    ran = run_lvlora([*args, "--limit", "1", "--json", "--output", "table.csv"], code=0)
    answer = ran.json
    names = [f["name"].lower() for f in answer["forecasters"]]
    for rival in RIVALS:
        assert any(rival in name for name in names), rival
    # three steps of no season: who needs one is left out and named
    assert "seasonal naive" not in names
    assert "seasonal naive" in ran.stderr
    assert sum(f["kind"] == "model" for f in answer["forecasters"]) == 1
    assert "zero-shot" in names[0]
    assert answer["protocol"] == {
        "name": "own",
        "split": "validation",
        "context": 15,
        "horizon": 5,
        "series": 1,
        "left_out": 0,
        "disturbance": None,
        "seen": None,
        "mase_season": "none",
    }
    floor = next(f for f in answer["forecasters"] if f["kind"] == "floor")
    assert all(floor["mae"] <= f["mae"] for f in answer["forecasters"] if f["kind"] == "model")
    with Path("table.csv").open() as stream:
        assert [row["name"].lower() for row in csv.DictReader(stream)] == names


def test_the_table_goes_to_standard_output(run_lvlora, data) -> None:
    ran = run_lvlora(
        ["baseline", data, "--no-model", *STEPS, "--limit", "1", "--output", "-"], code=0
    )
    rows = list(csv.DictReader(ran.stdout.splitlines()))
    assert {"rounding floor", "last value"} <= {row["name"] for row in rows}
    assert not Path("-").exists()


def test_rivals_alone_spend_nothing(run_lvlora, data) -> None:
    ran = run_lvlora(["baseline", data, "--no-model", *STEPS, "--json"], code=0)
    assert all(f["kind"] != "model" for f in ran.json["forecasters"])
    assert not Path("runs").exists()


def test_a_budget_is_kept(run_lvlora, data, tiny_folder) -> None:
    args = ["baseline", data, "--model", tiny_folder("qwen2"), *STEPS]
    ran = run_lvlora([*args, "--max-flops", "1000"], code=3)
    assert "1,000" in ran.stderr


def test_what_was_spent_says_on_what(run_lvlora, data, tiny_folder) -> None:
    from lvlora.flops.ledger import Ledger

    args = ["baseline", data, "--model", tiny_folder("qwen2"), *STEPS, "--no-rivals"]
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


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ([], ("A", 50, 50)),
        (["--protocol", "B"], ("B", 80, 20)),
        (["--context", "80", "--horizon", "20"], ("B", 80, 20)),
        (["--protocol", "B", "--horizon", "5"], ("own", 80, 5)),
    ],
)
def test_protocols(run_lvlora, tmp_path, args, expected) -> None:
    run_lvlora(["simulate", tmp_path / "long.h5", "-n", "8"], code=0)
    ran = run_lvlora(
        ["baseline", tmp_path / "long.h5", "--no-model", "--limit", "1", "--json", *args], code=0
    )
    protocol = ran.json["protocol"]
    assert (protocol["name"], protocol["context"], protocol["horizon"]) == expected
