"""`lvlora train` on few series: validated by their own last steps, simulated ones mixed in."""

import json
import re
from pathlib import Path

import pytest
import tiny_runs

from lvlora.flops.ledger import Ledger

ROOT = Path(__file__).parents[2]


@pytest.fixture
def place(tmp_path, monkeypatch, tiny_folder):
    """A working directory with one series and with three; the flags of a short run."""
    monkeypatch.chdir(tmp_path)
    tiny_runs.write_csv(tmp_path / "one.csv", tiny_runs.dataset(1, 60))
    tiny_runs.write_csv(tmp_path / "three.csv", tiny_runs.dataset(3, 40, n_variables=1))
    return tiny_runs.flags(tiny_folder("qwen2"), Path("runs"))


def _only_run(runs=Path("runs")):
    (run,) = [p.parent for p in runs.glob("*/config.toml")]
    return run


def test_one_series_is_validated_and_the_end_says_what_came_of_it(run_lvlora, place):
    ran = run_lvlora(["train", "one.csv", *place], code=0)
    assert "Validation is on the last 15 steps of the series, which are not trained on" in (
        ran.stderr
    )
    assert "validation MAE" in ran.stdout
    sentence = r"(within the noise|the MAE) of 6 windows of steps that were not trained on"
    assert re.search(sentence, ran.stderr) or "is no better than the model without it" in ran.stderr
    # without held-out steps there is nothing to choose by
    ran = run_lvlora(
        ["train", "one.csv", *place, *"--validation-steps 0 --max-steps 1 --out whole".split()],
        code=0,
    )
    assert "There are too few series to validate with: the last adapter is the best." in ran.stderr


@pytest.mark.slow
@pytest.mark.parametrize("data", ["one.csv", "three.csv"])
def test_stopped_in_the_middle_it_goes_on_to_the_same_bytes(run_lvlora, place, monkeypatch, data):
    words = [*place, "--mix", "0.4", "--dropout", "0.1"]
    assert run_lvlora(["train", data, *words, "--out", "whole"]).exit_code == 0
    with tiny_runs.stopped_by_a_signal(monkeypatch):
        assert run_lvlora(["train", data, *words]).exit_code == 75
    ran = run_lvlora(["train", "--resume"], code=0)
    run, reference = _only_run(), Path("whole")
    for which in ("adapter", "adapter-last"):
        assert tiny_runs.weights(run, which) == tiny_runs.weights(reference, which)
    results = [
        [r["validation"]["mae"] for r in tiny_runs.metrics(p) if "validation" in r]
        for p in (run, reference)
    ]
    assert results[0] == results[1]
    assert len(results[0]) == 3
    ran = run_lvlora(["train", "--resume", run.name, "--mix", "0.5"], code=2)
    assert "--mix: a run goes on with its own settings (0.4, not 0.5)" in ran.stderr


@pytest.mark.slow
def test_what_was_priced_is_what_is_charged(run_lvlora, place):
    words = ["train", "three.csv", *place, "--mix", "0.5", "--json"]
    plan = run_lvlora([*words, "--dry-run"]).json
    real = run_lvlora(words).json
    assert plan["flops_at_most"] == real["flops_at_most"]
    assert plan["validations"] == real["validations"] == 3
    gain, facts = real["gain"], json.loads((_only_run() / "adapter/lvlora.json").read_text())
    assert (gain["of"], gain["n"], facts["held_out"]) == ("windows", 6, 10)
    decrease = real["zero_shot"]["mae"] - real["validation"]["mae"]
    assert gain["mean"] == pytest.approx(decrease, rel=1e-5)
    for convention, most in plan["flops_at_most"].items():
        assert 0.2 * most < real["flops"][convention] <= most
    with Ledger.for_runs(Path("runs")) as ledger:
        assert ledger.charged().executed == real["flops"]["executed"]
        assert {row.status for row in ledger.rows()} == {"settled"}
    # a limit of exactly that is enough
    run_lvlora([*words, "--max-flops", plan["flops_at_most"]["executed"], "--out", "again"], code=0)


@pytest.mark.slow
def test_mixing_changes_what_is_trained_on_and_not_what_is_scored(run_lvlora, place):
    before = []
    for mix in ("0", "0.5"):
        ran = run_lvlora(
            ["train", "one.csv", *place, "--mix", mix, "--out", f"m{mix}", "--json"], code=0
        )
        before.append(ran.json["zero_shot"])
    assert before[0] == before[1]
    assert tiny_runs.weights(Path("m0")) != tiny_runs.weights(Path("m0.5"))


def test_evaluate_knows_which_series_such_an_adapter_has_seen(run_lvlora, place):
    assert run_lvlora(["train", "three.csv", *place]).exit_code == 0
    options = "--samples 2 --views 1 --no-rivals --dtype float32 --threads 1 --adapter latest"
    scored = ["evaluate", "three.csv", *options.split()]
    for part, seen in (("validation", True), ("test", False)):
        ran = run_lvlora([*scored, "--split", part], code=0)
        assert ("was trained on" in " ".join(ran.stderr.split())) == seen


@pytest.mark.slow
def test_tuning_pays_on_the_sea_surface(run_lvlora, tmp_path, monkeypatch):
    """What the README's first command shows: six months say little of the other six."""
    monkeypatch.chdir(tmp_path)
    data = ROOT / "examples" / "sea_surface.csv"
    ran = run_lvlora(["train", data, "--model", "bundled", "--json"], code=0)
    assert ran.json["validation"]["mae"] < 0.6 * ran.json["zero_shot"]["mae"]
    assert ran.json["gain"]["low"] > 0
