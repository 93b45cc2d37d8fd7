"""Studies that a server keeps: PostgreSQL."""

import gc
import subprocess
import sys

import postgres
import pytest
from sweeping import facts_of

from lvlora.errors import LvloraError
from lvlora.sweep import storage
from lvlora.sweep.settings import SweepSettings
from lvlora.sweep.study import slot_of, state_of

WORKER = """
import sys
from pathlib import Path
from lvlora.sweep.settings import SweepSettings
from lvlora.sweep import storage

board = storage.find(SweepSettings(runs=Path(sys.argv[2]), storage=sys.argv[1]))
class Faster(Exception):
    pass

def objective(trial):
    if not board.claim(trial):
        raise Faster
    slot = trial.user_attrs["slot"]
    if len(sys.argv) > 3 and slot == int(sys.argv[3]):
        sys.stdout.write(f"died with {slot}")
        sys.stdout.flush()
        import os, signal
        os.kill(os.getpid(), signal.SIGKILL)
    value = 1.0 / (1 + slot)
    trial.set_user_attr("end", {"value": value})
    print(slot)
    return value

while board.unfinished():
    if board.queue():
        board.study.optimize(objective, n_trials=1, catch=(Faster,))
"""


@pytest.fixture(autouse=True)
def closed(monkeypatch):
    """Connections end with the test: a process of the program ends them with itself."""
    opened = []
    opening = storage._open

    def remembering(*args):
        opened.append(opening(*args))
        return opened[-1]

    monkeypatch.setattr(storage, "_open", remembering)
    yield
    for one in opened:
        one.remove_session()
        one.engine.dispose()
    gc.collect()  # what was forgotten is said here, not in the test that comes by chance


@pytest.fixture(scope="module")
def database():
    """The URL of a PostgreSQL server."""
    if postgres.missing():
        pytest.skip(postgres.missing())
    with postgres.server() as url:
        yield url


def made(url, runs, study="sweep"):
    settings = SweepSettings(runs=runs, storage=url, study=study)
    return settings, storage.make(settings, facts_of(settings))


def worker(url, runs, *dies_with):
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, url, str(runs), *map(str, dies_with)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_study_in_postgresql_is_shared_and_the_dead_are_recovered(database, tmp_path):
    settings, board = made(database, tmp_path)
    dying = worker(database, tmp_path, 1)
    said, err = dying.communicate(timeout=120)
    assert "died with 1" in said, err
    states = {slot: state_of(trial) for slot, trial in board.by_slot().items()}
    assert states == {0: "complete", 1: "running"}
    assert board.recover() == [1]
    workers = [worker(database, tmp_path) for _ in range(2)]
    slots = []
    for process in workers:
        said, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        slots += [int(line) for line in said.split()]
    # every trial was made once, by one of them
    assert sorted(slots) == [1, 2, 3, 4, 5]
    assert not board.unfinished()
    assert slot_of(board.best()) == 5
    assert storage.find(settings).facts == board.facts


def test_a_server_that_does_not_answer_is_one_sentence(tmp_path):
    if postgres.missing():
        pytest.skip(postgres.missing())
    url = "postgresql+psycopg://me:secret@/x?host=/nowhere"
    with pytest.raises(LvloraError, match="cannot be used") as caught:
        storage.find(SweepSettings(runs=tmp_path, storage=url))
    assert "secret" not in caught.value.message
