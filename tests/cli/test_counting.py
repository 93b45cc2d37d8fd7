"""What is said before a run, while it goes and after it is the same account."""

import subprocess
import sys

import pytest
import tiny_runs

from lvlora import numbers
from lvlora.cli.terminal import progress


@pytest.fixture
def trained(run_lvlora, tiny_folder, tmp_path, monkeypatch):
    """`lvlora train` of six steps with two validations in between, and its flags."""
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    data = tiny_runs.write_csv(tmp_path / "data.csv", tiny_runs.dataset())
    flags = tiny_runs.flags(tiny_folder("qwen2"), tmp_path / "runs")

    def run(*more):
        ran = run_lvlora(["train", data, *flags, *more], code=0)
        return ran

    return run


def test_the_first_line_prices_all_of_it(trained, run_lvlora, tmp_path):
    planned = trained("--dry-run", "--json").json
    run = trained("--json", "--out", tmp_path / "runs/r")
    done = run.json
    first = next(line for line in run.stderr.splitlines() if " steps of " in line)
    at_most = planned["flops_at_most"]
    assert f"at most {numbers.flops(at_most['executed'])} FLOPs" in first
    assert done["flops_at_most"] == at_most
    assert done["flops"]["executed"] <= at_most["executed"]
    # 3 of them: before the first step, after the third and after the sixth
    validations = [row for row in tiny_runs.metrics(tmp_path / "runs/r") if "validation" in row]
    assert len(validations) == planned["validations"] == done["validations"] == 3
    assert "3 validations" in first
    spent = sum(row["validation"]["flops"] for row in validations)
    assert done["validation_flops"]["executed"] == spent
    ledger = run_lvlora(["flops", "--ledger", "--json", "--runs", tmp_path / "runs"]).json
    assert ledger["planned"] == at_most
    assert ledger["settled"] == ledger["total"] == done["flops"]
    assert ledger["open"] == {"executed": 0, "coursework": 0}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="counts kilobytes as Linux does")
def test_no_run_takes_more_memory_than_was_said(tiny_folder, tmp_path):
    import json

    data = tiny_runs.write_csv(tmp_path / "data.csv", tiny_runs.dataset(n_steps=40))
    program = (
        "import resource, subprocess, sys; "
        "done = subprocess.run([sys.executable, '-m', 'lvlora', *sys.argv[1:]], "
        "capture_output=True, text=True, check=True); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024); print(done.stdout)"
    )

    def measured(*words):
        ran = subprocess.run(
            [sys.executable, "-c", program, *map(str, words), "--json"],
            capture_output=True,
            text=True,
            check=True,
        )
        peak, _, answer = ran.stdout.partition("\n")
        return int(peak), json.loads(answer)

    model = tiny_folder("qwen2")
    train = ["train", data, *tiny_runs.flags(model, tmp_path / "runs")]
    draw = ["forecast", data, "--model", model, "--adapter", "none", "--samples", "3"]
    draw += ["--runs", tmp_path / "runs", "--plot", tmp_path / "f.png"]
    for command in (train, draw):
        promised = measured(*command, "--dry-run")[1]["estimate"]["peak_bytes"]
        assert measured(*command)[0] <= promised
