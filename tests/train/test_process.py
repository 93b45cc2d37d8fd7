"""Rows of a step and their processes; what is left of a group; signals that ask for a stop."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import ports
import pytest

from lvlora.text.windows import Batch
from lvlora.train.process import ALONE, Ranks, StopRequest, joined


def batches(*rows: int) -> list[Batch]:
    """Batches of so many rows, each row with a number of its own."""
    firsts = np.cumsum([0, *rows])
    return [
        Batch(np.full((n, 3), 0) + np.arange(first, first + n)[:, None], np.zeros((n, 3), int))
        for n, first in zip(rows, firsts, strict=False)
    ]


@pytest.mark.parametrize("rows", [(4,), (4, 4, 4), (3, 3, 3), (5,), (1, 1, 1, 1, 1, 1, 1)])
@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_every_row_is_somebodys_and_nobody_has_much_more(rows, size):
    shares = [Ranks(r, size).share_of(batches(*rows)) for r in range(size)]
    seen = [int(i) for share in shares for batch in share for i in batch.inputs[:, 0]]
    assert seen == list(range(sum(rows)))
    counts = [sum(len(batch.inputs) for batch in share) for share in shares]
    assert max(counts) - min(counts) <= 1
    assert all(batch.inputs.shape == batch.targets.shape for s in shares for batch in s)
    assert all(len(batch.inputs) for share in shares for batch in share)


def test_whole_batches_stay_whole_where_they_can():
    (separate,) = Ranks(1, 3).share_of(batches(4, 4, 4))
    assert separate.inputs[:, 0].tolist() == [4, 5, 6, 7]


def test_alone_nothing_has_to_be_agreed_on(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with joined() as ranks:
        assert ranks is ALONE
    monkeypatch.setenv("WORLD_SIZE", "8")  # set by a cluster for something else
    with joined() as ranks:
        assert ranks is ALONE
    assert ALONE.any_of(True, False) == [True, False]
    with pytest.raises(ZeroDivisionError), ALONE.together():
        _ = 1 / 0


LEFT = """
import contextlib, os, time
from pathlib import Path
from lvlora.train.process import joined

other = os.fork()
os.environ["RANK"] = "1" if other else "0"

def threads():
    names = []
    for file in Path("/proc/self/task").glob("*/comm"):
        with contextlib.suppress(OSError):  # it has just ended
            names.append(file.read_text().strip())
    return [name for name in names if "gloo" in name]

with joined() as ranks:
    # what a run imports on its way: PyTorch's compiler
    import torch._dynamo
    ranks.wait()
    os.write(1, f"{len(threads()) > 0}\\n".encode())  # a line at once: both write to one pipe
end = time.monotonic() + 20  # the system lists an ended thread for a moment
while threads() and time.monotonic() < end:
    time.sleep(0.01)
os.write(1, f"{threads()}\\n".encode())
if other and os.waitpid(other, 0)[1] != 0:
    raise SystemExit("the other process was aborted")
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="no list of threads here")
def test_a_group_leaves_no_thread():
    # one that still runs while Python ends aborts the process now and then
    messages = {
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(ports.free_port()),
    }
    ran = subprocess.run(
        [sys.executable, "-c", LEFT],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **messages, "OMP_NUM_THREADS": "1"},
        timeout=120,
        check=True,
    )
    assert sorted(ran.stdout.split()) == ["True", "True", "[]", "[]"]


def test_two_stops_around_one_another():
    with StopRequest() as outer:
        with StopRequest() as inner:
            os.kill(os.getpid(), signal.SIGINT)
            assert inner.requested
        assert outer.requested
        with StopRequest() as other:
            pass
        assert not other.requested


@pytest.mark.parametrize(
    ("number", "is_heard"),
    [(signal.SIGINT, True), (signal.SIGTERM, True), (signal.SIGHUP, False)],
)
def test_a_background_job_hears_all_but_the_end_of_its_terminal(number, is_heard):
    """A script's shell starts ``lvlora train &`` with SIGINT ignored, and nohup SIGHUP."""
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with StopRequest() as stop:
            os.kill(os.getpid(), number)
            assert stop.requested == is_heard
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)
