"""`lvlora train --tracker`: outside trackers beside the run's own files, and without power over it.

TensorBoard is the real package. In place of wandb there is a small module that notes what it is
called with; the slow test has the real package, where it is installed.
"""

import importlib.machinery
import importlib.util
import re
import shutil
import sys
import tomllib
import types
from pathlib import Path
from typing import get_args

import pytest
import tiny_runs

from lvlora.settings.base import Tracker

ROOT = Path(__file__).parents[2]
VARIABLES = ("WANDB_MODE", "WANDB_PROJECT")
"""Variables of wandb's own; each test begins without them."""


@pytest.fixture
def place(tmp_path, monkeypatch, tiny_folder):
    monkeypatch.chdir(tmp_path)
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    tiny_runs.write_csv(tmp_path / "data.csv", tiny_runs.dataset())
    return ["train", "data.csv", *tiny_runs.flags(tiny_folder("qwen2"), Path("runs"))]


def documented_names():
    page = (ROOT / "docs" / "trackers.md").read_text(encoding="utf-8")
    return set(re.findall(r"^\| `((?:train|validation|flops)/\w+)` \|", page, re.M))


def scalars(folder):
    """(name -> step -> value, what hyperparameters are in) of TensorBoard's files."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder)).Reload()
    values = {
        name: {e.step: e.value for e in events.Scalars(name)} for name in events.Tags()["scalars"]
    }
    return values, events.summary_metadata


class FakeWandb(types.ModuleType):
    """A module in the place of wandb; ``calls`` is what was called in it."""

    def __init__(self, broken_at=None):
        super().__init__("wandb")
        self.__spec__ = importlib.machinery.ModuleSpec("wandb", None)
        self.calls, self.broken_at = [], broken_at

    def init(self, **options):
        print("chatter that would spoil the JSON")
        self.calls.append(options)
        return types.SimpleNamespace(log=self.log, finish=lambda: self.calls.append("end"))

    def log(self, values, step):
        self.calls.append((step, values))
        if step == self.broken_at:
            raise SystemExit("the disk of the tracker is full")


@pytest.fixture
def wandb(monkeypatch):
    module = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", module)
    return module


def test_every_tracker_has_every_number_and_the_adapter_is_the_same(
    run_lvlora, place, monkeypatch, wandb
):
    pytest.importorskip("tensorboard")
    run_lvlora([*place, "--out", "plain"], code=0)
    ran = run_lvlora(
        [*place, "--out", "runs/told", "--tracker", "tensorboard,wandb", "--json"], code=0
    )
    assert ran.json["steps"] == 6  # nothing but the one object is on stdout
    assert tiny_runs.weights(Path("plain")) == tiny_runs.weights(Path("runs/told"))
    _check_tensorboard(Path("runs/told"))
    begin, *logs, end = wandb.calls
    assert (begin["name"], begin["project"], begin["mode"]) == ("told", "lvlora", "offline")
    assert begin["dir"] == "runs/told"
    assert begin["config"]["rank"] == 2
    # a validation before the first step, then two more
    assert [step for step, _ in logs] == [0, 1, 2, 3, 3, 4, 5, 6, 6]
    assert {key for _, values in logs for key in values} == documented_names()
    assert end == "end"

    # again from the checkpoint after step 4: a new run of each
    shutil.rmtree("runs/told/state/step-00000006")
    Path("runs/told/result.json").unlink()
    wandb.calls.clear()
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_PROJECT", "hares")
    run_lvlora(["train", "--resume", "told"], code=0)
    begin = wandb.calls[0]
    assert (begin["name"], begin["project"]) == ("told-from-step-5", "hares")
    assert begin["mode"] == "online"
    values, _ = scalars(Path("runs/told/tensorboard/events-from-step-5"))
    assert sorted(values["train/loss"]) == [5, 6]


def _check_tensorboard(run):
    values, _ = scalars(run / "tensorboard" / "events")
    assert set(values) == documented_names()
    assert len(values) == 12
    rows = tiny_runs.metrics(run)
    steps = [row for row in rows if "loss" in row]
    assert values["train/loss"] == pytest.approx({r["step"]: r["loss"] for r in steps})
    assert values["flops/total"] == pytest.approx({r["step"]: r["total_flops"] for r in steps})
    speeds = {r["step"]: r["tokens"] / r["seconds"] for r in steps}
    assert values["train/tokens_per_second"] == pytest.approx(speeds, rel=0.05)
    validations = [row["validation"] for row in rows if "validation" in row]
    assert values["validation/mae"] == pytest.approx({v["step"]: v["mae"] for v in validations})
    assert values["validation/best"] == {v["step"]: float(v["best"]) for v in validations}
    from tensorboard.plugins.hparams import metadata as hparams

    (events,) = (run / "tensorboard" / "events").glob("*/events.*")
    _, metadata = scalars(events.parent)
    start = hparams.parse_session_start_info_plugin_data(
        metadata["_hparams_/session_start_info"].plugin_data.content
    )
    assert start.hparams["rank"].number_value == 2
    assert start.hparams["targets"].string_value == "all-linear"
    assert start.hparams["steps"].number_value == 6
    assert "budget" not in start.hparams  # it is not set


def test_a_tracker_that_fails_is_left_behind_and_the_run_is_whole(run_lvlora, place, wandb):
    wandb.broken_at = 2
    ran = run_lvlora([*place, "--out", "w", "--tracker", "wandb"], code=0)
    words = " ".join(ran.stderr.split())
    assert words.count("--tracker wandb failed") == 1
    assert "the disk of the tracker is full" in words
    assert wandb.calls[-1][0] == 2
    assert tiny_runs.steps_of(Path("w")) == [1, 2, 3, 4, 5, 6]
    assert Path("w/result.json").is_file()


def test_a_missing_package_is_said_before_anything_is_done(run_lvlora, place, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n: None if n == "wandb" else find(n))
    for command in ("train", "sweep"):
        ran = run_lvlora([command, *place[1:], "--tracker", "wandb"], code=2)
        assert "--tracker wandb: the package wandb is not installed" in ran.stderr
        assert "pip install 'lvlora[wandb]'" in ran.stderr
    assert not Path("runs").exists()


def test_each_has_an_extra_of_its_name():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for name in get_args(Tracker):
        assert project["optional-dependencies"][name][0].startswith(f"{name}>=")


@pytest.mark.slow
def test_each_trial_of_a_sweep_is_told(run_lvlora, place):
    pytest.importorskip("tensorboard")
    Path("space.toml").write_text("rank = [2]\nlearning_rate = [0.01, 0.001]\n")
    words = place[1:]
    for searched in ("--rank", "--learning-rate"):
        at = words.index(searched)
        del words[at : at + 2]
    run_lvlora(["sweep", *words, "--space", "space.toml", "--tracker", "tensorboard"], code=0)
    folders = list(Path("runs").glob("sweep/trial-*/tensorboard/events"))
    assert [sorted(scalars(f)[0]["train/loss"]) for f in folders] == [[1, 2, 3, 4, 5, 6]] * 2


@pytest.mark.slow
def test_the_real_package(run_lvlora_process, place):
    """In a process of its own: its threads and hooks stay out of this one."""
    pytest.importorskip("wandb", exc_type=ImportError)
    ran = run_lvlora_process(
        [*place, "--out", "runs/r", "--tracker", "wandb", "--json"], env=dict.fromkeys(VARIABLES)
    )
    assert ran.exit_code == 0, ran.stderr
    assert ran.json["steps"] == 6
    assert "failed" not in ran.stderr
    (file,) = Path("runs/r/wandb").glob("offline-run-*/run-*.wandb")
    content = file.read_bytes()
    assert all(n.encode() in content for n in documented_names())
