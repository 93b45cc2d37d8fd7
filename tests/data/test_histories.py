"""Cutting series into histories and futures."""

import numpy as np

from lvlora.data.dataset import Dataset, Series
from lvlora.data.splits import last_windows, learnable


def line(n_steps: int, name: str = "a") -> Series:
    return Series(name, np.arange(float(n_steps)), np.arange(2.0 * n_steps).reshape(n_steps, 2))


def test_windows_end_with_the_series_and_begin_with_it() -> None:
    series = line(20)
    cuts = last_windows(series, horizon=4, n_windows=3, stride=2)
    assert [len(c.history) for c in cuts] == [12, 14, 16]
    for c in cuts:
        n = len(c.history)
        np.testing.assert_array_equal(c.history.values, series.values[:n])
        np.testing.assert_array_equal(c.future.values, series.values[n : n + 4])
    assert cuts[-1].future.time[-1] == series.time[-1]


def test_a_context_bounds_every_history() -> None:
    cuts = last_windows(line(20), horizon=4, n_windows=2, stride=5, context=6)
    assert [c.history.time.tolist() for c in cuts] == [
        [5, 6, 7, 8, 9, 10],
        [10, 11, 12, 13, 14, 15],
    ]
    assert cuts[0].future.time.tolist() == [11, 12, 13, 14]


def test_no_window_of_a_series_leads_to_its_future() -> None:
    """Arrays of a history are its own, not views of the whole series."""
    series = line(12)
    for c in last_windows(series, horizon=3, n_windows=2, stride=1):
        assert c.history.values.base is None or len(c.history.values.base) == len(c.history)
        assert not np.shares_memory(c.history.values, series.values)


def test_of_a_series_with_several_windows_only_the_shortest_history_is_learnt_from() -> None:
    train = Dataset((line(20), line(9, "b")), ("x", "y"))
    seen = learnable(train, [c.history for c in reversed(last_windows(line(20), 4, 3, 2))])
    assert [len(s) for s in seen] == [12, 9]
