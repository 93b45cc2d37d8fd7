"""`lvlora train --out … --overwrite`: what is replaced, when, and what never."""

import json
import math
import shutil
from pathlib import Path

import pytest
import tiny_runs

from lvlora import folders
from lvlora.errors import NumericalError
from lvlora.train import fine_tune
from lvlora.train.loop import Objective


@pytest.fixture
def place(tmp_path, monkeypatch, tiny_folder):
    """A working directory with data; the flags that name model, runs and a run of one step."""
    monkeypatch.chdir(tmp_path)
    tiny_runs.write_csv(tmp_path / "data.csv", tiny_runs.dataset())
    return tiny_runs.flags(tiny_folder("qwen2"), Path("runs"), max_steps=1, validation=False)


def _content(folder: Path) -> dict[str, bytes]:
    files = (p for p in folder.rglob("*") if p.is_file() and p.name != ".lock")
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


def _names(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


def _below(folder: Path) -> list[str]:
    return [f"/{name}" for name in _names(folder)]


@pytest.mark.parametrize(
    ("more", "code"),
    [
        (["--budget", "1e3"], 3),
        (["--max-flops", "1e3"], 3),
        (["--targets", "z_proj"], 2),
    ],
)
def test_a_run_that_cannot_start_replaces_nothing(run_lvlora, place, more, code):
    words = ["train", "data.csv", *place, "--out", "keep"]
    assert run_lvlora(words).exit_code == 0
    before = _content(Path("keep"))
    run_lvlora([*words, "--overwrite", *more], code=code)
    assert _content(Path("keep")) == before
    assert list(Path.cwd().glob("*keep*")) == [Path.cwd() / "keep"]


def test_data_that_cannot_be_read_replace_no_run(run_lvlora, place):
    assert run_lvlora(["train", "data.csv", *place, "--out", "keep"]).exit_code == 0
    before = _content(Path("keep"))
    Path("bad.csv").write_text("time,prey\n0,1\n1,oops\n")
    run_lvlora(["train", "bad.csv", *place, "--out", "keep", "--overwrite"], code=4)
    assert _content(Path("keep")) == before


def test_a_run_that_fails_at_its_first_step_is_beside_the_one_it_would_replace(
    run_lvlora, place, monkeypatch
):
    words = ["train", "data.csv", *place, "--out", "keep"]
    assert run_lvlora(words).exit_code == 0
    before = _content(Path("keep"))
    real = Objective.loss_sum
    with monkeypatch.context() as patched:
        patched.setattr(Objective, "loss_sum", lambda self, batch: math.nan * real(self, batch))
        assert run_lvlora([*words, "--overwrite"]).exit_code == NumericalError.exit_code
    assert _content(Path("keep")) == before
    assert Path("keep+new/state/step-00000000/manifest.json").is_file()
    # what was mended goes on, and takes the place then
    ran = run_lvlora(["train", "--resume", "keep+new", "--json"], code=0)
    assert ran.json["folder"] == "keep"
    assert ran.json["run"] == "keep+2"
    assert ran.json["adapter"] == str(Path("keep/adapter"))
    assert not Path("keep+new").exists()
    assert _content(Path("keep")) != before
    assert json.loads(Path("keep/result.json").read_text())["folder"] == "keep"


def test_the_old_run_is_whole_until_the_new_one_is(run_lvlora, place, monkeypatch):
    words = ["train", "data.csv", *place, "--out", "keep"]
    assert run_lvlora(words).exit_code == 0
    before = _content(Path("keep"))
    seen = []
    real = folders.take_place

    def take_place(new, path):
        seen.append((_content(path) == before, sorted(_content(new))))
        real(new, path)

    monkeypatch.setattr(folders, "take_place", take_place)
    assert run_lvlora([*words, "--overwrite", "--seed", 3]).exit_code == 0
    ((old_was_whole, new_files),) = [s for s in seen if "result.json" in s[1]]
    assert old_was_whole
    assert {"report.html", "result.json", "figures/training.png"} <= set(new_files)
    assert sorted(_content(Path("keep"))) == sorted({*before, "name"})


@pytest.mark.parametrize(
    ("make", "out", "said"),
    [
        (lambda: Path("config.toml").write_text(""), ".", "the working folder"),
        (lambda: None, "runs", "the runs folder"),
        (lambda: None, "..", "the working folder"),
        (lambda: Path("web/config.toml").write_text(""), "web", "no run that lvlora made"),
        (lambda: Path("mine/notes.txt").write_text("years"), "mine", "did not write its notes.txt"),
        (
            lambda: Path("mine/adapter/README.md").write_text("years"),
            "mine",
            "did not write its adapter/README.md",
        ),
        (lambda: Path("mine/figures/a.png").symlink_to("b"), "mine", "its figures/a.png"),
    ],
)
def test_what_is_not_wholly_a_run_is_never_replaced(run_lvlora, place, make, out, said):
    Path("web").mkdir()
    assert run_lvlora(["train", "data.csv", *place, "--out", "mine"]).exit_code == 0
    make()
    before = _names(Path.cwd())
    ran = run_lvlora(["train", "data.csv", *place, "--out", out, "--overwrite"], code=2)
    assert said in ran.stderr
    assert _names(Path.cwd()) == before


def test_a_run_that_holds_the_runs_or_the_data_is_not_replaced(run_lvlora, place):
    words = ["train", "data.csv", *place, "--out", "proj"]
    assert run_lvlora(words).exit_code == 0
    ran = run_lvlora([*words, "--overwrite", "--runs", "proj/runs"], code=2)
    assert "is or holds the runs folder" in ran.stderr
    shutil.copy("data.csv", "proj/data.csv")
    ran = run_lvlora(["train", "proj/data.csv", *place, "--out", "proj", "--overwrite"], code=2)
    assert "is or holds the data" in ran.stderr
    assert Path("proj/result.json").is_file()


def test_through_a_link_the_run_that_it_leads_to_is_replaced_and_no_namesake(run_lvlora, place):
    words = ["train", "data.csv", *place]
    Path("other").mkdir()
    for out in ("runs/same", "other/same"):
        assert run_lvlora([*words, "--out", out]).exit_code == 0
    Path("runs/link").symlink_to("../other/same")
    before = _content(Path("runs/same"))
    run_lvlora([*words, "--out", "runs/link", "--overwrite", "--seed", 7], code=0)
    assert _content(Path("runs/same")) == before
    assert "seed = 7" in Path("other/same/config.toml").read_text()
    assert _names(Path("other")) == sorted(f"same{n}" for n in ["", *_below(Path("other/same"))])


def test_a_run_that_came_later_is_not_the_one_to_be_replaced(run_lvlora, place, monkeypatch):
    """One that was stopped goes on when another has taken the place that it was to take."""
    words = ["train", "data.csv", *place, "--out", "keep"]
    assert run_lvlora(words).exit_code == 0
    real = Objective.loss_sum
    with monkeypatch.context() as patched:
        patched.setattr(Objective, "loss_sum", lambda self, batch: math.nan * real(self, batch))
        assert run_lvlora([*words, "--overwrite"]).exit_code == NumericalError.exit_code
    assert run_lvlora([*words, "--overwrite", "--seed", 7]).exit_code == 0
    before = _content(Path("keep"))
    ran = run_lvlora(["train", "--resume", "keep+new", "--json"], code=0)
    assert "keep: is another run by now; the new run stays in keep+new" in ran.stderr
    assert ran.json["folder"] == "keep+new"
    assert _content(Path("keep")) == before


def test_two_at_once_make_one_run(run_lvlora, place, monkeypatch):
    """The second comes between the first one's look at the folder and its first file."""
    words = ["train", "data.csv", *place, "--out", "both"]
    second = []
    real = fine_tune.create

    def create(*args):
        made = real(*args)
        if not second:
            second.append(None)
            second[0] = run_lvlora([*words, "--seed", 7])
        return made

    monkeypatch.setattr(fine_tune, "create", create)
    first = run_lvlora(words)
    assert sorted([first.exit_code, second[0].exit_code]) == [0, 2], first.stderr
    assert "seed = 7" in Path("both/config.toml").read_text()
    assert "is there already" in first.stderr
