"""`lvlora tokenize` as a user meets it."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from lvlora.data.files import read_dataset
from lvlora.data.splits import split_ids
from lvlora.settings.shared import InputSettings
from lvlora.text import scaling
from lvlora.text.codec import Codec

LONE = "time,prey,predator\n" + "".join(
    f"{t},{2 + np.sin(t):.4f},{1 + np.cos(t):.4f}\n" for t in range(30)
)


@pytest.fixture
def model(tiny_folder) -> Path:
    return tiny_folder("llama")


@pytest.fixture
def lone(tmp_path) -> Path:
    file = tmp_path / "lone.csv"
    file.write_text(LONE)
    return file


@pytest.fixture
def many(run_lvlora, tmp_path) -> Path:
    file = tmp_path / "many.h5"
    assert run_lvlora(["simulate", file, "-n", "9", "--n-steps", "40"]).exit_code == 0
    return file


def test_the_figures_of_a_lone_series(run_lvlora, lone, model):
    ran = run_lvlora(["tokenize", lone, "--model", model, "--steps", "4", "--json"], code=0)
    got = ran.json
    assert got["schema_version"] == 1
    series = read_dataset(lone, InputSettings()).series[0]
    scale = scaling.of_history(series)
    assert got["scale"]["divisors"] == list(scale.divisors)
    assert got["scale"]["rule"] == "history"
    text = Codec(2, 2).encode(scale.apply(series.values))
    (one,) = got["series"]
    assert one["text"] == ";".join(text.split(";")[:4]) + ";"
    assert one["tokens"] == list(one["text"])
    assert one["ids"] == [got["alphabet"][symbol] for symbol in one["text"]]
    assert (one["steps_shown"], one["steps"], one["n_tokens"]) == (4, 30, len(text))
    assert one["tokens_per_step"] == pytest.approx(len(text) / 30)
    error = np.abs(scale.invert(Codec(2, 2).decode(text)) - series.values).max()
    assert one["round_trip"]["max_error"] == pytest.approx(error)
    assert 0.5 < one["round_trip"]["max_error_half_units"] <= 1.001
    assert got["model"] == {"name": "llama", "kind": "folder"}
    assert got["start_token"] == {"id": 15, "token": "<s>"}


def test_tables_have_all_of_it(run_lvlora, lone, model):
    ran = run_lvlora(["tokenize", lone, "--model", model, "--steps", "2"], code=0)
    for part in ("2 decimals", "the first 2 of 30 steps", "tokens a step"):
        assert part in ran.stdout, part
    assert f"lvlora train {lone}" in ran.stderr


def test_the_scale_of_a_data_set_is_of_its_training_part(run_lvlora, many, model):
    got = run_lvlora(["tokenize", many, "--model", model, "--json"]).json
    dataset = read_dataset(many, InputSettings())
    expected = scaling.of_dataset(dataset.select(split_ids(dataset, 0).train))
    assert got["scale"]["divisors"] == list(expected.divisors)
    assert got["scale"]["rule"] == "dataset"
    assert [one["id"] for one in got["series"]] == [dataset.series[0].id]


def test_chosen_series_and_decimals(run_lvlora, many, model):
    args = ["tokenize", many, "--model", model, "--series", "4,2"]
    got = run_lvlora([*args, "--decimals", "0", "--steps", "100", "--json"]).json
    assert [one["id"] for one in got["series"]] == ["4", "2"]
    assert all("." not in one["text"] for one in got["series"])
    assert all(one["steps_shown"] == 40 for one in got["series"])


def test_weights_are_never_read(run_lvlora, lone, model, tmp_path):
    folder = Path(shutil.copytree(model, tmp_path / "model"))
    for file in folder.glob("*.safetensors"):
        file.write_bytes(b"broken")
    assert run_lvlora(["tokenize", lone, "--model", folder, "--json"]).exit_code == 0
