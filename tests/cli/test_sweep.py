"""`lvlora sweep` as a user meets it: real trials of a tiny model on a tiny data set."""

import contextlib
import json
import multiprocessing
import os
import shutil
import signal
import time
from pathlib import Path

import pytest
import tiny_runs

from lvlora.answers import Price
from lvlora.errors import NumericalError
from lvlora.flops.ledger import Ledger, Wanted
from lvlora.flops.rows import Spender
from lvlora.sweep import search
from lvlora.train.run import Run

SPACE = "learning_rate = [1e-3, 3e-2]\nrank = [2, 4]\n"
TABLE = ("trial", "stage", "params", "value", "mae", "loss", "steps", "flops", "state")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    from lvlora.data.files import write_dataset
    from lvlora.data.settings import SimulateSettings
    from lvlora.data.simulate import simulate

    path = tmp_path_factory.mktemp("data") / "d.h5"
    write_dataset(simulate(SimulateSettings(n_series=24, n_steps=10)), path)
    return path


@pytest.fixture
def args(tmp_path, tiny_folder, data):
    """The command line of a sweep of four trials in ``tmp_path``."""
    (tmp_path / "space.toml").write_text(SPACE)
    small = (
        "--seq-len 64 --batch-size 2 --validation-series 2 --dtype float32 --threads 1 "
        "--save-every 1 --validate-every 2 --max-steps 4"
    )
    places = ["--model", tiny_folder("qwen2"), "--runs", tmp_path / "runs"]
    return ["sweep", data, *places, *small.split(), "--space", tmp_path / "space.toml"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A place for the runs of one finished sweep, filled by the first who asks."""
    return tmp_path_factory.mktemp("finished")


@pytest.fixture
def done(finished, run_lvlora, args, tmp_path, made_figures):
    """A finished sweep in this test's runs."""
    if not (finished / "runs").exists():
        ran = run_lvlora([*args, "--json", "--runs", finished / "runs"], code=0)
        (finished / "found.json").write_text(ran.stdout)
    shutil.copytree(finished / "runs", tmp_path / "runs")
    return json.loads((finished / "found.json").read_text())


@pytest.fixture
def plain(monkeypatch):
    """Trials without pictures of their own, which take longer than the trials."""
    monkeypatch.setattr("lvlora.train.document.draw_run", lambda folder: [])
    monkeypatch.setattr("lvlora.sweep.search.write_page", lambda path, *args: [path])


def without(args, option):
    at = args.index(option)
    return args[:at] + args[at + 2 :]


def table(payload):
    return [{key: row[key] for key in TABLE} for row in payload["table"]]


def charged(runs):
    with Ledger.for_runs(runs) as ledger:
        return ledger.charged(), ledger.rows()


def test_the_best_of_all_trials_is_found_and_shown(done):
    assert done["trials"]["planned"] == done["trials"]["complete"] == 4
    values = [row["mae"] for row in done["table"]]
    assert done["best"]["value"] == min(values)
    assert done["best"]["params"] == done["table"][values.index(min(values))]["params"]
    names = ["error-by-flops.svg", "error-by-setting.svg", "report.html"]
    assert [Path(file).name for file in done["files"]] == names
    assert all(Path(file).is_file() for file in done["files"])


def test_each_trial_is_a_run_with_its_rows_in_the_one_ledger(done, tmp_path):
    trial = tmp_path / "runs" / "sweep" / "trial-0001"
    for name in ("config.toml", "metrics.jsonl", "report.html", "adapter/adapter_config.json"):
        assert (trial / name).is_file()
    total, rows = charged(tmp_path / "runs")
    assert {row.run for row in rows} == {f"sweep/trial-000{i}" for i in range(4)}
    assert done["flops"] == {"executed": total.executed, "coursework": total.coursework}
    assert total.executed == sum(row["flops"] for row in done["table"])
    assert total.executed <= done["plan"]["flops_at_most"]["executed"]


def test_the_best_settings_alone_make_the_same_run(run_lvlora, done, tmp_path):
    command = done["command"].split()
    assert command[:2] == ["lvlora", "train"]
    alone = run_lvlora(
        [*command[1:], "--max-steps", "4", "--runs", tmp_path / "alone", "--json", "--quiet"]
    )
    assert alone.json["validation"]["mae"] == done["best"]["mae"]


def test_the_same_command_has_nothing_left_to_do(run_lvlora, args, tmp_path, done):
    total = charged(tmp_path / "runs")[0]
    again = run_lvlora(args, code=0)
    assert "Study sweep is finished" in again.stderr
    assert "4 of 4 trials" in again.stdout
    assert "--learning-rate" in again.stderr
    printed = [line for line in again.stdout.splitlines() if str(tmp_path) not in line]
    assert max(map(len, printed)) <= 100  # a path is as long as it is
    assert charged(tmp_path / "runs")[0] == total


def test_status_needs_no_model_and_no_data(run_lvlora, tmp_path, done):
    (tmp_path / "space.toml").unlink()
    status = ["sweep", "--status", "--runs", tmp_path / "runs"]
    ran = run_lvlora([*status, "--json"], code=0)
    assert ran.json["trials"] == done["trials"]
    assert table(ran.json) == table(done)
    assert "trial" in run_lvlora(status).stdout
    missing = run_lvlora([*status, "--study", "other"], code=2)
    assert "there is no study other" in missing.stderr


@pytest.fixture
def interrupted():
    """Ctrl-C in the second step of the second trial, within the block."""

    @contextlib.contextmanager
    def interrupted():
        record, planned = Run._record, []

        def interrupting(self, step):
            record(self, step)
            planned.append(step.step)
            if planned == [1, 2, 3, 4, 1, 2]:
                os.kill(os.getpid(), signal.SIGINT)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Run, "_record", interrupting)
            yield patch

    return interrupted


def test_ctrl_c_and_the_same_command_again(run_lvlora, args, tmp_path, done, interrupted):
    reference, _ = charged(tmp_path / "runs")
    args = [*args, "--runs", tmp_path / "again"]
    with interrupted():
        stopped = run_lvlora([*args, "--json"], code=75)
    assert "study sweep: stopped; everything is saved" in stopped.stderr
    assert not stopped.stdout
    metrics = tmp_path / "again" / "sweep" / "trial-0001" / "metrics.jsonl"
    steps = [
        row["step"] for row in map(json.loads, metrics.read_text().splitlines()) if "loss" in row
    ]
    assert steps == [1, 2]

    gone_on = run_lvlora([*args, "--json"], code=0)
    assert table(gone_on.json) == table(done)
    # the interrupted trial went on where it was: nothing was paid twice
    assert gone_on.json["flops"] == done["flops"]
    assert charged(tmp_path / "again")[0] == reference


@pytest.fixture
def two(args, tmp_path, plain):
    """A sweep of two trials."""
    (tmp_path / "space.toml").write_text("rank = [2, 4]\n")
    return args


def test_a_failed_trial_does_not_end_the_sweep(run_lvlora, two, monkeypatch):
    train = Run.train

    def failing(self):
        result = train(self)
        if self.folder.path.name == "trial-0000":
            raise NumericalError("step 3: the loss is nan", "Try less.")
        return result

    monkeypatch.setattr(Run, "train", failing)
    ran = run_lvlora([*two, "--json"], code=0)
    assert ran.json["trials"]["failed"] == 1
    assert ran.json["table"][0]["reason"] == "step 3: the loss is nan"
    assert ran.json["table"][0]["mae"] is None
    assert ran.json["trials"]["complete"] == 1
    assert ran.json["best"]["trial"] == 1


def test_an_unforeseen_fault_gives_the_trial_back(run_lvlora, two, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Run, "train", lambda self: 1 / 0)
        run_lvlora(two, code=1)
    ran = run_lvlora([*two, "--json"])
    assert ran.json["trials"]["complete"] == 2
    assert ran.json["finished"]


@pytest.mark.slow
def test_limits_are_planned_for(run_lvlora, args, tmp_path, plain):
    derived = without(without(args, "--max-steps"), "--validate-every")
    dry = run_lvlora([*derived, "--max-flops", "4e9", "--dry-run", "--json"], code=0)
    at_most = dry.json["plan"]["flops_at_most"]["executed"]
    assert dry.json["estimate"]["seconds"] > 0
    assert dry.json["estimate"]["peak_bytes"] > 50e6
    assert 0.75 * 4e9 < at_most <= 0.95 * 4e9
    assert not (tmp_path / "runs").exists()

    ran = run_lvlora([*derived, "--max-flops", "4e9", "--json"], code=0)
    fewest, largest = ran.json["plan"]["stages"][0]["steps"]
    assert {row["steps"] for row in ran.json["table"]} == {fewest, largest}
    assert ran.json["flops"]["executed"] <= at_most

    refused = run_lvlora([*args, "--study", "other", "--max-flops", "1e8"], code=3)
    assert "the sweep may cost" in refused.stderr
    assert not (tmp_path / "runs" / "other").exists()


@pytest.mark.slow
def test_a_tight_limit_is_not_spent_on_validations(run_lvlora, args, tmp_path, plain):
    loose = args
    for option in ("--max-steps", "--validation-series", "--validate-every"):
        loose = without(loose, option)
    plans = {
        limit: run_lvlora([*loose, "--max-flops", limit, "--dry-run", "--json"]).json["plan"]
        for limit in ("3e9", "1e11")
    }
    tight, wide = plans["3e9"], plans["1e11"]
    assert (wide["validation_series"], wide["validations"]) == (16, 4)
    assert (tight["validation_series"], tight["validations"]) == (4, 1)
    ran = run_lvlora([*loose, "--max-flops", "3e9", "--json"], code=0)
    trials = [tmp_path / "runs" / "sweep" / f"trial-{number:04d}" for number in range(4)]
    for trial in trials:
        assert sum("validation" in row for row in tiny_runs.metrics(trial)) == 2
    # its folder holds all that is needed to repeat it, and to go on
    again = run_lvlora(
        ["train", "--config", trials[0] / "config.toml", "--out", tmp_path / "again", "--json"],
        code=0,
    )
    first = ran.json["table"][0]
    assert again.json["flops"]["executed"] == first["flops"]
    assert again.json["validation"] == {"loss": first["loss"], "mae": first["mae"]}
    run_lvlora(["train", "--resume", trials[0]], code=0)


def test_memory_is_that_of_the_largest_trial_of_any_stage(run_lvlora, args, monkeypatch):
    measured = []

    def prepare(settings, *rest):
        measured.append((settings.seq_len, settings.rank))
        return reference(settings, *rest)

    reference = search.plan_trial
    monkeypatch.setattr("lvlora.sweep.search.plan_trial", prepare)
    course = without(without(without(args, "--space"), "--seq-len"), "--max-steps")
    run_lvlora([*course, "--preset", "coursework", "--max-flops", "1e10", "--dry-run"], code=0)
    assert measured == [(768, 8)]


def test_a_limit_that_is_reached_ends_the_sweep_whole(run_lvlora, two, tmp_path, interrupted):
    planned = run_lvlora([*two, "--dry-run", "--json"]).json
    most = planned["plan"]["flops_at_most"]["executed"]
    limited = [*two, "--max-flops", str(most)]
    with interrupted():
        run_lvlora([*limited, "--quiet"], code=75)
    with Ledger.for_runs(tmp_path / "runs") as ledger:  # a lost attempt cost as much as one trial
        wanted = {"train": Wanted(Price(most // 2, most // 2))}
        ledger.reserve("sweep/trial-0009", wanted, Spender(command="train"))
    ran = run_lvlora([*limited, "--json"], code=3)
    assert "study sweep" in ran.json["stopped_by"]
    assert "--max-flops" in ran.stderr
    assert ran.json["trials"]["complete"] == 1
    assert ran.json["trials"]["waiting"] == 1
    more = run_lvlora([*two, "--max-flops", str(2 * most), "--json"], code=0)
    assert more.json["trials"]["complete"] == 2


@pytest.mark.slow
def test_an_earlier_study_of_that_name_is_not_charged_to_this_one(run_lvlora, two, tmp_path):
    first = run_lvlora([*two, "--json"]).json
    shutil.rmtree(tmp_path / "runs" / "sweep")
    most = first["plan"]["flops_at_most"]["executed"]
    again = run_lvlora([*two, "--max-flops", str(most), "--json"], code=0)
    assert again.json["flops"] == first["flops"]


@pytest.mark.slow
def test_the_project_budget_stops_a_sweep_between_trials(run_lvlora, args, tmp_path, plain):
    train = Run.train
    runs = tmp_path / "runs"

    def spending(self):
        result = train(self)
        if self.folder.path.name == "trial-0001":
            with Ledger.for_runs(runs) as ledger:  # another command spends meanwhile
                ledger.set_budget(ledger.charged().executed + 1000, "executed")
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "train", spending)
        ran = run_lvlora([*args, "--json"], code=3)
    assert "project:" in ran.stderr
    assert ran.json["trials"]["complete"] == 2
    assert ran.json["trials"]["waiting"] == 2
    with Ledger.for_runs(runs) as ledger:
        ledger.set_budget(10**15, "executed")
    assert run_lvlora([*args, "--json"]).json["trials"]["complete"] == 4


@pytest.mark.slow
@pytest.mark.usefixtures("unbounded")
def test_few_series_are_searched_by_their_last_steps(run_lvlora, args, tmp_path):
    """How much is mixed in may be searched: what is scored is the same in every trial."""
    few = tiny_runs.write_csv(tmp_path / "few.csv", tiny_runs.dataset(2, 40))
    (tmp_path / "space.toml").write_text("mix = [0.0, 0.5]\n")
    words = [args[0], few, *args[2:]]
    ran = run_lvlora([*words, "--json"], code=0)
    assert [trial["params"]["mix"] for trial in ran.json["table"]] == [0.0, 0.5]
    values = [trial["value"] for trial in ran.json["table"]]
    assert len(set(values)) == 2
    runs = [Path(trial["folder"]) for trial in ran.json["table"]]
    before = [tiny_runs.metrics(run)[0]["validation"]["mae"] for run in runs]
    assert before[0] == before[1]
    assert "validation_steps = 10" in (runs[0] / "config.toml").read_text()
    assert "nothing is left to do" in run_lvlora(words).stderr
    other = run_lvlora([*words, "--validation-steps", 0])
    assert "validation_steps (was 10, not 0)" in other.stderr


# --- processes of their own -----------------------------------------------------------------------


def wait_for(condition, seconds=200):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.01)


def lines(path):
    return len(path.read_text().splitlines()) if path.is_file() else 0


@pytest.mark.slow
def test_killed_and_continued_gives_the_same_table(run_lvlora, args, tmp_path, plain):
    (tmp_path / "space.toml").write_text("learning_rate = {low = 1e-4, high = 1e-1, log = true}\n")
    args = [*args, "--trials", "3", "--max-steps", "8", "--json"]
    reference = run_lvlora([*args, "--runs", tmp_path / "whole"]).json
    for slot, rows in ((1, 4), (2, 6)):
        # a fork, so that it forecasts under the same fixtures as the sweep it is compared with
        killed = multiprocessing.get_context("fork").Process(target=run_lvlora, args=(args,))
        killed.start()
        wait_for(
            lambda s=slot, r=rows: (
                lines(tmp_path / "runs" / "sweep" / f"trial-{s:04d}" / "metrics.jsonl") >= r
            )
        )
        killed.kill()
        killed.join()
    status = run_lvlora(["sweep", "--status", "--runs", tmp_path / "runs", "--json"]).json
    assert status["trials"]["running"] == 1
    assert status["seconds_left"] > 0
    resumed = run_lvlora([*args], code=0)
    assert resumed.stderr.count("Going on after step") == 1
    assert table(resumed.json) == table(reference)
    # what the killed processes may have spent is charged, once
    total, rows = charged(tmp_path / "runs")
    assert resumed.json["flops"]["executed"] == total.executed >= reference["flops"]["executed"]
    assert {row.status for row in rows} <= {"settled", "closed"}


@pytest.mark.slow
def test_two_processes_give_the_same_results(run_lvlora, args, done, tmp_path, plain):
    """Started at once, they make each trial once, and one plan."""
    args = [*args, "--runs", tmp_path / "shared", "--json"]
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=run_lvlora, args=(args,), kwargs={"code": 0}) for _ in "ab"]
    for process in processes:
        process.start()
    for process in processes:
        process.join(200)
        assert process.exitcode == 0
    status = ["sweep", "--status", "--runs", tmp_path / "shared", "--json"]
    both = run_lvlora(status, code=0).json
    assert table(both) == table(done)
    assert both["flops"] == done["flops"]
