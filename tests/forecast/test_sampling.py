"""Random numbers by what they are for."""

import numpy as np

from lvlora.forecast.sampling import Draws, Sampling, stream, uniforms


def test_the_numbers_never_change():
    """Forecasts of a seed are the same in every version: these numbers are a promise."""
    assert stream(0, "a", 0) == 12932143664753956332
    assert stream(7, "hare", 19) == 307690385197532554
    keys = np.array([stream(0, "a", 0), 2], dtype=np.uint64)
    assert uniforms(keys, np.array([0, 7])).tolist() == [0.03126511665549536, 0.7390873243475791]


def test_splitmix64_as_published():
    """First outputs for the state 1234567, by the reference implementation (Vigna, 2015)."""
    key = np.array([1234567] * 3, dtype=np.uint64)
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    result = uniforms(key, np.arange(3))
    assert np.array_equal(result, [(e >> 11) * 2.0**-53 for e in expected])


def test_streams_differ_by_seed_series_and_sample():
    keys = {stream(seed, s, i) for seed in (0, 1) for s in ("a", "b", "1", "") for i in range(50)}
    assert len(keys) == 2 * 4 * 50
    # names that run into each other when joined
    assert stream(1, "1", 1) != stream(11, "", 1) != stream(1, "11", 1)


def _draws(n, names=("a",), seed=0):
    rows = [(name, s) for name in names for s in range(n)]
    return Draws(Sampling(samples=n, seed=seed), rows), len(rows)


def test_the_samples_of_a_series_share_out_the_unit_interval_at_every_place():
    draws, n_rows = _draws(20, ("a", "b"))
    for place in range(50):
        result = draws.at(range(n_rows), np.full(n_rows, place)).reshape(2, 20)
        assert (np.sort((result * 20).astype(int)) == np.arange(20)).all()
    # and each series, place and seed in its own way
    other, _ = _draws(20, ("a", "b"), seed=1)
    for of in (draws, other):
        parts = [(of.at(range(40), np.full(40, p)) * 20).astype(int) for p in range(20)]
        assert len({tuple(row) for p in parts for row in p.reshape(2, 20)}) == 40
    assert draws.at(range(40), np.zeros(40, int)).tolist() != (
        other.at(range(40), np.zeros(40, int)).tolist()
    )


def test_what_a_sample_draws_is_distributed_as_if_it_were_alone():
    """Uniform at each place, and independent from place to place; pairs of samples as well."""
    names = [str(i) for i in range(1500)]
    draws, n_rows = _draws(5, names)
    result = np.stack([draws.at(range(n_rows), np.full(n_rows, p)) for p in range(12)])
    one, two = result[:, 0::5], result[:, 3::5]  # a row is a place, a column a series
    for sample in (one, two):
        counts = np.bincount((sample.ravel() * 20).astype(int), minlength=20)
        expected = sample.size / 20
        assert ((counts - expected) ** 2 / expected).sum() < 43.8
        assert np.abs(np.corrcoef(sample)[~np.eye(12, dtype=bool)]).max() < 5 / np.sqrt(1500)
    # two samples keep apart by as much as n parts of [0, 1) do
    assert abs(np.corrcoef(one.ravel(), two.ravel())[0, 1] + 1 / 4) < 0.03


def test_a_draw_is_the_same_whoever_else_draws():
    names = ("a", "b", "c")
    draws, n_rows = _draws(7, names)
    places = np.arange(n_rows) % 4
    together = draws.at(range(n_rows), places)
    order = np.random.default_rng(0).permutation(n_rows)
    assert draws.at(order.tolist(), places[order]).tolist() == together[order].tolist()
    for row in (0, 9, 20):
        alone = Draws(Sampling(samples=7), [(names[row // 7], row % 7)])
        assert alone.at([0], places[row : row + 1])[0] == together[row]


def test_a_single_future_draws_from_its_own_stream():
    draws = Draws(Sampling(samples=1), [("a", 0)])
    key = np.array([stream(0, "a", 0)], dtype=np.uint64)
    assert draws.at([0], np.array([3])) == uniforms(key, np.array([3]))
