"""Killed at any moment nothing is lost: `crashes/matrix.py` says what is killed and goes on."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

MATRIX = Path(__file__).with_name("matrix.py")

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


def kills(*args):
    """Kills by work; fails on any loss."""
    done = subprocess.run([sys.executable, MATRIX, *map(str, args)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    results = json.loads(done.stdout)
    losses = {word: facts["losses"] for word, facts in results.items() if facts["losses"]}
    assert not losses, json.dumps(losses, indent=1)
    return {word: facts["kills"] for word, facts in results.items()}


@pytest.mark.slow
def test_a_file_that_is_replaced_is_old_or_new():
    assert kills("--work", "simulate-csv")["simulate-csv"] >= 4


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_more_than_two_hundred_kills_lose_nothing():
    every_point = ("ledger", "simulate", "simulate-csv", "baseline", "forecast")
    results = kills(*(word for work in every_point for word in ("--work", work)))
    results |= kills("--every", 3, "--work", "evaluate", "--work", "export")
    results |= kills("--every", 5, "--work", "train", "--work", "sweep")
    assert sum(results.values()) >= 200, results
    assert all(results.values()), results
