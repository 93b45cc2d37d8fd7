"""The series that the bundled model is made on: what they are, and how they are written."""

import driven
import maps
import mixture
import numeric_tokenizer
import numpy as np
import observation
import oscillators
import pytest
import rows
import stochastic
from mixture import MIXTURE, Drawing, Kind
from observation import Observer
from spellings import VOCABULARIES

from lvlora.text.codec import Codec
from lvlora.text.windows import IGNORED


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("name", MIXTURE)
def test_every_kind_gives_finite_series(name):
    kind = MIXTURE[name]
    values = kind.simulate(rng(), 6, 40)
    assert values.shape[:2] == (6, 40)
    assert values.shape[2] >= kind.n_variables
    assert np.isfinite(values).all()
    assert (values.std(axis=1) > 0).any()


@pytest.mark.parametrize("name", VOCABULARIES)
def test_numbers_take_as_many_tokens_as_is_said(name):
    vocabulary = VOCABULARIES[name]
    alphabet = numeric_tokenizer.alphabet(vocabulary.several)
    assert alphabet.count("0.25,") == vocabulary.usual
    assert alphabet.count("9.99;") == vocabulary.usual


def test_a_driver_stands_before_what_it_drives():
    values = driven.driven(rng(2), 200, 100)
    assert values.shape == (200, 100, 2)
    assert (values[..., 1] > 0).all()
    moved = [abs(np.corrcoef(v[:, 0], np.log(v[:, 1]))[0, 1]) for v in values]
    assert np.median(moved) > 0.3


def test_gaps_may_end_with_the_history_and_leave_something_of_each_variable():
    for seed in range(60):
        seen = Observer(gaps=1.0, ends=1.0).observe(rng(seed), np.ones((40, 2)), 20)
        assert np.isfinite(seen[20:]).all()
        assert np.isfinite(seen[:20]).any(axis=0).all()


def test_rounding_is_to_digits_of_the_largest():
    np.testing.assert_allclose(
        observation.rounded(np.array([[1234.0], [56.0]]), 2), [[1200.0], [100.0]]
    )


def test_process_noise_has_the_variance_that_theory_says():
    def decay(logs, _):
        return -0.1 * logs

    start, none = np.zeros((60, 1)), np.zeros((60, 1))
    still = stochastic.integrate(rng(), decay, start, np.ones(60), 50, none, none)
    np.testing.assert_allclose(still, 1.0)
    shaken = stochastic.integrate(rng(), decay, start, np.ones(60), 400, none + 0.1, none)
    # Ornstein-Uhlenbeck: variance s² / (2 · 0.1)
    np.testing.assert_allclose(np.log(shaken[:, 50:]).var(), 0.05, rtol=0.1)


def one_part(seed, kind, values, options=None):
    row = mixture.one_row(rng(seed), kind, values[None], options or Drawing())
    return None if row is None else row.parts[0]


def test_a_pool_is_a_pure_function_of_its_seed():
    one, two = (mixture.draw(rng(3), 30, 200) for _ in range(2))
    assert len(one) == 30
    for a, b in zip(one, two, strict=True):
        assert a.decimals == b.decimals
        for p, q in zip(a.parts, b.parts, strict=True):
            np.testing.assert_array_equal(p.values, q.values)
            assert p.first == q.first


def test_a_history_is_scaled_by_itself_as_forecasts_scale_it():
    plain = Kind(1.0, maps.gompertz, 1, Observer())
    at_usual = 0
    for seed, values in enumerate(maps.gompertz(rng(), 60, 100)):
        part = one_part(seed, plain, values)
        largest = np.abs(part.values[: part.first]).max()
        if part.first and np.ptp(values[: part.first]) > 0.3 * values[: part.first].max():
            assert 5 / 1.26 < largest < 5 * 1.26
            at_usual += abs(largest - 5) < 1e-9
    assert at_usual > 5


def test_a_data_sets_divisor_leaves_all_of_a_series_a_target():
    kind = Kind(1.0, maps.moran, 1, Observer(), common=1.0)
    parts = [one_part(i, kind, v) for i, v in enumerate(maps.moran(rng(), 9, 60))]
    assert {part.first for part in parts} == {0}


def test_numbers_too_large_end_a_series():
    kind = Kind(1.0, maps.moran, 1, Observer())
    part = one_part(0, kind, np.exp(np.linspace(0, 60, 120))[:, None])
    assert part is None or np.abs(part.values).max() <= 500


@pytest.mark.parametrize("related", [True, False])
def test_related_series_stand_in_one_row(related):
    drawn = mixture.draw(rng(1), 120, 256, Drawing(related=related))
    assert any(len(row.parts) > 1 for row in drawn) == related


@pytest.mark.slow
def test_long_rows_are_filled_with_several_series():
    drawn = mixture.draw(rng(1), 60, 4096, Drawing(1, 1, thirds=False, related=False))
    full = [sum(part.values.size for part in row.parts) >= 4000 for row in drawn]
    assert np.mean(full) > 0.8
    assert max(part.first for row in drawn for part in row.parts) <= 1000


@pytest.mark.parametrize("clean", [True, False])
def test_noise_counts_and_rounding_may_end_with_the_history(clean):
    truth = np.exp(rng().normal(0, 0.3, (80, 1)))
    observer = Observer(noise=1.0, rounding=1.0)
    seen = observer.observe(rng(1), truth, 50, clean_future=clean)
    assert (seen[:50] != truth[:50]).all()
    assert (seen[50:] == truth[50:]).all() == clean


@pytest.mark.slow
@pytest.mark.parametrize("name", VOCABULARIES)
def test_histories_are_no_targets_of_a_batch(name, monkeypatch):
    monkeypatch.setattr(rows, "POOL", 64)  # enough for this batch
    settings = rows.Rows(name, seed=5)
    n, length = settings.shape(0)
    batches = rows.SimulatedBatches(settings)
    batch = batches.batch(0)
    assert batch.inputs.shape == batch.targets.shape == (n, length)
    drawn = mixture.draw(np.random.default_rng((5, length, 0)), 64, length, settings.drawing)
    for row, inputs, targets in zip(drawn, batch.inputs, batch.targets, strict=False):
        assert inputs[0] == numeric_tokenizer.START_ID
        part = row.parts[0]
        steps = Codec(row.decimals, part.values.shape[1]).encode_steps(part.values)
        written = batches.alphabet.encode("".join(steps))[:length]
        np.testing.assert_array_equal(inputs[1 : len(written)], written[:-1])
        history = min(length, batches.alphabet.count("".join(steps[: part.first])))
        assert (targets[:history] == IGNORED).all()
        np.testing.assert_array_equal(targets[history : len(written)], written[history:])
    # nothing is asked to foretell that a series begins
    assert not (batch.targets == numeric_tokenizer.START_ID).any()


def test_coarser_substeps_are_below_the_rounding_of_the_text():
    start = np.log(np.array([[1.0, 0.5]]))

    def rate(logs):
        x, y = np.exp(logs).T
        return np.stack([0.3 - 0.4 * y, 0.2 * x - 0.3], 1)

    coarse = np.exp(oscillators.runge_kutta(rate, start, np.array([2.0]), 100))
    fine = np.exp(oscillators.runge_kutta(rate, start, np.array([0.05]), 3961))[:, ::40]
    np.testing.assert_allclose(coarse, fine, atol=5e-4)
