"""`lvlora train` as a user meets it: one command, signals and kills, resuming, refusals."""

import inspect
import json
import os
import re
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import tiny_runs
import torch
from forked import Forked
from safetensors.torch import load_file, save_file

import lvlora
from lvlora.flops.ledger import Ledger
from lvlora.train import fine_tune, loop
from lvlora.train.loop import Objective
from lvlora.train.validation import ValidationPart


@pytest.fixture
def place(tmp_path, monkeypatch, tiny_folder):
    """A working directory with data; the flags that name model, runs and a short run."""
    monkeypatch.chdir(tmp_path)
    tiny_runs.write_csv(tmp_path / "data.csv", tiny_runs.dataset())
    return tiny_runs.flags(tiny_folder("qwen2"), Path("runs"))


def _only_run(runs=Path("runs")):
    (run,) = [p.parent for p in runs.glob("*/config.toml")]
    return run


def test_a_run_leaves_all_that_repeats_it(run_lvlora, place, made_figures):
    ran = run_lvlora(["train", "data.csv", *place, "--json"], code=0)
    result = ran.json
    run = _only_run()
    assert Path("runs/latest").read_text().strip() == run.name == result["run"]
    assert result["steps"] == 6
    assert result["flops"]["executed"] > 0
    drop = result["zero_shot"]["mae"] - result["validation"]["mae"]
    assert result["gain"]["mean"] == pytest.approx(drop, abs=1e-6)
    assert result["gain"]["of"] == "series"
    for name in (
        *("config.toml", "split.json", "environment.json", "metrics.jsonl", "report.html", "name"),
        *("result.json", "adapter/adapter_config.json", "adapter/adapter_model.safetensors"),
        "adapter/lvlora.json",
        *("adapter-last/adapter_model.safetensors", "figures/training.png"),
        "state/step-00000006/manifest.json",
    ):
        assert (run / name).is_file(), name
    page = (run / "report.html").read_text()
    assert "validation MAE before training" in page
    first = next(r for r in tiny_runs.metrics(run) if "step" in r)
    assert {"step", "loss", "seconds", "tokens", "flops"} <= first.keys()
    assert json.loads((run / "environment.json").read_text())["dtype"] == "float32"
    # the settings that it left make the same run again
    run_lvlora(["train", "--config", run / "config.toml", "--out", "again"], code=0)
    assert tiny_runs.weights(run) == tiny_runs.weights(Path("again"))
    assert Path("runs/latest").read_text().strip() == run.name  # `again` is not among the runs
    assert not Path("latest").exists()


@pytest.mark.usefixtures("unbounded")
def test_a_table_and_the_next_command(run_lvlora, place):
    ran = run_lvlora(["train", "data.csv", *place], code=0)
    assert "validation MAE" in ran.stdout
    assert "FLOPs, executed" in ran.stdout
    assert re.search(f"Next: lvlora evaluate .* --adapter {_only_run()}$", ran.stderr, re.MULTILINE)
    assert "Traceback" not in ran.stderr


def test_the_first_step_is_five_frames_below_the_command(run_lvlora, place, monkeypatch):
    """From cli/train.py to the loss of the first step; nothing is planned or loaded twice."""
    package, loss_sum, stacks = Path(lvlora.__file__).parent, Objective.loss_sum, []
    calls = []
    for name in ("plan_run", "load_run"):
        function = getattr(fine_tune, name)

        def counted(*args, name=name, function=function):
            calls.append(name)
            return function(*args)

        monkeypatch.setattr(fine_tune, name, counted)

    def watched(self, batch):
        if torch.is_grad_enabled():  # validation needs no gradients
            files = [Path(frame.filename) for frame in inspect.stack(0)]
            stacks.append([f.relative_to(package) for f in files if package in f.parents])
        return loss_sum(self, batch)

    monkeypatch.setattr(Objective, "loss_sum", watched)
    assert run_lvlora(["train", "data.csv", *place]).exit_code == 0
    command = stacks[0].index(Path("cli/train.py"))
    assert 1 + command <= 4  # and the loss itself
    assert calls == ["plan_run", "load_run"]


def test_the_printed_gain_is_the_gain_that_forecasts_have(run_lvlora, place):
    trained = run_lvlora(["train", "data.csv", *place, "--out", "run", "--json"]).json
    scored = ["--split", "validation", "--context", "7", "--horizon", "7", "--samples", "8"]
    machine = ["--threads", "1", "--dtype", "float32", "--no-rivals", "--json"]
    ran = run_lvlora(["evaluate", "data.csv", *scored, "--adapter", "run", *machine], code=0)
    errors = {row["name"].rpartition(" ")[2]: row["mae"] for row in ran.json["forecasters"]}
    assert errors["run"] == pytest.approx(trained["validation"]["mae"], rel=1e-6)
    assert errors["zero-shot"] == pytest.approx(trained["zero_shot"]["mae"], rel=1e-6)


def test_an_adapter_that_does_not_help_is_not_picked_up(run_lvlora, place, monkeypatch):
    errors = iter([1.0, 2.0, 3.0])  # before training, and of two validations
    monkeypatch.setattr(
        ValidationPart, "errors", lambda self, point: np.full_like(point, next(errors, 2.0))
    )
    ran = run_lvlora(["train", "data.csv", *place], code=0)
    assert "--adapter none" in ran.stderr
    forecast = ["forecast", "data.csv", "--series", "s0", "--horizon", "2", "--json"]
    model = ["--model", place[place.index("--model") + 1], "--threads", "1"]
    without_adapter = run_lvlora([*forecast, *model], code=0)
    assert f"--adapter {_only_run().name}" in without_adapter.stderr
    assert (
        without_adapter.json["series"]
        == run_lvlora([*forecast, *model, "--adapter", "none"]).json["series"]
    )


def test_a_dry_run_spends_and_writes_nothing(run_lvlora, place):
    ran = run_lvlora(["train", "data.csv", *place, "--dry-run", "--json"], code=0)
    assert not Path("runs").exists()
    plan = ran.json
    real = run_lvlora(["train", "data.csv", *place, "--json"]).json
    assert plan["steps"] == real["steps"]
    assert plan["trainable_parameters"] == real["trainable_parameters"]
    for convention, most in plan["flops_at_most"].items():
        assert 0.2 * most < real["flops"][convention] <= most
    results = plan["estimate"]
    parts = (
        results["first_step_seconds"] + results["step_seconds"] + 2 * results["validation_seconds"]
    )
    assert 0 < parts < results["seconds"]
    assert 50e6 < results["peak_bytes"] < 20e9
    assert 0 < results["probe_flops"]["executed"] < 10 * plan["flops_at_most"]["executed"]


class _Process:
    """The program, with a slow step so that a signal meets it in the middle."""

    def __init__(self, args):
        self.process = Forked(args, before=self._slow)

    @staticmethod
    def _slow():
        clip = loop.nn.utils.clip_grad_norm_

        def slow(*args):
            time.sleep(0.15)
            return clip(*args)

        loop.nn.utils.clip_grad_norm_ = slow

    def until_step(self, step, runs=Path("runs")):
        for _ in range(1200):
            for file in runs.glob("*/metrics.jsonl"):
                if f'{{"step": {step},' in file.read_text():
                    return self
            assert self.process.poll() is None, self.process.communicate()
            time.sleep(0.02)
        raise AssertionError("no step was made")

    def send(self, number):
        self.process.send_signal(number)
        return self

    def end(self):
        out, err = self.process.communicate(60)
        return self.process.returncode, out, err


def _whole(run_lvlora, place):
    assert run_lvlora(["train", "data.csv", *place, "--out", "whole"]).exit_code == 0
    return tiny_runs.weights(Path("whole")), tiny_runs.weights(Path("whole"), "adapter-last")


def _check_same_end(expected, run):
    assert expected == (tiny_runs.weights(run), tiny_runs.weights(run, "adapter-last"))
    assert tiny_runs.steps_of(run) == [1, 2, 3, 4, 5, 6]


def test_killed_in_the_middle_a_run_goes_on_with_one_command(run_lvlora, place):
    expected = _whole(run_lvlora, place)
    code, _, _ = _Process(["train", "data.csv", *place]).until_step(3).send(signal.SIGKILL).end()
    assert code == -signal.SIGKILL
    run = _only_run()
    with Ledger.for_runs(Path("runs")) as ledger:
        killed = [r for r in ledger.rows() if r.run == run.name]
        assert {r.status for r in killed} == {"open"}
        assert all(r.charged == r.reserved for r in killed)  # the reservation stays charged
    ran = run_lvlora(["train", "--resume"], code=0)
    assert "Going on after step 2 of 6." in ran.stderr
    _check_same_end(expected, run)
    with Ledger.for_runs(Path("runs")) as ledger:
        rows = [r for r in ledger.rows() if r.run == run.name]
    assert not any(r.status == "open" for r in rows)
    executed = sum(r.spent.executed for r in rows)
    assert executed > json.loads((run / "result.json").read_text())["flops"]["executed"]


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGTERM,
        *(pytest.param(n, marks=pytest.mark.slow) for n in (signal.SIGHUP, signal.SIGINT)),
    ],
)
def test_stopped_by_a_signal_it_says_how_to_go_on(run_lvlora, place, number):
    expected = _whole(run_lvlora, place)
    code, _, err = _Process(["train", "data.csv", *place]).until_step(2).send(number).end()
    assert code == 75
    assert "Traceback" not in err
    assert "Stopping after this step, then saving; once more stops at once." in err
    *_, message, hint = err.strip().splitlines()
    assert "everything is saved" in message
    command = hint.partition("lvlora ")[2].split()
    assert command[:2] == ["train", "--resume"]
    run_lvlora(command, code=0)
    _check_same_end(expected, _only_run())


@pytest.fixture
def stopped(run_lvlora, place, monkeypatch):
    """A run that a signal stopped after two steps."""
    with tiny_runs.stopped_by_a_signal(monkeypatch):
        ran = run_lvlora(["train", "data.csv", *place])
    assert ran.exit_code == 75, ran.stderr
    return _only_run()


def test_settings_cannot_change_half_way(run_lvlora, stopped):
    ran = run_lvlora(["train", "--resume", stopped.name, "--rank", 4], code=2)
    assert "--rank: a run goes on with its own settings (2, not 4)" in ran.stderr
    ran = run_lvlora(["train", "--resume"], env={"LVLORA_SEED": "9"}, code=2)
    assert "--seed" in ran.stderr
    # what says the same is no conflict
    assert run_lvlora(["train", "--resume", stopped.name, "--rank", 2]).exit_code == 0


def test_moved_data_and_another_working_directory_do_no_harm(
    run_lvlora, stopped, tmp_path, monkeypatch
):
    Path("data.csv").rename("moved.csv")
    ran = run_lvlora(["train", "--resume"], code=4)
    assert "data.csv: no such file" in ran.stderr
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    ran = run_lvlora(["train", "../moved.csv", "--resume", f"../{stopped}"], code=0)
    assert [p.name for p in elsewhere.iterdir()] == []  # its ledger is where it was


def test_resume_alone_takes_the_newest_run_that_is_not_over(run_lvlora, place, stopped):
    assert run_lvlora(["train", "data.csv", *place]).exit_code == 0  # a newer one, finished
    # a copy whose name comes last, and that was left alone for longer
    copy = Path(shutil.copytree(stopped, stopped.parent / "zzz"))
    for file in copy.iterdir():
        os.utime(file, (1e9, 1e9))
    ran = run_lvlora(["train", "--resume", "--json"], code=0)
    assert ran.json["folder"] == str(stopped)
    shutil.rmtree(copy)
    ran = run_lvlora(["train", "--resume"], code=2)
    assert "there is no stopped run in runs" in ran.stderr
    run_lvlora(["train", "--resume", "nothing"], code=2)


@pytest.mark.parametrize("ledger", ["kept", "lost"])
def test_a_renamed_run_keeps_what_it_has_spent(run_lvlora, stopped, ledger):
    """A limit that is enough for what is left, and not for what was done before."""
    with Ledger.for_runs(Path("runs")) as book:
        spent = book.charged().executed
    renamed = stopped.rename(stopped.parent / "renamed")
    if ledger == "lost":
        for file in Path("runs").glob("ledger.sqlite*"):
            file.unlink()
    ran = run_lvlora(["train", "--resume", "renamed", "--max-flops", spent + 1], code=3)
    message = re.search(r"run (\S+): ([\d,]+) FLOPs spent, the next step", ran.stderr)
    assert message is not None, ran.stderr
    assert (message[1], message[2]) == (stopped.name, f"{spent:,}")
    ran = run_lvlora(["train", "--resume", "renamed", "--json"], code=0)
    assert (ran.json["run"], ran.json["folder"]) == (stopped.name, str(renamed))
    with Ledger.for_runs(Path("runs")) as book:
        assert {row.run for row in book.rows()} == {stopped.name}
        before = spent if ledger == "lost" else 0
        assert book.charged().executed + before == ran.json["flops"]["executed"]


def test_a_run_that_goes_on_does_not_bring_its_old_budget_back(run_lvlora, stopped):
    config = stopped / "config.toml"
    config.write_text(config.read_text().replace("# budget is not set", "budget = 1000"))
    run_lvlora(["train", "--resume"], code=0)
    with Ledger.for_runs(Path("runs")) as book:
        assert book.budget() is None


@pytest.mark.parametrize("size", [10**7, 2**62])
def test_a_batch_that_cannot_fit_is_refused(run_lvlora, place, size):
    ran = run_lvlora(["train", "data.csv", *place, "--batch-size", size], code=2)
    assert f"--batch-size {size:,}" in ran.stderr
    assert not list(Path("runs").glob("*/config.toml"))


@pytest.mark.parametrize("head", ["numeric", "full"])
def test_a_trained_head_is_used_by_forecast(run_lvlora, place, head):
    words = ["--train-head", head, "--learning-rate", "0.3", "--no-validation"]
    run_lvlora(["train", "data.csv", *place, *words], code=0)
    ahead = ["forecast", "data.csv", "--greedy", "-n", 4, "--threads", 1, "--dtype", "float32"]
    trained = run_lvlora([*ahead, "--json"], code=0)
    # with the head as it was the same adapter writes another forecast
    adapter = _only_run() / "adapter"
    if head == "numeric":
        (adapter / "numeric_head.safetensors").unlink()
    else:
        tensors, config = adapter / "adapter_model.safetensors", adapter / "adapter_config.json"
        updates = {n: t for n, t in load_file(tensors).items() if "lora_" in n}
        save_file(updates, tensors)
        facts = json.loads(config.read_text())
        config.write_text(json.dumps({**facts, "modules_to_save": None}))
    facts = json.loads((adapter / "lvlora.json").read_text())
    del facts["sha256"], facts["facts_sha256"]
    (adapter / "lvlora.json").write_text(json.dumps(facts))
    without = run_lvlora([*ahead, "--json"], code=0)
    assert without.json["series"] != trained.json["series"]


def _content(folder):
    files = (p for p in folder.rglob("*") if p.is_file() and p.name != ".lock")
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


def test_what_is_there_is_never_replaced(run_lvlora, place):
    words = ["train", "data.csv", *place, "--max-steps", "1", "--no-validation"]
    assert run_lvlora([*words, "--out", "mine"]).exit_code == 0
    Path("notes").mkdir()
    Path("notes/notes.txt").write_text("years")
    Path("link").symlink_to("mine")
    before = _content(Path.cwd())
    for out in ("mine", "notes", "link", ".", "runs"):
        ran = run_lvlora([*words, "--out", out], code=2)
        assert f"--out {out}: is there already" in ran.stderr
    assert _content(Path.cwd()) == before


def test_two_at_once_make_one_run(run_lvlora, place, monkeypatch):
    """The second comes between the first one's look at the folder and its first file."""
    words = ["train", "data.csv", *place, "--max-steps", "1", "--no-validation", "--out", "both"]
    second = []
    create = fine_tune.create

    def created(*args):
        folder = create(*args)
        if not second:
            second.append(None)
            second[0] = run_lvlora([*words, "--seed", 7])
        return folder

    monkeypatch.setattr(fine_tune, "create", created)
    first = run_lvlora(words)
    assert sorted([first.exit_code, second[0].exit_code]) == [0, 2], first.stderr
    assert "seed = 7" in Path("both/config.toml").read_text()
    assert "is there already" in first.stderr


def test_a_deleted_run_does_not_spend_from_the_limit_of_the_next_of_its_name(run_lvlora, place):
    words = ["train", "data.csv", *place, "--out", "mine", "--no-validation", "--json"]
    first = run_lvlora(words).json
    limit = first["flops"]["executed"]
    shutil.rmtree("mine")
    ran = run_lvlora([*words, "--max-flops", limit], code=0)
    assert ran.json["run"] == "mine+2"
    assert ran.json["steps"] == first["steps"]
    with Ledger.for_runs(Path("runs")) as ledger:
        assert {row.run for row in ledger.rows()} == {"mine", "mine+2"}
    assert run_lvlora(["train", "--resume", "mine", "--json"]).json["run"] == "mine+2"


@pytest.mark.slow
def test_the_memory_of_validation_is_bounded_and_changes_no_adapter(run_lvlora, place):
    refused = run_lvlora(["train", "data.csv", *place, "--max-memory", "1KB"], code=2)
    assert "--max-memory 1,000: the cache of one future" in refused.stderr
    assert not list(Path("runs").glob("*/config.toml"))
    results_of = []
    for more in ([], ["--max-memory", "70KB"]):  # two rows of 128 places at a time
        out = Path("runs") / f"run{len(results_of)}"
        run_lvlora(["train", "data.csv", *place, *more, "--out", out], code=0)
        results = [m["validation"] for m in tiny_runs.metrics(out) if "validation" in m]
        results_of.append((tiny_runs.weights(out), [(v["loss"], v["mae"]) for v in results]))
    assert results_of[0] == results_of[1]
