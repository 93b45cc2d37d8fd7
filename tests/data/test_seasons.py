"""One rule finds the season for all."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from lvlora.data.periods import seasons, seasons_used, whole_season
from lvlora.evaluation import scores
from lvlora.forecast.rivals import default_rivals

NONE = math.nan


@pytest.mark.parametrize(
    ("periods", "expected"),
    [
        ([[12.0], [12.0]], "12"),
        ([[9.5, NONE], [11.0, 10.0]], "9.5 to 11"),
        ([[9.5], [NONE]], "9.5; none in 1 of 2"),
        ([[NONE], [NONE]], "none"),
    ],
)
def test_periods_of_several_series_in_a_cell(periods, expected):
    assert seasons_used(periods) == expected


def test_a_season_that_is_given_needs_a_history_that_holds_it():
    time = np.arange(20.0)
    history = np.sin(time)[:, None]
    assert seasons(time, history, 7).tolist() == [7.0]
    assert np.isnan(seasons(time, history, 20)).all()
    assert np.isnan(seasons(time, history, "none")).all()
    assert whole_season(NONE) == 1


@pytest.mark.slow
def test_the_table_tells_the_season_beside_each_row(run_lvlora, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"{t},{10 + 3 * math.sin(2 * math.pi * t / 12):.4f}\n" for t in range(72))
    Path("wave.csv").write_text(f"time,x\n{rows}")
    words = ["evaluate", "wave.csv", "--no-model", "--holdout", "6"]
    ran = run_lvlora(
        [*words, "--split", "all", "--samples", "3", "--season", "9", "--json"], code=0
    )
    table = json.loads(ran.stdout)["forecasters"]
    season = {row["name"]: row["season"] for row in table}
    assert season["seasonal naive"] == "9"
    assert season["last value"] == ""
    ran = run_lvlora(
        [*words, "--split", "all", "--samples", "3", "--json", "--out", "other"], code=0
    )
    (result,) = {
        row["season"]
        for row in json.loads(ran.stdout)["forecasters"]
        if row["name"] == "seasonal naive"
    }
    assert float(result) == pytest.approx(12, abs=0.5)


def test_without_a_season_skill_is_against_the_last_value(run_lvlora, tmp_path, monkeypatch):
    """And pooled quantiles learn from the training part where few series are scored."""
    monkeypatch.chdir(tmp_path)
    names = {"seasonal naive", "last value", "context mean", "pooled quantiles"}
    rivals = [rival for rival in default_rivals() if rival.name in names]
    monkeypatch.setattr(scores, "default_rivals", lambda season: rivals)
    rng = np.random.default_rng(0)
    rows = [
        f"s{k},{t},{x:.4f}"
        for k in range(12)
        for t, x in enumerate(rng.normal(size=30).cumsum().tolist())
    ]
    Path("walks.csv").write_text("\n".join(["id,time,x", *rows, ""]))
    words = ["evaluate", "walks.csv", "--no-model", "--context", "20", "--horizon", "5", "--json"]
    ran = run_lvlora([*words, "--samples", "3", "--limit", "1"], code=0)
    table = {row["name"]: row for row in json.loads(ran.stdout)["forecasters"]}
    assert "seasonal naive" not in table
    assert table["last value"]["skill"]["value"] == 0
    assert table["context mean"]["skill"]["value"] != 0
    assert "pooled quantiles" in table
