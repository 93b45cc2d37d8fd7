"""Splits: sizes, disjointness, independence of the file's order, strata; cuts of series."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvlora.data.dataset import Dataset, Series
from lvlora.data.splits import last_windows, learnable, split_ids


def dataset(ids) -> Dataset:
    time, values = np.arange(2.0), np.zeros((2, 1))
    return Dataset(tuple(Series(str(i), time, values) for i in ids), ("x",))


@pytest.mark.parametrize(
    ("n", "sizes"),
    [
        (0, (0, 0, 0)),
        (1, (1, 0, 0)),
        (2, (1, 1, 0)),
        (3, (1, 1, 1)),
        (4, (2, 1, 1)),
        (6, (4, 1, 1)),
        (20, (14, 3, 3)),
        (24, (17, 4, 3)),
        (850, (595, 128, 127)),
        (1000, (700, 150, 150)),
    ],
)
def test_sizes(n, sizes):
    split = split_ids(dataset(range(n)), 0)
    assert (len(split.train), len(split.validation), len(split.test)) == sizes


@given(st.integers(0, 60), st.integers(0, 2**63 - 1), st.integers(1, 5), st.booleans())
def test_every_series_is_in_one_part(n, seed, n_strata, stratified):
    strata = [i % n_strata for i in range(n)] if stratified else []
    split = split_ids(dataset(range(n)), seed, strata)
    assert sorted(split.part("all")) == sorted(str(i) for i in range(n))
    assert bool(split.train) == (n >= 1)
    assert bool(split.validation) == (n >= 2)
    assert bool(split.test) == (n >= 3)
    assert abs(len(split.train) - 0.7 * n) <= 2


def test_the_order_of_the_file_does_not_matter():
    ids = list(range(50))
    labels = [i // 20 for i in ids]
    shuffled = np.random.default_rng(0).permutation(50).tolist()
    assert split_ids(dataset(ids), 3) == split_ids(dataset(shuffled), 3)
    assert split_ids(dataset(ids), 3, labels) == split_ids(
        dataset(shuffled), 3, [labels[i] for i in shuffled]
    )


def test_seeds_differ_and_repeat():
    some = dataset(range(50))
    assert split_ids(some, 1) == split_ids(some, 1)
    assert split_ids(some, 1).validation != split_ids(some, 2).validation
    assert split_ids(some, 1).sha256 != split_ids(some, 2).sha256
    assert split_ids(some, 1).sha256 == split_ids(some, 1).sha256


def test_a_part_is_not_in_the_order_of_the_ids():
    validation = split_ids(dataset(range(1000)), 0).validation
    assert list(validation) != sorted(validation, key=int)


def test_the_hash_is_of_who_is_where():
    """Written down: a change of the split rule would silently mix train and test of old runs."""
    expected = "18a58335693ad8cdcc7f39ca92ac32fda0ba50c86e9d431062edd61fc5fc1630"
    assert split_ids(dataset(range(20)), 0).sha256 == expected


def test_strata_are_shared_out_alike():
    strata = [0] * 693 + [1] * 149 + [2] * 146 + [3] * 12
    split = split_ids(dataset(range(1000)), 5, strata)
    assert (len(split.train), len(split.validation), len(split.test)) == (700, 150, 150)
    for part, share in ((split.train, 0.7), (split.validation, 0.15), (split.test, 0.15)):
        of_part = Counter(strata[int(i)] for i in part)
        for label, size in Counter(strata).items():
            assert abs(of_part[label] - share * size) < 1


def test_labels_must_fit():
    with pytest.raises(ValueError, match="shorter"):
        split_ids(dataset(range(3)), 0, [1, 2])


def line(n_steps: int, name: str = "a") -> Series:
    return Series(name, np.arange(float(n_steps)), np.arange(2.0 * n_steps).reshape(n_steps, 2))


def test_windows_end_with_the_series_and_begin_with_it() -> None:
    series = line(20)
    cuts = last_windows(series, horizon=4, n_windows=3)
    assert [len(c.history) for c in cuts] == [8, 12, 16]
    for c in cuts:
        n = len(c.history)
        np.testing.assert_array_equal(c.history.values, series.values[:n])
        np.testing.assert_array_equal(c.future.values, series.values[n : n + 4])
    assert cuts[-1].future.time[-1] == series.time[-1]


def test_a_context_bounds_every_history() -> None:
    cuts = last_windows(line(20), horizon=4, n_windows=2, context=6)
    assert [c.history.time.tolist() for c in cuts] == [
        [6, 7, 8, 9, 10, 11],
        [10, 11, 12, 13, 14, 15],
    ]
    assert cuts[0].future.time.tolist() == [12, 13, 14, 15]


def test_no_window_of_a_series_leads_to_its_future() -> None:
    """Arrays of a history are its own, not views of the whole series."""
    series = line(12)
    for c in last_windows(series, horizon=3, n_windows=2):
        assert c.history.values.base is None or len(c.history.values.base) == len(c.history)
        assert not np.shares_memory(c.history.values, series.values)


def test_of_a_series_with_several_windows_only_the_shortest_history_is_learnt_from() -> None:
    train = Dataset((line(20), line(9, "b")), ("x", "y"))
    seen = learnable(train, [c.history for c in reversed(last_windows(line(20), 4, 3))])
    assert [len(s) for s in seen] == [8, 9]
