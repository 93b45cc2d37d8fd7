"""`lvlora analyze` as a user meets it; the measurements are tested in tests/series."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from lvlora.folders import MARK

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
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
    ran = run_lvlora(["analyze", data, "--json"])
    assert ran.exit_code == 0
    got = ran.json
    assert got["schema_version"] == 1
    assert set(got["periods"]) == {"prey", "predator"}
    assert got["periods"]["prey"]["mean_time"] > 0
    assert set(got["periods"]["prey"]) >= {"mean_time", "median_time", "mean_samples"}
    assert set(got["phase_lag"]) >= {"mean_time", "fraction_of_period"}
    assert sum(cluster["size"] for cluster in got["clusters"]) == 12
    assert got["quality"]["n_series"] == 12
    split = got["split"]
    assert split["train"] + split["validation"] + split["test"] == 12


def test_tables_fit_and_say_what_matters(run_lvlora, data):
    ran = run_lvlora(["analyze", data, "--clusters", "3"])
    assert ran.exit_code == 0
    assert max(map(len, ran.stdout.splitlines())) <= 80 + len(str(data))
    for word in ("prey", "predator", "oscillation", "Silhouette", "Split (seed 0)", "follow"):
        assert word in ran.stdout
    assert "▁" in ran.stdout
    assert f"lvlora baseline {data}" in ran.stderr


def test_a_table_from_standard_input(run_lvlora):
    ran = run_lvlora(["analyze", "-", "--json"], input=CSV)
    assert ran.exit_code == 0, ran.stderr
    assert ran.json["periods"]["prey"]["mean_time"] == pytest.approx(10)
    assert ran.json["source"] == "standard input"


def test_without_data_it_is_simulated_and_said(run_lvlora):
    ran = run_lvlora(["analyze", "--json"])
    assert ran.exit_code == 0
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
    ran = run_lvlora(["analyze", file])
    assert ran.exit_code == 0, ran.stderr
    assert "follow" not in ran.stdout


def noisy(noise: float, n: int = 200, cycle: bool = True) -> str:
    """Twelve series of a period of 17 steps under noise, or of noise alone, as CSV."""
    rng = np.random.default_rng(3)
    rows = ["id,time,x"]
    for i in range(12):
        wave = 1.5 * np.sin(2 * np.pi * (np.arange(n) / 17 + rng.random())) if cycle else 0.0
        values = 5 + wave + noise * rng.normal(size=n)
        rows += [f"{i},{t},{v:.4f}" for t, v in enumerate(values)]
    return "\n".join(rows) + "\n"


@pytest.mark.parametrize("noise", [0.1, 0.2, 0.3])
def test_a_period_under_noise(run_lvlora, noise):
    period = run_lvlora(["analyze", "-", "--json"], input=noisy(noise)).json["periods"]["x"]
    assert period["mean_samples"] == pytest.approx(17, rel=0.03)
    assert period["n_series"] == 12
    assert period["confidence"] > 0.85


def test_no_period_in_noise(run_lvlora):
    ran = run_lvlora(["analyze", "-", "--json"], input=noisy(1.0, cycle=False))
    period = ran.json["periods"]["x"]
    assert period["n_series"] <= 1
    assert period["confidence"] < 0.4
    shown = run_lvlora(["analyze", "-"], input=noisy(1.0, cycle=False)).stdout
    assert "no oscillation" in shown
    assert "sure" in shown


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux for its memory")
def test_a_hundred_thousand_noisy_steps_fit_into_a_gigabyte(tmp_path):
    """Every peak against every other took 23 GB."""
    file = tmp_path / "long.h5"
    rng = np.random.default_rng(0)
    with h5py.File(file, "w") as out:
        out["trajectories"] = 5 + rng.normal(size=(1, 100_000, 2)).cumsum(axis=1) / 100
        out["time"] = np.arange(100_000.0)
    # ru_maxrss would begin with the memory of the process that tests
    code = (
        "import re, sys; from lvlora.cli.program.app import main;"
        f"main(['analyze', {str(file)!r}, '--json']);"
        "found = re.search(r'VmHWM:\\s*(\\d+)', open('/proc/self/status').read());"
        "print(found[1], file=sys.stderr)"
    )
    limited = f"ulimit -v 6000000; exec {sys.executable} -c {shlex.quote(code)}"
    done = subprocess.run(["sh", "-c", limited], capture_output=True, text=True, env=ENVIRONMENT)
    assert json.loads(done.stdout)["quality"]["longest"] == 100_000, done.stderr
    assert int(done.stderr.split()[-1]) < 1_000_000


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


def test_clusters_of_one_name_are_numbered_without_brackets(run_lvlora):
    ran = run_lvlora(["analyze", "--clusters", "8", "--json"])
    names = [cluster["name"] for cluster in ran.json["clusters"]]
    assert len(set(names)) == 8
    assert any(name.endswith("oscillation 2") for name in names)
    assert not any("(" in name for name in names)


def test_stratified_splits(run_lvlora, data):
    plain = run_lvlora(["analyze", data, "--json"]).json["split"]
    stratified = run_lvlora(["analyze", data, "--json", "--stratify"]).json["split"]
    assert stratified["stratified"] is True
    assert plain["sha256"] != stratified["sha256"]
    again = run_lvlora(["analyze", data, "--json", "--split-seed", "1"]).json["split"]
    assert again["sha256"] != plain["sha256"]


def test_names_from_a_file_cannot_write_to_the_terminal(run_lvlora, tmp_path):
    file = tmp_path / "names.csv"
    file.write_text("time,pr\x1b[31mey\n" + "".join(f"{t},{t % 4}\n" for t in range(12)))
    ran = run_lvlora(["analyze", file])
    assert "\x1b" not in ran.stdout + ran.stderr


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no such file"),
        ("", ""),
        ("time,x\n1,2\n2,three\n", "three"),
        ("time,x\n1,2,3\n2,3\n", ""),
    ],
)
def test_bad_files_exit_4_with_a_hint(run_lvlora, tmp_path, content, said):
    file = tmp_path / "bad.csv"
    if content is not None:
        file.write_text(content)
    ran = run_lvlora(["analyze", file])
    assert ran.exit_code == 4
    assert str(file) in ran.stderr
    assert said in ran.stderr
    assert "Hint: " in ran.stderr
    assert ran.stdout == ""


@pytest.mark.slow  # the example with --out runs by default
def test_figures(run_lvlora, data, tmp_path):
    out = tmp_path / "figures"
    ran = run_lvlora(["analyze", data, "--out", out, "--json"])
    assert ran.exit_code == 0, ran.stderr
    split = json.loads((out / "split.json").read_text())
    assert split["sha256"] == ran.json["split"]["sha256"]
    assert len(split["validation"]) == ran.json["split"]["validation"]
    figures = [file for file in out.iterdir() if file.name not in ("split.json", MARK)]
    assert {file.suffix for file in figures} == {".png", ".svg"}
    assert sorted(ran.json["figures"]) == sorted(str(file) for file in figures)
    assert "5 figures drawn into" in ran.stderr
    assert "each as PNG and SVG" in ran.stderr
