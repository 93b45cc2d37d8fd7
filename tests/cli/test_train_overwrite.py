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
    ("data", "more", "code"),
    [
        ("data.csv", ["--budget", "1e3"], 3),
        ("data.csv", ["--max-flops", "1e3"], 3),
        ("data.csv", ["--targets", "z_proj"], 2),
        ("bad.csv", [], 4),
    ],
)
def test_a_run_that_cannot_start_replaces_nothing(run_lvlora, place, data, more, code):
    Path("bad.csv").write_text("time,prey\n0,1\n1,oops\n")
    assert run_lvlora(["train", "data.csv", *place, "--out", "keep"]).exit_code == 0
    before = _content(Path("keep"))
    run_lvlora(["train", data, *place, "--out", "keep", "--overwrite", *more], code=code)
    assert _content(Path("keep")) == before
    assert list(Path.cwd().glob("*keep*")) == [Path.cwd() / "keep"]


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
    ("make", "out", "code"),
    [
        (lambda: Path("config.toml").write_text(""), ".", 2),
        (lambda: None, "runs", 2),
        (lambda: None, "..", 2),
        (lambda: Path("web/config.toml").write_text(""), "web", 2),
        (lambda: Path("mine/notes.txt").write_text("years"), "mine", 2),
        (lambda: shutil.copy("data.csv", "mine/data.csv"), "mine", 2),
        (lambda: Path("mine/adapter/README.md").write_text("years"), "mine", 2),
        (lambda: Path("mine/figures/a.png").symlink_to("b"), "mine", 2),
        (lambda: Path("link").symlink_to("mine"), "link", 2),
    ],
)
def test_what_is_not_wholly_a_run_is_never_replaced(run_lvlora, place, make, out, code):
    Path("web").mkdir()
    Path("runs").mkdir()
    assert run_lvlora(["train", "data.csv", *place, "--out", "mine"]).exit_code == 0
    make()
    before = _names(Path.cwd())
    ran = run_lvlora(["train", "data.csv", *place, "--out", out, "--overwrite"], code=code)
    assert f"--out {out}" in ran.stderr
    assert _names(Path.cwd()) == before


def test_a_place_that_cannot_be_taken_any_more_leaves_both(run_lvlora, place, monkeypatch):
    words = ["train", "data.csv", *place, "--out", "keep"]
    assert run_lvlora(words).exit_code == 0
    before = _content(Path("keep"))
    draw = fine_tune.draw_run

    def drawn(folder):
        Path("keep/notes.txt").write_text("years")  # while the new one trains
        return draw(folder)

    with monkeypatch.context() as patch:
        patch.setattr(fine_tune, "draw_run", drawn)
        run_lvlora([*words, "--overwrite", "--seed", 7], code=1)
    assert _content(Path("keep")) == {**before, "notes.txt": b"years"}
    Path("keep/notes.txt").unlink()
    ran = run_lvlora(["train", "--resume", "keep+new", "--json"], code=0)
    assert ran.json["folder"] == "keep"
    assert "seed = 7" in Path("keep/config.toml").read_text()
    assert not Path("keep+new").exists()


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
