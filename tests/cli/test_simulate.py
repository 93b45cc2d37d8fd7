"""`lvlora simulate` as a user meets it."""

from pathlib import Path

import pytest

from lvlora.data.files import read_dataset
from lvlora.settings.shared import InputSettings


def test_writes_a_data_set_that_can_be_read(run_lvlora, tmp_path):
    file = tmp_path / "data.h5"
    ran = run_lvlora(["simulate", file, "-n", "3", "--n-steps", "20"], code=0)
    assert "3 trajectories of 20 steps" in ran.stdout
    assert f"lvlora analyze {file}" in ran.stderr
    dataset = read_dataset(file, InputSettings())
    assert len(dataset) == 3
    assert dataset.series[0].values.shape == (20, 2)


def test_the_same_seed_gives_the_same_file(run_lvlora, tmp_path):
    files = [tmp_path / name for name in ("a.csv", "b.csv", "c.csv")]
    for file, seed in zip(files, ("5", "5", "6"), strict=True):
        run_lvlora(["simulate", file, "-n", "2", "--n-steps", "5", "--seed", seed])
    a, b, c = (file.read_bytes() for file in files)
    assert a == b != c


def test_json_is_all_there_is_on_stdout(run_lvlora, tmp_path):
    file = tmp_path / "data.csv"
    ran = run_lvlora(["simulate", file, "-n", "2", "--n-steps", "5", "--json", "-v"])
    assert ran.json["schema_version"] == 1
    assert ran.json["series"] == 2
    assert ran.json["variables"] == ["prey", "predator"]
    assert ran.json["sha256"] == read_dataset(file, InputSettings()).sha256()


def test_an_existing_file_is_kept_unless_asked(run_lvlora, tmp_path):
    file = tmp_path / "x.csv"
    file.write_text("mine")
    args = ["simulate", file, "-n", "1", "--n-steps", "5"]
    assert run_lvlora(args).exit_code == 2
    assert file.read_text() == "mine"
    assert run_lvlora([*args, "--overwrite"]).exit_code == 0
    assert file.read_text() != "mine"


def test_a_dash_is_standard_output(run_lvlora, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ran = run_lvlora(["simulate", "-", "-n", "2", "--n-steps", "30"], code=0)
    assert ran.stderr == ""
    assert list(tmp_path.iterdir()) == []
    run_lvlora(["simulate", "x.csv", "-n", "2", "--n-steps", "30"], code=0)
    assert ran.stdout == (tmp_path / "x.csv").read_text()
    again = run_lvlora(["analyze", "-", "--json"], input=ran.stdout)
    assert again.json["quality"]["n_series"] == 2


def test_the_tutorial_shows_the_rows_of_its_file(run_lvlora, tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text()
    command = next(line for line in page.splitlines() if line.startswith("$ lvlora simulate"))
    words = command.split()[2:]
    file = tmp_path / words[1]
    assert run_lvlora([words[0], file, *words[2:]]).exit_code == 0
    shown = page.split("```text\n")[1].split("```")[0].splitlines()
    lines = file.read_text().splitlines()
    assert lines[0] == shown[0]
    for row, expected in zip(lines[1:], shown[1:], strict=False):
        # integrators differ in the last digits from machine to machine
        assert [float(x) for x in row.split(",")] == pytest.approx(
            [float(x) for x in expected.split(",")], rel=1e-6
        )
