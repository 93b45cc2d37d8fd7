"""`lvlora analyze` as a user meets it; the measurements are tested in tests/data."""

import numpy as np
import pytest

CSV = "time,prey,predator\n" + "".join(
    f"{t},{2 + (t % 10) / 5:.2f},{1 + ((t - 2) % 10) / 10:.2f}\n" for t in range(60)
)


@pytest.fixture
def data(run_lvlora, tmp_path):
    """A small simulated data set."""
    file = tmp_path / "data.h5"
    assert run_lvlora(["simulate", file, "-n", "12", "--n-steps", "80"]).exit_code == 0
    return file


def test_json(run_lvlora, data):
    ran = run_lvlora(["analyze", data, "--json"], code=0)
    got = ran.json
    assert got["schema_version"] == 1
    assert set(got["periods"]) == {"prey", "predator"}
    assert got["periods"]["prey"]["mean_time"] > 0
    assert set(got["periods"]["prey"]) >= {"mean_time", "median_time", "mean_samples"}
    assert set(got["phase_lag"]) >= {"mean_time", "fraction_of_period"}
    assert sum(cluster["size"] for cluster in got["clusters"]) == 12
    assert got["quality"]["n_series"] == 12
    assert {"absent", "inserted", "first_absent"} <= set(got["quality"]["time_steps"])
    split = got["split"]
    assert split["train"] + split["validation"] + split["test"] == 12


def test_tables_fit_and_show_what_matters(run_lvlora, data):
    ran = run_lvlora(["analyze", data, "--clusters", "3"], code=0)
    assert max(map(len, ran.stdout.splitlines())) <= 80 + len(str(data))
    for word in ("prey", "predator", "oscillation", "Silhouette", "Split (seed 0)", "follow"):
        assert word in ran.stdout
    assert f"lvlora baseline {data}" in ran.stderr


def test_a_table_from_standard_input(run_lvlora):
    ran = run_lvlora(["analyze", "-", "--json"], input=CSV, code=0)
    assert ran.json["periods"]["prey"]["mean_time"] == pytest.approx(10)
    assert ran.json["source"] == "standard input"


def test_without_data_it_is_simulated_and_said(run_lvlora):
    ran = run_lvlora(["analyze", "--json"], code=0)
    assert ran.json["quality"]["n_series"] == 200
    assert "simulating 200 trajectories" in ran.stderr


def test_what_is_odd_is_said(run_lvlora, tmp_path):
    file = tmp_path / "odd.csv"
    rows = ["id,time,x"]
    rows += [f"a,{t},{-1 if t == 3 else t % 5}" for t in range(20)]
    rows += [f"b,{t},{-1 if t == 3 else t % 5}" for t in range(20)]
    rows += [f"c,{t},{'' if t == 4 else 7}" for t in range(20)]
    file.write_text("\n".join(rows))
    out = run_lvlora(["analyze", file]).stdout
    assert "missing: 1 of 60 values (1.7 %)" in out
    assert "negative: 2 of 60 values (3.3 %)" in out
    assert "1 series repeat an earlier one: b a" in out
    assert "constant: c x" in out


def test_one_series_of_one_variable(run_lvlora, tmp_path):
    file = tmp_path / "one.csv"
    file.write_text("time,x\n" + "".join(f"{t},{t % 4}\n" for t in range(12)))
    ran = run_lvlora(["analyze", file], code=0)
    assert "follow" not in ran.stdout


def test_who_follows_whom_is_never_negative(run_lvlora):
    """The predator's peaks come first here."""
    swapped = CSV.replace("time,prey,predator", "time,predator,prey")
    ran = run_lvlora(["analyze", "-"], input=swapped)
    assert "Peaks of prey follow those of predator by 2.000 time units, 20.0 % of" in ran.stdout
    early = "time,a,b\n" + "".join(
        f"{t},{2 + np.sin(t / 3):.4f},{2 + np.sin(t / 3 + 1):.4f}\n" for t in range(80)
    )
    ran = run_lvlora(["analyze", "-"], input=early)
    assert "Peaks of a follow those of b by 3." in ran.stdout
    assert "by -" not in ran.stdout


def test_stratified_splits(run_lvlora, data):
    plain = run_lvlora(["analyze", data, "--json"]).json["split"]
    stratified = run_lvlora(["analyze", data, "--json", "--stratify"]).json["split"]
    assert stratified["stratified"] is True
    assert plain["sha256"] != stratified["sha256"]
    again = run_lvlora(["analyze", data, "--json", "--split-seed", "1"]).json["split"]
    assert again["sha256"] != plain["sha256"]
    # what is run next must split in the same way
    assert "--stratify" in run_lvlora(["analyze", data, "--stratify"]).stderr
