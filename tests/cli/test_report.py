"""`lvlora report`: a run's page again, by folder, name or as the newest."""

import json
import os
import re
import shutil
import webbrowser

import pytest
import tiny_runs
from forked import Forked

from lvlora.cli.program.root import load as load_command


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tiny_folder):
    """The folder of a real run's runs, and what `lvlora train` said of it."""
    place = tmp_path_factory.mktemp("trained")
    # in a process of its own, where figures are drawn whatever test is the first
    words = ["--max-steps", 4, "--validate-every", 2, "--validation-series", 1, "--batch-size", 2]
    words += ["--seq-len", 48, "--rank", 2, "--dtype", "float32", "--out", "runs/first", "--json"]
    tiny_runs.write_csv(place / "data.csv", tiny_runs.dataset())
    train = Forked(["train", "data.csv", "--model", tiny_folder("qwen2"), *words], cwd=place)
    out, err = train.communicate()
    assert train.returncode == 0, err
    return place, json.loads(out)


@pytest.fixture
def here(trained, tmp_path, monkeypatch):
    """A copy of it to work in."""
    shutil.copytree(trained[0] / "runs", tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_the_page_is_the_one_that_training_made(real_figures, run_lvlora, here):
    page = here / "runs" / "first" / "report.html"
    before = page.read_bytes()
    page.unlink()
    ran = run_lvlora(["report", "runs/first"], code=0)
    assert "runs/first/report.html" in ran.stdout
    assert page.read_bytes() == before


def test_it_tells_what_training_told(run_lvlora, here, trained):
    train, ran = trained[1], run_lvlora(["report", "first", "--json"])
    keys = "run steps loss tokens flops trainable_parameters zero_shot validation best_step files"
    for key in keys.split():
        assert ran.json[key] == train[key], key
    assert ran.json["seconds"] == pytest.approx(train["seconds"], abs=1e-4)
    assert ran.json["opened"] is False


def test_the_newest_is_the_one_that_last_made_a_step(run_lvlora, here):
    for name, when in (("a-new", 3_000_000_000), ("z-old", 1_000_000_000)):
        shutil.copytree(here / "runs" / "first", here / "runs" / name)
        os.utime(here / "runs" / name / "metrics.jsonl", (when, when))
    assert run_lvlora(["report", "--json"]).json["run"] == "a-new"
    assert run_lvlora(["report", "latest", "--json"]).json["run"] == "a-new"


def test_a_run_that_was_moved(run_lvlora, here):
    shutil.move(here / "runs" / "first", here / "elsewhere")
    assert run_lvlora(["report", here / "elsewhere", "--json"]).json["run"] == "elsewhere"


def test_a_run_without_a_step(run_lvlora, here):
    (here / "runs" / "first" / "metrics.jsonl").write_text("")
    ran = run_lvlora(["report"], code=4)
    assert "no step yet" in ran.stderr


@pytest.mark.parametrize("opens", [True, False, webbrowser.Error("none")])
def test_a_browser_is_started_only_when_asked(run_lvlora, here, monkeypatch, opens):
    opened = []

    def open_page(address):
        opened.append(address)
        if isinstance(opens, Exception):
            raise opens
        return opens

    monkeypatch.setattr(webbrowser, "open", open_page)
    assert run_lvlora(["report"]).exit_code == 0
    assert opened == []
    ran = run_lvlora(["report", "--open", "--json"])
    assert opened == [(here / "runs" / "first" / "report.html").resolve().as_uri()]
    assert ran.exit_code == 0
    assert ran.json["opened"] is (opens is True)
    assert ("open " in ran.stderr) == (opens is not True)


def test_the_examples_of_the_help(run_lvlora, here, monkeypatch):
    monkeypatch.setattr(webbrowser, "open", lambda address: True)
    for line in re.findall(r"\[bold\]lvlora (.*?)\[/bold\]", load_command("report").epilog or ""):
        assert run_lvlora(line.split()).exit_code == 0
