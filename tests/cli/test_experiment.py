"""`lvlora experiment` as a user meets it: real stages of a tiny model on a tiny data set."""

import json
import multiprocessing
import os
import shutil
import signal
import time
from pathlib import Path

import ledgers
import pytest

from lvlora.flops.ledger import Ledger
from lvlora.sweep import search
from lvlora.train.run_folder import RunFolder

STAGES = """
decimals = 1
dtype = "float32"

[train]
rank = 2
seq_len = 64
batch_size = 2
validate_every = 2
validation_series = 2
save_every = 1

[sweep]
seq_len = 64
batch_size = 2
validate_every = 2
validation_series = 2
save_every = 1
max_steps = 3

[evaluate]
context = 6
horizon = 4
greedy = true
rivals = false

[stages.zero-shot]
command = "evaluate"

[stages.default]
command = "train"
max_steps = 4
learning_rate = 1e-2

[stages.search]
command = "sweep"
space = "SPACE"

[stages.final]
command = "evaluate"
adapter = ["search", "default"]

[scales.less.default]
max_steps = 2
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    from lvlora.data.files import write_dataset
    from lvlora.data.settings import SimulateSettings
    from lvlora.data.simulate import simulate

    path = tmp_path_factory.mktemp("data") / "d.h5"
    write_dataset(simulate(SimulateSettings(n_series=16, n_steps=10)), path)
    (path.parent / "space.toml").write_text("learning_rate = [1e-3, 3e-2]\n")
    return path


@pytest.fixture
def file(tmp_path, data):
    """An experiment of four stages."""
    path = tmp_path / "tiny.toml"
    path.write_text(STAGES.replace("SPACE", str(data.parent / "space.toml")))
    return path


@pytest.fixture
def args(tmp_path, tiny_folder, data, file):
    """The command line of the experiment, in ``tmp_path``."""
    return [
        *("experiment", data, "--config", file, "--model", tiny_folder("qwen2")),
        *("--out", tmp_path / "whole", "--threads", "1"),
    ]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A place for one finished experiment, filled by the first who asks."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def done(finished, run_lvlora, args, tmp_path, made_figures):
    """The answer of the finished experiment, whose folder is at ``tmp_path / "whole"``."""
    if not (finished / "answer.json").exists():
        ran = run_lvlora([*args, "--json", "--budget", "1e12"], code=0)
        shutil.copytree(tmp_path / "whole", finished / "whole")
        (finished / "answer.json").write_text(ran.stdout)
        assert ran.json
    else:
        shutil.copytree(finished / "whole", tmp_path / "whole")
    return json.loads((finished / "answer.json").read_text())


def _found(answer):
    """What stages found, without places and times."""
    return {
        stage["name"]: {k: v for k, v in stage["result"].items() if k not in ("folder", "adapter")}
        for stage in answer["stages"]
    }


def test_all_stages_are_made_on_one_ledger(done, tmp_path):
    folder = tmp_path / "whole"
    assert [s["name"] for s in done["stages"]] == ["zero-shot", "default", "search", "final"]
    with Ledger.for_runs(folder) as ledger:
        charged, rows = ledger.charged(), ledger.rows()
    for convention in ("executed", "coursework"):
        spent = [stage["flops"][convention] for stage in done["stages"]]
        assert sum(spent) == done["flops"][convention] == charged.to_dict()[convention]
        most = [stage["flops_at_most"][convention] for stage in done["stages"]]
        assert all(0 < s <= m for s, m in zip(spent, most, strict=True))
    assert {row.command for row in rows} == {"evaluate", "train"}  # a trial is a run
    assert done["budget"] == 10**12
    assert done["flops_at_most"] == done["flops"]  # nothing is left
    by_name = {stage["name"]: stage for stage in done["stages"]}
    assert by_name["default"]["result"]["steps"] == 4
    assert Path(by_name["search"]["result"]["adapter"]).name.startswith("trial-")
    names = list(by_name["final"]["result"]["forecasters"])
    chosen = Path(by_name["search"]["result"]["adapter"]).name
    assert names == [f"qwen2 + {chosen}", "qwen2 + default", "qwen2 zero-shot"]
    assert list(by_name["zero-shot"]["result"]["forecasters"]) == ["qwen2 zero-shot"]
    assert "MAE in each evaluation" in (folder / "report.html").read_text(encoding="utf-8")
    # what both evaluations have is in one folder, and was paid once
    assert by_name["final"]["result"]["folder"] == by_name["zero-shot"]["result"]["folder"]


def test_a_finished_experiment_is_not_made_again(done, run_lvlora, args, tmp_path):
    ledger = (tmp_path / "whole" / "ledger.sqlite").read_bytes()
    again = run_lvlora([*args, "--json"], code=0)
    assert again.stderr.count("is done.") == 4
    assert _found(again.json) == _found(done)
    assert (tmp_path / "whole" / "ledger.sqlite").read_bytes() == ledger


@pytest.mark.slow
def test_a_stopped_experiment_goes_on_from_the_step(done, run_lvlora, args, tmp_path, monkeypatch):
    place = [*args[:-3], tmp_path / "stopped", "--threads", "1", "--json"]
    append = RunFolder.append

    def stopping(self, record):
        append(self, record)
        if self.name == "default" and record.get("step") == 2:
            os.kill(os.getpid(), signal.SIGINT)  # as Ctrl-C: the step is finished and saved

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "append", stopping)
        run_lvlora(place, code=75)
    went_on = run_lvlora(place, code=0)
    assert went_on.stderr.count("is done.") == 1
    assert "Going on after step 2 of 4" in went_on.stderr
    assert _found(went_on.json) == _found(done)
    for now, then in zip(went_on.json["stages"], done["stages"], strict=True):
        assert now["flops"] == then["flops"], now["name"]


@pytest.mark.slow
def test_a_killed_experiment_goes_on(done, run_lvlora, args, tmp_path):
    place = [*args[:-3], tmp_path / "killed", "--threads", "1", "--json"]
    # a fork, so that it forecasts under the same fixtures as the experiment it is compared with
    process = multiprocessing.get_context("fork").Process(target=run_lvlora, args=(place,))
    process.start()
    first_trial = tmp_path / "killed" / "search" / "trial-0000" / "metrics.jsonl"
    deadline = time.monotonic() + 100
    while not first_trial.exists():
        assert process.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    process.join()
    went_on = run_lvlora(place, code=0)
    assert went_on.stderr.count("is done.") == 2
    assert _found(went_on.json) == _found(done)
    with Ledger.for_runs(tmp_path / "killed") as ledger:
        assert went_on.json["flops"] == ledger.charged().to_dict()
    assert went_on.json["flops"]["executed"] >= done["flops"]["executed"]


def test_a_sweep_that_reaches_its_limit_is_not_done(run_lvlora, args, tmp_path, monkeypatch):
    from lvlora.errors import BudgetError

    def refuse(self):
        raise BudgetError("the next trial would pass it", "Raise it.")

    monkeypatch.setattr(search._Search, "run", refuse)
    ran = run_lvlora([*args, "--json"], code=3)
    assert "the next trial would pass it" in ran.stderr
    finished = json.loads((tmp_path / "whole" / "experiment.json").read_text())["stages"]
    assert list(finished) == ["zero-shot", "default"]


@pytest.mark.slow
def test_a_dry_run_needs_no_weights_and_leaves_nothing(
    done, run_lvlora, args, tmp_path, tiny_folder
):
    bare = tmp_path / "bare"
    shutil.copytree(tiny_folder("qwen2"), bare, ignore=shutil.ignore_patterns("*.safetensors"))
    dry = [bare if a == tiny_folder("qwen2") else a for a in args]
    dry[dry.index(tmp_path / "whole")] = tmp_path / "new"
    ran = run_lvlora([*dry, "--dry-run", "--json", "--budget", "1e12"], code=0)
    assert not (tmp_path / "new").exists()
    plan = ran.json
    stages = {stage["name"]: stage for stage in done["stages"]}
    for stage in plan["stages"]:
        assert stage["flops_at_most"] == stages[stage["name"]]["flops_at_most"]
        assert stage["seconds"] is None  # no such work is in a ledger
        assert stage["result"] is None
    most = sum(stage["flops_at_most"]["executed"] for stage in plan["stages"])
    assert plan["flops_at_most"]["executed"] == most
    half = run_lvlora([*dry, "--dry-run", "--json", "--scale", "less"]).json
    default = {stage["name"]: stage for stage in half["stages"]}["default"]
    assert default["what"].startswith("2 steps")
    shutil.copy(tmp_path / "whole" / "ledger.sqlite", tmp_path / "ledger.sqlite")  # beside it
    new = [tmp_path / "new" if a == tmp_path / "whole" else a for a in args]
    timed = run_lvlora([*new, "--dry-run", "--json"]).json
    assert all(stage["seconds"] > 0 for stage in timed["stages"])


def test_a_dry_run_of_a_finished_experiment_has_nothing_to_come(done, run_lvlora, args):
    plan = run_lvlora([*args, "--dry-run", "--json"]).json
    assert plan["stages"] == done["stages"]
    assert plan["flops_at_most"] == plan["flops"] == done["flops"]


def test_what_other_commands_spend_is_in_the_sum(done, run_lvlora, args, tmp_path):
    folder = tmp_path / "whole"
    with Ledger.for_runs(folder) as ledger:
        ledgers.reserve(ledger, 7, 9, "20260101-evaluate-1", command="evaluate")
        ledgers.reserve(ledger, 1, 1, "final/20260101-evaluate-2", command="evaluate")
        rows = ledger.rows()
    again = run_lvlora([*args, "--json"], code=0)
    assert again.json["flops"]["executed"] == done["flops"]["executed"] + 8
    final, before = again.json["stages"][-1], done["stages"][-1]
    assert final["flops"]["executed"] == before["flops"]["executed"] + 1
    seconds = [row.seconds for row in rows if row.run.startswith("search/")]
    assert again.json["stages"][2]["seconds"] == sum(seconds) > 0


def test_more_than_the_budget_has_is_refused_before_anything(done, run_lvlora, args, tmp_path):
    most = sum(stage["flops_at_most"]["executed"] for stage in done["stages"])
    place = [*args[:-3], tmp_path / "other", "--threads", "1"]
    ran = run_lvlora([*place, "--budget", str(most - 1)], code=3)
    assert f"may cost {most:,} FLOPs" in ran.stderr
    shown = run_lvlora([*place, "--budget", str(most - 1), "--dry-run", "--json"], code=0)
    assert shown.json["flops_at_most"]["executed"] == most  # which says why
    assert not (tmp_path / "other").exists()


def test_a_stage_that_is_done_keeps_its_settings(done, run_lvlora, args, file):
    file.write_text(file.read_text().replace("learning_rate = 1e-2", "learning_rate = 2e-2"))
    ran = run_lvlora(args, code=2)
    assert "learning_rate (was 0.01, not 0.02)" in " ".join(ran.stderr.split())


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('command = "train"', 'command = "trian"', "did you mean train?"),
        ("max_steps = 4", "max_stepz = 4", "max_stepz: is not a setting"),
        ("learning_rate = 1e-2", "learning_rate = 2", "--learning-rate"),
        ("max_steps = 4", 'model = "bundled"', "model in [stages.default]"),
        ('"search", "default"', '"serch", "default"', "Did you mean search?"),
        ("max_steps = 3", "", "says neither max_flops nor max_steps"),
        ("[scales.less.default]", "[scales.less.defalt]", "did you mean default?"),
        ("[stages.", "[stagez.", "is not a command"),
    ],
)
def test_what_is_wrong_in_the_file_is_named(run_lvlora, args, file, tmp_path, old, new, complaint):
    file.write_text(file.read_text().replace(old, new))
    ran = run_lvlora([*args, "--scale", "less"], code=2)
    assert complaint in " ".join(ran.stderr.split())
    assert not (tmp_path / "whole").exists()


def test_a_scale_and_a_file_are_asked_for(run_lvlora, args):
    ran = run_lvlora([*args, "--scale", "les"], code=2)
    assert "did you mean less?" in ran.stderr
    without = [a for a in args if a != "--config"]
    without.remove(args[args.index("--config") + 1])
    ran = run_lvlora(without, code=2)
    assert "needs the file that names its stages" in ran.stderr


def test_one_process_makes_an_experiment(done, run_lvlora, args, tmp_path):
    import fcntl

    with (tmp_path / "whole" / ".lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ran = run_lvlora(args, code=1)
    assert "another process makes the experiment" in ran.stderr
