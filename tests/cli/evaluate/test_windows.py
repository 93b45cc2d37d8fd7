"""The last steps and rolling origins, through the real command."""

import csv
from pathlib import Path

import numpy as np
import pytest

from lvlora.evaluation import evaluate

ROOT = Path(__file__).parents[3]


@pytest.fixture
def no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "draw_evaluation", lambda *_: [])


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four series of 14, 20, 26 and 32 steps."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "data.csv"
    rows = ["id,time,prey,predator"]
    for k in range(4):
        for t in range(14 + 6 * k):
            rows.append(f"s{k},{t},{10**k * (5 + np.sin(t + k)):.6f},{7 + np.cos(t + k):.6f}")
    path.write_text("\n".join(rows) + "\n")
    return path


def test_windows_of_series_of_any_length(run_lvlora, data, no_page) -> None:
    options = ["--no-model", "--split", "all", "--windows", "2", "--horizon", "4"]
    ran = run_lvlora(["evaluate", data, *options, "--out", "e", "--json"], code=0)
    protocol = ran.json["protocol"]
    assert (protocol["windows"], protocol["stride"], protocol["all_before"]) == (2, 4, True)
    assert (protocol["series"], protocol["context"], protocol["name"]) == (4, 6, "own")
    with Path("e/series.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [r["id"] for r in rows if r["id"].startswith("s1")] == ["s1@12", "s1@16"]
    assert len(rows) == 8
    # the last value of each window, reckoned here
    table = np.loadtxt(data, delimiter=",", skiprows=1, usecols=(1, 2, 3))[14:34, 1:]
    for row in (r for r in rows if r["id"].startswith("s1")):
        at = int(row["id"].split("@")[1])
        expected = np.abs(table[at : at + 4] - table[at - 1]).mean()
        assert float(row["last value"]) == pytest.approx(expected)
    # scales of four orders of magnitude: scaled errors lead
    assert ran.json["led_by"] == "mase"


def test_the_last_steps_are_those_of_forecast(run_lvlora, data, no_page) -> None:
    ran = run_lvlora(
        ["evaluate", data, "--no-model", "--split", "all", "--holdout", "5", "--json"], code=0
    )
    ours = {f["name"]: f["mae"] for f in ran.json["forecasters"]}
    command = ["forecast", data, "--holdout", "5", "--forecaster", "last-value", "--json"]
    ran = run_lvlora(command, code=0)
    assert ran.json["scores"]["mae"] == pytest.approx(ours["last value"])


def test_hares_and_lynxes_in_one_command(run_lvlora, tmp_path, monkeypatch) -> None:
    """As docs/notes/log/2026-11-results.md shows it; with a page, which names the protocol."""
    monkeypatch.chdir(tmp_path)
    file = ROOT / "examples" / "hare_lynx.csv"
    ran = run_lvlora(["evaluate", file, "--no-model", "--holdout", "5", "--out", "e"], code=0)
    assert "5 steps from all before" in ran.stdout
    assert "5 steps from all before" in Path("e/report.html").read_text(encoding="utf-8")


def test_too_short_series_are_left_out_and_said(run_lvlora, data, no_page) -> None:
    options = ["--no-model", "--split", "all", "--holdout", "4", "--context", "12"]
    ran = run_lvlora(["evaluate", data, *options], code=0)
    assert "1 series too short" in ran.stderr
    assert "4 steps from 12" in ran.stdout
