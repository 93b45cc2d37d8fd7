"""`lvlora flops` as a user meets it; the numbers themselves are tested in tests/flops."""

import contextlib
import os

import ledgers
import pytest

import lvlora
from lvlora.flops.ledger import Ledger


def test_the_golden_numbers(run_lvlora):
    ran = run_lvlora(
        ["flops", "--seq-len", "512", "--rank", "8", "--batch-size", "1", "--json"], code=0
    )
    assert set(ran.json) >= {"schema_version", "model", "trainable_parameters"}
    assert ran.json["trainable_parameters"] == 540_672
    coursework, executed = ran.json["coursework"], ran.json["executed"]
    assert coursework["forward"] == 564_837_939_440
    assert coursework["training_step"] == 1_694_513_818_320
    assert sum(item["flops"] for item in coursework["items"]) == coursework["training_step"]
    assert executed["forward"] + executed["backward"] == executed["training_step"]


def test_the_table_shows_the_same_numbers(run_lvlora):
    ran = run_lvlora(["flops", "--budget", "1e17"], code=0)
    for shown in ("6,778,055,271,120", "3,202,486,370,304", "540,672", "31,225", "lora.q_proj"):
        assert shown in ran.stdout
    assert max(map(len, ran.stdout.splitlines())) <= 80
    assert "lvlora train --budget 1e17" in ran.stderr


def test_values_compared(run_lvlora):
    args = ["flops", "--vary", "rank=2,4,8", "--budget", "1e17"]
    ran = run_lvlora([*args, "--json"])
    assert [row["value"] for row in ran.json["vary"]] == ["2", "4", "8"]
    assert [row["trainable_parameters"] for row in ran.json["vary"]] == [135_168, 270_336, 540_672]
    bundled, qwen = run_lvlora(["flops", "--vary", "model=bundled,qwen2.5-0.5b", "--json"]).json[
        "vary"
    ]
    alone = run_lvlora(["flops", "--model", "bundled", "--json"]).json
    assert bundled["executed"]["training_step"] == alone["executed"]["training_step"]
    assert qwen["executed"]["training_step"] > 50 * bundled["executed"]["training_step"]
    table = run_lvlora(args).stdout
    assert "270,336" in table
    assert "steps in 1e17" in table


def test_architecture(run_lvlora):
    ran = run_lvlora(["flops", "--architecture", "--json"])
    assert ran.json["parameters"]["total"] == 494_032_768
    assert ran.json["architecture"]["Number of layers"] == "24"
    assert "494,032,768" in run_lvlora(["flops", "--architecture"]).stdout


@pytest.fixture
def runs(tmp_path):
    """A ledger with a settled run and a killed one."""
    folder = tmp_path / "runs"
    with Ledger.for_runs(folder) as ledger:
        ledger.set_budget(10**17, "executed")
        done = ledgers.reserve(ledger, 10**15, 2 * 10**15, "first")
        ledgers.settle(ledger, done, 9 * 10**14, 2 * 10**15, seconds=75.0)
        ledgers.reserve(ledger, 10**15, 10**15, "killed")
    return folder


def test_the_ledger(run_lvlora, runs):
    ran = run_lvlora(["flops", "--ledger", "--runs", runs, "--json"], code=0)
    assert ran.json["total"] == {"executed": 19 * 10**14, "coursework": 3 * 10**15}
    assert ran.json["budget"] == 10**17
    assert [run["run"] for run in ran.json["runs"]] == ["first", "killed"]

    table = run_lvlora(["flops", "--ledger", "--runs", runs])
    assert "first" in table.stdout
    assert "1 min 15 s" in table.stdout
    assert "1,900,000,000,000,000 FLOPs executed" in table.stdout
    assert "--close killed" in table.stderr
    assert max(map(len, table.stdout.splitlines())) <= 80


@contextlib.contextmanager
def _unable_to_write(folder):
    """Whoever runs the tests can't write to the folder and its files, root neither."""
    for path in (*folder.iterdir(), folder):
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        if os.getuid() == 0:
            for path in folder.parents:
                if not path.stat().st_mode & 0o001:
                    path.chmod(path.stat().st_mode | 0o055)
            os.seteuid(65534)
        yield
    finally:
        if os.getuid() == 0:
            os.seteuid(0)
        for path in (folder, *folder.iterdir()):
            path.chmod(0o755 if path.is_dir() else 0o644)


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="needs POSIX users")
def test_a_ledger_is_read_without_write_access(run_lvlora, runs):
    args = ["flops", "--ledger", "--runs", runs, "--json"]
    before = run_lvlora(args).json
    with _unable_to_write(runs):
        ran = run_lvlora(args, code=0)
        refused = run_lvlora([*args, "--close", "killed"], code=1)
        assert lvlora.spent(runs).executed == ran.json["total"]["executed"]
    assert ran.json["runs"] == before["runs"]
    assert [path.name for path in runs.iterdir()] == ["ledger.sqlite"]
    assert "ledger.sqlite" in refused.stderr


def test_the_budget_is_set_and_lifted_without_spending(run_lvlora, runs):
    ran = run_lvlora(["flops", "--ledger", "--runs", runs, "--budget", "2e17", "--json"], code=0)
    assert "may spend 200,000,000,000,000,000 FLOPs (executed)" in " ".join(ran.stderr.split())
    assert (ran.json["budget"], ran.json["budget_set_by"]) == (2 * 10**17, "flops")
    ran = run_lvlora(["flops", "--ledger", "--runs", runs, "--budget", "none", "--json"], code=0)
    assert ran.json["budget"] is ran.json["left"] is ran.json["budget_set_at"] is None
    assert run_lvlora(["flops", "--budget", "none"]).exit_code == 2
    for wrong in ("0", "-1", "1.5", "much", "1e999"):
        ran = run_lvlora(["flops", "--ledger", "--runs", runs, "--budget", wrong], code=2)
        assert ran.stderr.count("--budget") == 1, ran.stderr


def test_a_killed_run_is_settled(run_lvlora, runs):
    ran = run_lvlora(["flops", "--ledger", "--runs", runs, "--close", "killed", "--json"], code=0)
    assert ran.json["runs"][1]["status"] == "closed"
    assert "closed and charged" in ran.stderr
    run_lvlora(["flops", "--ledger", "--runs", runs, "--close", "killed"], code=2)


def test_formulas_are_compared_with_a_count(run_lvlora, tiny_folder):
    args = ["flops", "--model", tiny_folder("llama"), "--seq-len", "16", "--json"]
    assert run_lvlora(args, code=0).json["executed"]["training_step"] > 0
    ran = run_lvlora([*args, "--measure"], code=0)
    assert ran.json["equal"] is True
    assert {m["name"] for m in ran.json["measurements"]} >= {"forward", "backward", "prefill"}
