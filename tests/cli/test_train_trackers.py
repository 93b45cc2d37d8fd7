"""`lvlora train --tracker`: outside trackers beside the run's own files, and without power over it.

TensorBoard is the real package. Trackio, Weights & Biases and MLflow are small modules here that
note what they are called with, all of them in one run; the slow test has the real packages, where
they are installed.
"""

import importlib.machinery
import importlib.util
import re
import shutil
import sys
import types
from functools import partial
from pathlib import Path
from typing import get_args

import pytest
import tiny_runs

from lvlora.settings.base import Tracker

ROOT = Path(__file__).parents[2]
VARIABLES = (
    "WANDB_MODE",
    "WANDB_PROJECT",
    "MLFLOW_TRACKING_URI",
    "MLFLOW_EXPERIMENT_NAME",
    "TRACKIO_PROJECT",
)
"""Trackers' own variables; each test begins without them."""


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
    found = {
        name: {e.step: e.value for e in events.Scalars(name)} for name in events.Tags()["scalars"]
    }
    return found, events.summary_metadata


class Fakes:
    """Modules in the place of three packages; ``calls[name]`` is what was called in them."""

    def __init__(self, monkeypatch):
        self.calls = {"trackio": [], "wandb": [], "mlflow": []}
        self.broken_at = None
        modules = {}
        for name in ("trackio", "wandb", "mlflow"):
            modules[name] = types.ModuleType(name)
            modules[name].__spec__ = importlib.machinery.ModuleSpec(name, None)
            monkeypatch.setitem(sys.modules, name, modules[name])
        modules["trackio"].init = partial(self._init, "trackio")
        modules["wandb"].init = partial(self._init, "wandb")
        mlflow, calls = modules["mlflow"], self.calls["mlflow"]
        limits = types.SimpleNamespace(MAX_PARAM_VAL_LENGTH=6000, MAX_PARAMS_TAGS_PER_BATCH=100)
        mlflow.utils = types.SimpleNamespace(validation=limits)
        mlflow.set_tracking_uri = calls.append
        mlflow.search_experiments = lambda filter_string: []
        mlflow.create_experiment = lambda name, **given: f"the experiment {name}"
        mlflow.start_run = lambda **given: calls.append(given)
        mlflow.log_params = calls.append
        mlflow.log_metrics = lambda values, step: calls.append((step, values))
        mlflow.end_run = lambda: calls.append("end")

    def _init(self, package, /, **given):
        print("chatter that would spoil the JSON")
        calls = self.calls[package]
        calls.append(given)

        def log(values, step):
            calls.append((step, values))
            if step == self.broken_at:
                raise RuntimeError("the disk of the tracker is full")

        return types.SimpleNamespace(log=log, finish=lambda: calls.append("end"))


def test_every_tracker_has_every_number_and_the_adapter_is_the_same(run_lvlora, place, monkeypatch):
    pytest.importorskip("tensorboard")
    run_lvlora([*place, "--out", "plain"], code=0)
    fakes = Fakes(monkeypatch)
    trackers = ["--tracker", "tensorboard,trackio,wandb,mlflow"]
    ran = run_lvlora([*place, "--out", "runs/told", *trackers, "--json"], code=0)
    assert ran.json["steps"] == 6  # nothing but the one object is on stdout
    assert tiny_runs.weights(Path("plain")) == tiny_runs.weights(Path("runs/told"))
    _check_tensorboard(Path("runs/told"))
    _check_the_others(fakes.calls)

    # again from the checkpoint after step 4: a new run of each
    shutil.rmtree("runs/told/state/step-00000006")
    Path("runs/told/result.json").unlink()
    for calls in fakes.calls.values():
        calls.clear()
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("TRACKIO_PROJECT", "hares")
    ran = run_lvlora(["train", "--resume", "told"], code=0)
    trackio, wandb, mlflow = fakes.calls.values()
    assert trackio[0]["project"] == "hares"
    assert wandb[0]["mode"] == "online"
    names = {trackio[0]["name"], wandb[0]["name"], mlflow[1]["run_name"]}
    assert names == {"told-from-step-5"}
    found, _ = scalars(Path("runs/told/tensorboard/events-from-step-5"))
    assert sorted(found["train/loss"]) == [5, 6]


def _check_tensorboard(run):
    found, _ = scalars(run / "tensorboard" / "events")
    assert set(found) == documented_names()
    assert len(found) == 12
    rows = tiny_runs.metrics(run)
    steps = [row for row in rows if "loss" in row]
    assert found["train/loss"] == pytest.approx({r["step"]: r["loss"] for r in steps})
    assert found["flops/total"] == pytest.approx({r["step"]: r["total_flops"] for r in steps})
    speeds = {r["step"]: r["tokens"] / r["seconds"] for r in steps}
    assert found["train/tokens_per_second"] == pytest.approx(speeds, rel=0.05)
    validations = [row["validation"] for row in rows if "validation" in row]
    assert found["validation/mae"] == pytest.approx({v["step"]: v["mae"] for v in validations})
    assert found["validation/best"] == {v["step"]: float(v["best"]) for v in validations}
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


def _check_the_others(calls):
    store = calls["mlflow"].pop(0)
    assert store == f"sqlite:///{Path('runs').resolve() / 'mlflow.db'}"
    facts = {"trackio": calls["trackio"][0]["config"], "mlflow": calls["mlflow"].pop(1)}
    facts["wandb"] = calls["wandb"][0]["config"]
    for name, (begin, *logs, end) in calls.items():
        assert begin.get("name", begin.get("run_name")) == "told"
        assert begin.get("project", begin.get("experiment_id")).endswith("lvlora")
        assert facts[name]["rank"] == 2
        # a validation before the first step, then two more
        assert [step for step, _ in logs] == [0, 1, 2, 3, 3, 4, 5, 6, 6]
        assert {key for _, values in logs for key in values} == documented_names()
        assert end == "end"
    assert (calls["wandb"][0]["mode"], calls["wandb"][0]["dir"]) == ("offline", "runs/told")
    assert not any(calls["trackio"][0][key] for key in ("embed", "auto_log_gpu", "auto_log_cpu"))


def test_a_tracker_that_fails_is_left_behind_and_the_run_is_whole(run_lvlora, place, monkeypatch):
    fakes = Fakes(monkeypatch)
    fakes.broken_at = 2

    def no_space(**given):
        raise SystemExit("no such space")  # some libraries exit where they should raise

    sys.modules["trackio"].init = no_space
    ran = run_lvlora([*place, "--out", "w", "--tracker", "trackio,wandb"], code=0)
    words = " ".join(ran.stderr.split())
    for name, why in (("trackio", "no such space"), ("wandb", "the disk of the tracker is full")):
        assert words.count(f"--tracker {name} failed") == 1
        assert why in words
    assert fakes.calls["wandb"][-1][0] == 2
    assert tiny_runs.steps_of(Path("w")) == [1, 2, 3, 4, 5, 6]
    assert Path("w/result.json").is_file()


def test_a_missing_package_is_said_before_anything_is_done(run_lvlora, place, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n: None if n == "wandb" else found(n))
    for command in ("train", "sweep"):
        ran = run_lvlora([command, *place[1:], "--tracker", "wandb"], code=2)
        assert "--tracker wandb: the package wandb is not installed" in ran.stderr
        assert "pip install 'lvlora[wandb]'" in ran.stderr
    assert not Path("runs").exists()


def test_each_has_an_extra_of_its_name():
    import tomllib

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    for name in get_args(Tracker):
        needed, accelerate = extras[name]
        assert accelerate.startswith("accelerate>=")
        assert re.match(rf"{name}(-skinny)?>=", needed)


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
@pytest.mark.parametrize("name", ["trackio", "wandb", "mlflow"])
def test_the_real_package(run_lvlora_process, place, name, tmp_path):
    """In a process of its own: their threads and hooks stay out of this one."""
    pytest.importorskip(name, exc_type=ImportError)
    environment = {"TRACKIO_DIR": str(tmp_path / "trackio"), **dict.fromkeys(VARIABLES)}
    ran = run_lvlora_process(
        [*place, "--out", "runs/r", "--tracker", name, "--json"], env=environment
    )
    assert ran.exit_code == 0, ran.stderr
    assert ran.json["steps"] == 6
    assert "failed" not in ran.stderr
    if name == "wandb":
        (file,) = Path("runs/r/wandb").glob("offline-run-*/run-*.wandb")
        content = file.read_bytes()
        assert all(n.encode() in content for n in documented_names())
    else:
        import sqlite3

        (file,) = [*tmp_path.glob("trackio/*.db"), *Path("runs").glob("mlflow.db")]
        with sqlite3.connect(file) as db:
            rows = str(db.execute("SELECT * FROM metrics").fetchall())
        db.close()
        assert all(n in rows for n in documented_names())
