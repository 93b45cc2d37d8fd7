"""`--known` and uneven steps as a user meets them, in forecast, evaluate and train."""

import json
import math
from pathlib import Path

import pytest
import tiny_runs

from lvlora.evaluation import scores
from lvlora.forecast.rivals import default_rivals

N_STEPS, AHEAD = 16, 4


def _rows(n_series=1, *, ahead=AHEAD, uneven=False):
    """A long table whose hares follow a warmth that is known further."""
    rows = ["id,time,warmth,hare,lynx"]
    for s in range(n_series):
        for t in range(N_STEPS + ahead):
            warmth = 10 + 5 * math.sin(t / 2 + s)
            animals = f"{3 + math.sin(t / 2 + s + 1):.2f},{2 + math.cos(t / 2 + s):.2f}"
            time = t + (0.4 * (t % 3) if uneven else 0)
            rows.append(f"s{s},{time:g},{warmth:.2f},{animals if t < N_STEPS else ','}")
    return "\n".join(rows) + "\n"


@pytest.fixture
def words(tmp_path, monkeypatch, tiny_folder):
    """A working directory with data, and what makes a forecast quick and repeatable."""
    monkeypatch.chdir(tmp_path)
    Path("data.csv").write_text(_rows())
    return [*tiny_runs.quick(tiny_folder("qwen2")), "--samples", "3"]


def test_rows_after_the_last_value_are_forecast(run_lvlora, words, unbounded):
    ran = run_lvlora(["forecast", "data.csv", "--known", "warmth", *words, "--json"], code=0)
    (series,) = ran.json["series"]
    assert series["time"] == [16, 17, 18, 19]
    assert list(series["variables"]) == ["hare", "lynx"]
    assert len(series["scale"]["divisors"]) == 2
    assert ran.json["horizon"] == 4
    # another future of the known column is another forecast
    warmer = Path("data.csv").read_text().replace("s0,17,", "s0,17,9")
    Path("warmer.csv").write_text(warmer)
    other = run_lvlora(["forecast", "warmer.csv", "--known", "warmth", *words, "--json"], code=0)
    assert other.json["series"][0]["variables"] != series["variables"]


def test_the_price_is_that_of_known_columns_too(run_lvlora, words):
    known = ["forecast", "data.csv", "--known", "warmth", *words, "--json"]
    dry = run_lvlora([*known, "--dry-run"], code=0)
    ran = run_lvlora(known)
    most = dry.json["flops_at_most"]
    assert ran.json["flops"]["executed"] <= most["executed"]
    refused = run_lvlora([*known, "--max-flops", str(ran.json["flops"]["executed"] // 2)])
    assert refused.exit_code not in (0, 1)


def test_what_is_held_out_has_its_known_values(run_lvlora, words):
    ran = run_lvlora(
        ["forecast", "data.csv", "--known", "warmth", "--holdout", "3", *words, "--json"], code=0
    )
    assert ran.json["series"][0]["time"] == [13, 14, 15]
    assert ran.json["scores"]["n_values"] == 6
    assert ran.json["scores"]["nll"] is not None


def test_rivals_say_whether_they_use_them(run_lvlora, words):
    arguments = ["forecast", "data.csv", "--known", "warmth", "--samples", "3", "--json"]
    ran = run_lvlora([*arguments, "--forecaster", "last-value"])
    assert "last value has no use for known columns (warmth)" in " ".join(ran.stderr.split())
    ran = run_lvlora([*arguments, "--forecaster", "var-on-logs"], code=0)
    assert "no use" not in ran.stderr


@pytest.mark.slow
def test_an_evaluation_gives_them_to_all_and_scores_none(run_lvlora, words, monkeypatch):
    quick = {"last value", "var on logs", "nvar", "sindy on levels", "sindy on rates"}
    rivals = [rival for rival in default_rivals() if rival.name in quick]
    monkeypatch.setattr(scores, "default_rivals", lambda season: rivals)
    Path("many.csv").write_text(_rows(6, ahead=0))
    options = ["--known", "warmth", "--split", "all", "--holdout", "4", "--adapter", "none"]
    options += ["--limit", "2"]
    run_lvlora(["evaluate", "many.csv", *options, *words, "--out", "found", "--json"], code=0)
    record = json.loads(Path("found/evaluation.json").read_text())
    assert record["variables"] == ["hare", "lynx"]
    assert record["data"]["known"] == ["warmth"]
    users = {f["name"] for f in record["forecasters"] if f["uses_known"]}
    assert quick - users == {"last value"}
    model = next(f for f in record["forecasters"] if f["kind"] == "model")
    assert model["uses_known"]
    assert model["n_values"] == 2 * 4 * 2
    assert model["nll"] is not None


def test_an_adapter_knows_what_it_was_trained_beside(run_lvlora, words, tiny_folder):
    Path("many.csv").write_text(_rows(8, ahead=0))
    flags = tiny_runs.flags(tiny_folder("qwen2"), Path("runs"), seq_len=64)
    ran = run_lvlora(["train", "many.csv", "--known", "warmth", *flags, "--json"], code=0)
    facts = json.loads((Path(ran.json["adapter"]) / "lvlora.json").read_text())
    assert facts["known"] == ["warmth"]
    assert facts["variables"] == ["hare", "lynx"]
    assert len(facts["scale"]["divisors"]) == 3
    words = [*words, "--adapter", "latest"]
    together = run_lvlora(["forecast", "data.csv", "--known", "warmth", *words, "--json"], code=0)
    assert together.json["model"]["adapter"] is not None
    assert "trained beside" not in together.stderr
    alone = run_lvlora(
        ["forecast", "data.csv", "--columns", "hare,lynx", *words, "-n", "3"], code=0
    )
    assert "was trained beside warmth, and is given none" in " ".join(alone.stderr.split())


def test_uneven_steps(run_lvlora, words):
    Path("uneven.csv").write_text(_rows(uneven=True))
    ran = run_lvlora(["forecast", "uneven.csv", "--known", "warmth", *words, "--json"], code=0)
    assert "read off at the wanted times" in " ".join(ran.stderr.split())
    assert ran.json["series"][0]["time"] == [16.4, 17.8, 18, 19.4]
    Path("past.csv").write_text(_rows(ahead=0, uneven=True))
    held = run_lvlora(
        ["forecast", "past.csv", "--columns", "hare", "--holdout", "4", "--json", *words], code=0
    )
    assert held.json["scores"]["mae"] > 0
    assert held.json["scores"]["nll"] is None
