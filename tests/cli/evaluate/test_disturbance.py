"""What if the data were noisier? Through the real command."""

import json
from pathlib import Path

import pytest


def _record(run_lvlora, *more):
    """What an evaluation of one short series says, and its record."""
    out = "e" + "".join(more)[:12]
    words = ["evaluate", "data.csv", "--no-model", "--split", "all", "--context", "12"]
    words += ["--horizon", "4", "--limit", "1", "--workers", "1", "--out", out]
    ran = run_lvlora([*words, *more], code=0)
    record = json.loads(Path(out, "evaluation.json").read_text())
    rows = {f["name"]: f for f in record["forecasters"]}
    return ran, record, rows["last value"]


def test_poorer_histories_are_seen_and_the_truth_is_scored(run_lvlora, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_lvlora(["simulate", "data.csv", "-n", "3", "--n-steps", "16"]).exit_code == 0
    _, clean, clean_row = _record(run_lvlora)
    assert clean["protocol"]["disturbance"] is None
    ran, noisy, noisy_row = _record(run_lvlora, "--history-noise", "0.3", "--history-gaps", "0.2")
    seen = "30 % noise, 20 % of the values missing"
    assert f"Forecasters see: {seen}; what is scored is as" in ran.stderr
    assert f"; histories: {seen}" in ran.stdout
    assert noisy["protocol"]["disturbance"]["noise"] == 0.3
    assert noisy["drawn"]["series"][0]["truth"] == clean["drawn"]["series"][0]["truth"]
    assert noisy_row["mae"] != clean_row["mae"]
    # errors are scaled by the history as it is
    for v in range(2):
        scales = [
            r["per_variable"]["mae"][v] / r["per_variable"]["mase"][v]
            for r in (clean_row, noisy_row)
        ]
        assert scales[0] == pytest.approx(scales[1])


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        (["--history-gaps", "1"], 2, "less than 1"),
        (["--history-noise", "-1"], 2, "0"),
    ],
)
def test_histories_that_cannot_be_made_poorer(run_lvlora, tmp_path, monkeypatch, more, code, said):
    monkeypatch.chdir(tmp_path)
    assert run_lvlora(["simulate", "data.csv", "-n", "3", "--n-steps", "16"]).exit_code == 0
    ran = run_lvlora(["evaluate", "data.csv", "--no-model", "--split", "all", *more], code=code)
    assert said in ran.stderr
