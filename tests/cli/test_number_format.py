"""Numbers without a point, from a training to everything that uses its adapter."""

import json
import shutil
from pathlib import Path

import pytest
import tiny_models
import tiny_runs

USED = ["--adapter", "bare", "--threads", "1", "--dtype", "float32", "--json"]
STEPS = ["--context", "8", "--horizon", "4", "--greedy", "--limit", "1", "--no-rivals", "--json"]
ALONE = ["forecast", "data.csv", *USED, "--horizon", "3", "--series", "s0"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tiny_folder) -> Path:
    """A folder with data and two runs on them: ``plain`` of numbers alone, ``bare`` of language."""
    from lvlora.cli.program.app import main

    place = tmp_path_factory.mktemp("number-formats")
    tiny_runs.write_csv(place / "data.csv", tiny_runs.dataset())
    folder = place / "talking"
    tiny_models.write(folder, "qwen2", vocab_size=10_000)  # as large as a language model's
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        for model, out in ((tiny_folder("qwen2"), "plain"), (folder, "bare")):
            flags = tiny_runs.flags(model, Path("runs"))
            assert main(["train", "data.csv", *flags, "--out", out, "--quiet"]) == 0
    return place


@pytest.fixture
def place(trained, tmp_path, monkeypatch) -> Path:
    """The same to work with, as the working directory."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def scored(run_lvlora, place) -> float:
    """The error of the base model on the text of ``bare``, asked for without an adapter."""
    options = ["--model", "talking", "--threads", "1", "--dtype", "float32"]
    options += ["--decimals", "1"]
    ran = run_lvlora(["baseline", "data.csv", *options, *STEPS], code=0)
    return ran.json["forecasters"][0]["mae"]


@pytest.mark.slow
def test_a_run_keeps_its_format_and_reads_it_back(place):
    facts = json.loads(Path("bare/adapter/lvlora.json").read_text())
    assert (facts["number_format"], facts["decimals"]) == ("digits", 1)
    plain, bare = (json.loads(Path(run, "result.json").read_text()) for run in ("plain", "bare"))
    assert bare["zero_shot"]["loss"] != plain["zero_shot"]["loss"]  # the text is another
    assert bare["validation"]["mae"] < 100  # and is read back in the data's units


@pytest.mark.slow
def test_the_base_model_is_scored_on_the_adapter_s_text(run_lvlora, place, scored):
    ran = run_lvlora(["evaluate", "data.csv", *USED, *STEPS], code=0)
    base = ran.json["forecasters"][1]
    assert base["mae"] == pytest.approx(scored, rel=1e-6)


def test_an_export_says_which_options_its_text_needs(run_lvlora, place):
    ran = run_lvlora(["export", "bare", "--merged", "merged"], code=0)
    assert "--adapter none --decimals 1" in ran.stderr


def test_a_format_that_is_none_is_refused(run_lvlora, place):
    facts = json.loads(Path("bare/adapter/lvlora.json").read_text())
    del facts["facts_sha256"]
    Path("bare/adapter/lvlora.json").write_text(json.dumps({**facts, "number_format": "roman"}))
    ran = run_lvlora(ALONE, code=4)
    assert "number_format is 'roman': it should be" in ran.stderr
