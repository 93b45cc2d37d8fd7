"""Random numbers by what they are for."""

from __future__ import annotations

import numpy as np

from lvlora.forecast.sampling import stream, uniforms


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
    found = uniforms(key, np.arange(3))
    assert np.array_equal(found, [(e >> 11) * 2.0**-53 for e in expected])


def test_streams_differ_by_seed_series_and_sample():
    keys = {stream(seed, s, i) for seed in (0, 1) for s in ("a", "b", "1", "") for i in range(50)}
    assert len(keys) == 2 * 4 * 50
    # names that run into each other when joined
    assert stream(1, "1", 1) != stream(11, "", 1) != stream(1, "11", 1)


def test_uniforms_are_uniform_and_uncorrelated():
    keys = np.array([stream(0, "x", s) for s in range(2000)], dtype=np.uint64)
    draws = np.stack([uniforms(keys, np.full(2000, p)) for p in range(50)])
    assert 0 <= draws.min() < draws.max() < 1
    counts = np.bincount((draws.ravel() * 20).astype(int), minlength=20)
    expected = draws.size / 20
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert chi_square < 43.8  # 0.1 % of 19 degrees of freedom
    correlations = np.corrcoef(draws)[~np.eye(50, dtype=bool)]
    assert np.abs(correlations).max() < 5 / np.sqrt(2000)


def test_a_number_depends_on_its_own_key_and_position_alone():
    keys = np.arange(100, dtype=np.uint64)
    positions = np.arange(100)[::-1].copy()
    together = uniforms(keys, positions)
    alone = [uniforms(keys[i : i + 1], positions[i : i + 1])[0] for i in range(100)]
    assert together.tolist() == alone
