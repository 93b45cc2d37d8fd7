"""Work shared among processes: the same forecasts, whoever makes them."""

import os
import signal
import subprocess
import sys
import time

import cloudpickle
import numpy as np
import pandas as pd
import pytest

from lvlora.data.settings import SimulateSettings
from lvlora.data.simulate import simulate
from lvlora.errors import LvloraError
from lvlora.forecast.ensemble import Ensemble
from lvlora.forecast.forecaster import in_order
from lvlora.forecast.rivals import LastValue, lotka_volterra
from lvlora.forecast.rivals.contract import GREEDY
from lvlora.forecast.sampling import Sampling
from lvlora.forecast.workers import processes, shared

# the processes cannot import a module of tests
cloudpickle.register_pickle_by_value(sys.modules[__name__])


@pytest.fixture
def worth_it(monkeypatch):
    monkeypatch.setattr("lvlora.forecast.workers.WORTH_SECONDS", -1.0)


class WithItsProcess(LastValue):
    """Forecasts the process that it is in."""

    name = "process"

    def forecast(self, time, history):
        return np.full((len(time) - len(history), history.shape[1]), float(os.getpid()))


class Failing(LastValue):
    """Fails where it is not the first."""

    def forecast(self, time, history):
        raise RuntimeError("no forecast")


class Killed(WithItsProcess):
    """Is killed in every process but that of the test."""

    parent = os.getpid()

    def forecast(self, time, history):
        if os.getpid() != self.parent:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forecast(time, history)


def data(n: int):
    return simulate(
        SimulateSettings(system="lotka-volterra", n_series=n, n_steps=30, duration=60)
    ).series


def gathered(rival, n: int):
    histories = [s.steps(0, 25) for s in data(n)]
    parts = list(rival.planned(histories, [5] * n, Sampling(samples=3)).parts())
    assert sorted(at for part in parts for at in part.places) == list(range(n))
    assert all(part.seconds >= 0 for part in parts)
    return in_order(parts)


def test_processes_forecast_what_one_does(worth_it) -> None:
    alone = gathered(lotka_volterra(), 5)
    with processes(2):
        together = gathered(lotka_volterra(), 5)
        places = {int(p.point[0, 0]) for p in gathered(WithItsProcess(), 5)}
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one.point, other.point)
        np.testing.assert_array_equal(one.samples, other.samples)
    # the first series is forecast here, to see what the others will take
    assert os.getpid() in places
    assert len(places) > 1


def test_quick_work_stays_here() -> None:
    with processes(2):
        assert {int(p.point[0, 0]) for p in gathered(WithItsProcess(), 5)} == {os.getpid()}


def test_a_failure_is_not_swallowed(worth_it) -> None:
    with processes(2), pytest.raises(RuntimeError, match="no forecast"):
        gathered(Failing(), 2)
    with processes(2), pytest.raises(LvloraError, match="killed"):
        gathered(Killed(), 3)


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
def test_patience_ends_work_that_is_shared(worth_it) -> None:
    members = [lotka_volterra(), LastValue()]
    histories = [s.steps(0, 25) for s in data(4)]
    with processes(2):
        planned = Ensemble(members, patience=0.02).planned(histories, [5] * 4, GREEDY)
        (part,) = planned.parts()
        assert len(gathered(lotka_volterra(), 3)) == 3
    assert {m.name: m.weight for m in part.members}[members[0].name] is None


@pytest.mark.slow
def test_they_end_with_a_killed_parent() -> None:
    code = (
        "import os, time; from lvlora.forecast.workers import processes, shared\n"
        "with processes(2):\n"
        "    pieces = ((x,) for x in [0] * 2 + [600] * 2)\n"
        "    shown = shared(lambda s: time.sleep(s) or os.getpid(), pieces, in_order=False)\n"
        "    for pid in shown: print(pid, flush=True)\n"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        workers = {int(parent.stdout.readline()) for _ in range(2)}
        parent.kill()
    deadline = time.monotonic() + 30
    while any(os.path.exists(f"/proc/{pid}") for pid in workers):
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_pieces_come_in_their_order() -> None:
    with processes(2):
        assert list(shared(divmod, [(n, 3) for n in range(7)])) == [divmod(n, 3) for n in range(7)]


def test_a_command_shares_a_slow_rival(worth_it, monkeypatch, tmp_path, run_lvlora) -> None:
    monkeypatch.chdir(tmp_path)
    table = [
        {"id": s.id, "t": t, "x": x}
        for s in data(3)
        for t, (x, _) in zip(s.time, s.values, strict=True)
    ]
    pd.DataFrame(table).to_csv("data.csv", index=False)
    words = ["forecast", "data.csv", "--forecaster", "s-map", "--output", "forecast.csv"]
    tables = []
    for n in (1, 2):
        monkeypatch.setattr("lvlora.model.devices.cores", lambda n=n: n)
        run_lvlora([*words, "--overwrite"], code=0)
        tables.append(pd.read_csv("forecast.csv"))
    pd.testing.assert_frame_equal(*tables, check_exact=True)
