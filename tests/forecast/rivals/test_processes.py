"""Rivals that share their series among processes: the same forecasts, in any order."""

import multiprocessing

import numpy as np
import pytest

from lvlora.data.settings import SimulateSettings
from lvlora.data.simulate import simulate
from lvlora.forecast.rivals import LastValue, lotka_volterra
from lvlora.forecast.rivals.processes import RivalProcesses


def work(n: int):
    data = simulate(SimulateSettings(system="lotka-volterra", n_series=n, n_steps=30, duration=60))
    return [(s.time, s.values[:25], 3, s.id) for s in data]


def gathered(processes: RivalProcesses, rival, given):
    found = {at: (made, seconds) for at, made, seconds in processes.predictions(rival, given)}
    assert sorted(found) == list(range(len(given)))
    assert all(seconds >= 0 for _, seconds in found.values())
    return np.stack([[found[at][0].point, *found[at][0].samples] for at in range(len(given))])


def test_processes_forecast_what_one_does() -> None:
    given = work(5)
    alone = gathered(RivalProcesses(1), lotka_volterra(), given)
    with RivalProcesses(2, worth_seconds=0.0) as processes:
        shared = gathered(processes, lotka_volterra(), given)
        # another rival, the same processes
        gathered(processes, LastValue(), given)
        assert len(multiprocessing.active_children()) == 2
    np.testing.assert_array_equal(shared, alone)
    assert multiprocessing.active_children() == []


def test_quick_work_starts_no_process() -> None:
    with RivalProcesses(2) as processes:
        gathered(processes, LastValue(), work(5))
        assert multiprocessing.active_children() == []


class Failing(LastValue):
    """Fails where it is not the first."""

    def forecast(self, time, history):
        raise RuntimeError("no forecast")


def test_a_failure_is_not_swallowed() -> None:
    with (
        RivalProcesses(2, worth_seconds=0.0) as processes,
        pytest.raises(RuntimeError, match="no forecast"),
    ):
        gathered(processes, Failing(), work(2))
