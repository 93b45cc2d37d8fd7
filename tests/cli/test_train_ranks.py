"""`lvlora train` as several processes: the run of one, kills, signals, refusals."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import ports
import pytest
import tiny_runs
from forked import Forked
from safetensors.numpy import load_file

from lvlora.data.dataset import Dataset
from lvlora.flops.ledger import Ledger

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
SECONDS = 120


def uneven() -> Dataset:
    """Series of 4 to 15 steps: rows of a batch have different numbers of targets."""
    full = tiny_runs.dataset(n_series=12, n_steps=15)
    series = tuple(s.steps(0, 4 + i) for i, s in enumerate(full))
    return Dataset(series, full.variables, source="uneven")


@pytest.fixture
def place(tmp_path, monkeypatch, tiny_folder):
    """A working directory with data; the command line of a short run."""
    monkeypatch.chdir(tmp_path)
    tiny_runs.write_csv(tmp_path / "data.csv", uneven())
    flags = tiny_runs.flags(tiny_folder("qwen2"), Path("runs"), batch_size=3, seq_len=96)
    return ["train", "data.csv", *flags]


def start(args, size=2, folders=None):
    """``size`` processes of one run, told of each other as torchrun does."""
    port = ports.free_port()
    variables = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return [
        Forked(
            args,
            cwd=folders[rank] if folders else None,
            env={**variables, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(size)
    ]


def ended(processes):
    """(exit code, stdout, stderr) of each."""
    try:
        outputs = [process.communicate(SECONDS) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(p.returncode, *words) for p, words in zip(processes, outputs, strict=True)]


def charges(runs):
    with Ledger.for_runs(runs) as ledger:
        return [(row.phase, row.status, row.charged, row.tokens_useful) for row in ledger.rows()]


def losses(run):
    return [row["loss"] for row in tiny_runs.metrics(run) if "loss" in row]


def test_two_processes_make_the_run_of_one(run_lvlora, place):
    # three rows a batch, three batches a step: the shares cut through the second batch
    args = [*place, "--accumulation", "3", "--json"]
    alone = run_lvlora([*args, "--out", "alone", "--runs", "one"], code=0)
    (first, second) = ended(start([*args, "--out", "both", "--runs", "two"]))
    assert (first[0], second[0]) == (0, 0), first[2] + second[2]
    assert second[1:] == ("", "")
    answer, wanted = json.loads(first[1]), alone.json
    assert losses(Path("both")) == pytest.approx(losses(Path("alone")), rel=1e-5)
    assert answer["validation"] == pytest.approx(wanted["validation"], rel=1e-3)
    assert answer["flops"] == wanted["flops"]
    # one account, as if one process had done it all
    assert charges(Path("two")) == charges(Path("one"))
    one, two = (
        load_file(run / "adapter-last" / "adapter_model.safetensors")
        for run in (Path("alone"), Path("both"))
    )
    for name, wanted_weights in one.items():
        np.testing.assert_allclose(two[name], wanted_weights, rtol=1e-3, atol=1e-5)
    moved = max(float(np.abs(w).max()) for name, w in one.items() if "lora_B" in name)
    assert moved > 1e-3


def test_a_refusal_is_said_once_and_ends_all(place):
    # one step of one row, for two processes
    first, second = ended(start([*place, "--batch-size", "1"]))
    assert (first[0], second[0]) == (2, 2)
    assert "a step of 1 sequences cannot be shared by 2 processes" in first[2]
    assert second[1:] == ("", "")
    assert not Path("runs").exists()


@pytest.mark.slow
def test_a_limit_ends_all(place):
    Path("runs").mkdir()
    with Ledger.for_runs(Path("runs")) as ledger:
        ledger.set_budget(1000, "executed")
    (first, second) = ended(start(place))
    assert (first[0], second[0]) == (3, 3)
    assert "project" in first[2]
    assert second[1:] == ("", "")


@pytest.mark.slow
def test_a_process_with_other_data_is_named(place, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    tiny_runs.write_csv(other / "data.csv", tiny_runs.dataset(seed=5))
    (first, second) = ended(start(place, folders=[tmp_path, other]))
    assert (first[0], second[0]) == (4, 4)
    assert "process 1: has other data" in second[2]
    assert "Traceback" not in first[2] + second[2]


@pytest.mark.slow
def test_dropout_differs_from_row_to_row_and_repeats_itself(place):
    args = [*place, "--dropout", "0.3", "--quiet"]
    for name in ("a", "b"):
        codes = [code for code, *_ in ended(start([*args, "--out", name]))]
        assert codes == [0, 0]
    assert tiny_runs.weights(Path("a")) == tiny_runs.weights(Path("b"))


def wait_for_steps(run, n):
    deadline = time.monotonic() + SECONDS
    while not (run / "metrics.jsonl").is_file() or len(tiny_runs.steps_of(run)) < n:
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
def test_a_killed_process_ends_the_others_and_the_run_goes_on(place, killed):
    args = [*place, "--max-steps", "60", "--validate-every", "30"]
    assert [c for c, *_ in ended(start([*args, "--out", "whole"]))] == [0, 0]
    processes = start([*args, "--out", "runs/broken"])
    wait_for_steps(Path("runs/broken"), 20)
    processes[killed].kill()
    begin = time.monotonic()
    code, _, err = ended(processes)[1 - killed]
    assert time.monotonic() - begin < 20
    assert code == 1
    assert "another process of this run is gone" in err
    assert "Hint:" in err
    assert "Traceback" not in err
    resumed = ended(start(["train", "--resume", "runs/broken"]))
    assert [c for c, *_ in resumed] == [0, 0], resumed
    assert "Going on after step" in resumed[0][2]
    assert tiny_runs.weights(Path("runs/broken")) == tiny_runs.weights(Path("whole"))
    assert tiny_runs.steps_of(Path("runs/broken")) == list(range(1, 61))
    # what the survivor had saved is not made again: only a killed first process leaves a debt
    statuses = {status for _, status, *_ in charges(Path("runs"))}
    assert statuses == ({"settled"} if killed else {"closed", "settled"})


@pytest.mark.slow
@pytest.mark.parametrize("variables", [0, 1])
def test_a_signal_to_any_of_them_stops_all_at_the_same_step(place, variables):
    args = [*place, "--max-steps", "4000", "--compile", "off", "--no-validation"]
    args += ["--out", "runs/stopped"]
    processes = start(args)
    wait_for_steps(Path("runs/stopped"), 5)
    processes[variables].send_signal(signal.SIGTERM)
    first, second = ended(processes)
    assert (first[0], second[0]) == (75, 75), first[2] + second[2]
    assert "everything is saved" in first[2]
    last = tiny_runs.steps_of(Path("runs/stopped"))[-1]
    assert (Path("runs/stopped/state") / f"step-{last:08d}" / "manifest.json").is_file()


@pytest.mark.slow
def test_torchrun_starts_them(place):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    ran = subprocess.run(
        [*torchrun, "--nproc-per-node", "2", "-m", "lvlora", *map(str, place), "--json"],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=SECONDS,
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["steps"] == 6
    assert len(charges(Path("runs"))) == 2  # one training, one validation
