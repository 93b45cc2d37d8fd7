"""The series that the bundled model is made on: what they are, and how they are written."""

import cycles
import driven
import kernels
import maps
import mixture
import networks
import numeric_tokenizer
import numpy as np
import observation
import oscillators
import outbreaks
import pytest
import rows
import stochastic
import torch
from exponential_smoothing import exponential_smoothing
from mixture import DEFAULT, MIXTURE, Drawing, Kind
from observation import Observer
from seasonal_arima import seasonal_arima
from spellings import VOCABULARIES, number_line
from switching import switching

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


def test_near_numbers_begin_with_near_embeddings():
    weight = number_line(64)
    alphabet = numeric_tokenizer.alphabet(VOCABULARIES["numbers"].several)
    assert len(weight) == max(alphabet.ids) + 1

    def nearness(one, other):
        rows = [weight[alphabet.encode(text)[0]] for text in (one, other)]
        return float(torch.cosine_similarity(*rows, dim=0))

    assert nearness("2.50,", "2.52,") > nearness("2.50,", "3.50,")
    assert nearness("2.50,", "2.52,") > nearness("2.50,", "2.52;")


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


def test_maps_without_noise_come_to_rest_at_the_capacity():
    def still(x, _):
        return x + 0.5 * (1 - np.exp(x))

    values = maps.iterate(rng(), still, 200, 60)
    resting = values[np.ptp(values[:, -10:, 0], axis=1) < 1e-3]
    assert len(resting) > 10
    np.testing.assert_allclose(resting[:, -1], 1.0, atol=1e-3)


def test_morans_map_has_cycles():
    logs = np.log(maps.moran(rng(), 300, 150))[:, :, 0]
    spectrum = np.abs(np.fft.rfft(logs - logs.mean(axis=1, keepdims=True), axis=1)).mean(axis=0)
    period = 150 / (1 + np.argmax(spectrum[1:]))
    assert 3 < period < 30


def test_epidemics_are_counts_with_quiet_and_bursts():
    cases = outbreaks.epidemics(rng(), 100, 120)
    np.testing.assert_array_equal(cases, np.round(cases))
    assert cases.min() >= 0
    ratio = cases.max(axis=1) / np.maximum(np.median(cases, axis=1), 1)
    assert np.median(ratio) > 2


def test_process_noise_has_the_variance_that_theory_says():
    def decay(logs, _):
        return -0.1 * logs

    start, none = np.zeros((60, 1)), np.zeros((60, 1))
    still = stochastic.integrate(rng(), decay, start, np.ones(60), 50, none, none)
    np.testing.assert_allclose(still, 1.0)
    shaken = stochastic.integrate(rng(), decay, start, np.ones(60), 400, none + 0.1, none)
    # Ornstein-Uhlenbeck: variance s² / (2 · 0.1)
    np.testing.assert_allclose(np.log(shaken[:, 50:]).var(), 0.05, rtol=0.1)


def test_a_cycle_comes_round_again_at_a_period_of_its_own():
    """What the next turn holds is in the ones before: at some lag a cycle is what it was."""
    series = cycles.cycles(rng(), 200, 240, 2)
    spread = series.std(axis=1).mean(axis=1)
    least = np.full(200, np.inf)
    for lag in range(4, 100):
        distance = np.abs(series[:, lag:] - series[:, :-lag]).mean(axis=(1, 2)) / spread
        least = np.minimum(least, distance)
    assert (least < 0.15).mean() > 0.5  # some wander, grow or die away
    assert np.median(least) < 0.15
    # no two have the same form: of one turn nothing tells the other's
    assert np.abs(np.corrcoef(series[:30, :60, 0])).mean() < 0.3


def test_networks_that_come_to_rest_are_left_out_first():
    drawn, kept = networks.runs(rng(2), 80, 60, 2), networks.networks(rng(2), 40, 60, 2)

    def moving(series):
        late = series[:, 30:]
        return late.std(axis=1).mean(axis=1) / np.abs(series).max(axis=(1, 2))

    assert (moving(kept) > 0.02).mean() > (moving(drawn) > 0.02).mean() + 0.1
    assert (moving(kept) > 0.02).mean() > 0.7


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


def test_counts_with_a_clean_future_have_one_unit():
    truth = np.full((400, 1), 3.0)
    seen = Observer(counts=1.0).observe(rng(2), truth, 200, clean_future=True)
    np.testing.assert_array_equal(seen[:200], np.round(seen[:200]))
    np.testing.assert_allclose(seen[:200].mean(), seen[200:].mean(), rtol=0.3)
    assert np.ptp(seen[200:]) == 0


def test_shocks_keep_positive_series_positive_and_change_the_others():
    for seed in range(40):
        assert (observation.shocked(rng(seed), np.ones((60, 2)), True) > 0).all()
    level = rng().normal(0, 1, (60, 1))
    assert (observation.shocked(rng(3), level, False) != level).any()


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


def test_told_times_are_those_of_the_steps():
    even = driven.told_times(DEFAULT)(rng(4), 40, 50)
    assert even.shape == (40, 50, 3)
    assert (even[..., 0] > 0).all()
    shares = even[..., 0] / even[..., 0].min(axis=1, keepdims=True)
    np.testing.assert_allclose(shares, shares.round(), atol=1e-6)


@pytest.mark.parametrize("generator", [seasonal_arima, exponential_smoothing])
def test_seasons_come_back_after_their_period(generator):
    values = generator(rng(2), 300, 240, 1)[:, :, 0]
    changes = np.diff(values, axis=1)
    changes = changes - changes.mean(axis=1, keepdims=True)
    changes = changes / np.maximum(changes.std(axis=1, keepdims=True), 1e-9)
    alike = (changes[:, 12:] * changes[:, :-12]).mean(axis=1)
    beside = (changes[:, 11:] * changes[:, :-11]).mean(axis=1)
    assert (alike > 0.4).mean() > (beside > 0.4).mean() + 0.05


def test_seasonal_arima_stays_inside_the_stability_region():
    values = seasonal_arima(rng(4), 200, 1000, 1)[:, :, 0]
    assert np.isfinite(values).all()
    early, late = values[:, :500].std(axis=1), values[:, 500:].std(axis=1)
    assert 0.5 < np.median(late / np.maximum(early, 1e-9)) < 2


def test_exponential_smoothing_reaches_over_five_decades():
    values = exponential_smoothing(rng(1), 400, 400, 1)[:, :, 0]
    positive = values[(values > 0).all(axis=1)]
    assert (positive.max(axis=1) / positive.min(axis=1)).max() > 1e5
    assert np.median(np.ptp(values, axis=1) / np.abs(values).max(axis=1)) < 1


def test_kernels_give_smooth_and_rough_processes():
    values = kernels.kernel_draws(rng(), 40, 128, 1)[:, :, 0]
    roughness = np.diff(values).std(axis=1) / values.std(axis=1)
    assert roughness.min() < 0.2
    assert roughness.max() > 0.8


def test_switching_stays_and_then_jumps():
    values = np.log(np.abs(switching(rng(), 200, 300, 1)[:, :, 0]))
    steps = np.abs(np.diff(values))
    # rare large steps: the largest is far beyond the usual one
    assert np.median(steps.max(axis=1) / np.maximum(np.median(steps, axis=1), 1e-9)) > 4


def test_coarser_substeps_are_below_the_rounding_of_the_text():
    start = np.log(np.array([[1.0, 0.5]]))

    def rate(logs):
        x, y = np.exp(logs).T
        return np.stack([0.3 - 0.4 * y, 0.2 * x - 0.3], 1)

    coarse = np.exp(oscillators.runge_kutta(rate, start, np.array([2.0]), 100))
    fine = np.exp(oscillators.runge_kutta(rate, start, np.array([0.05]), 3961))[:, ::40]
    np.testing.assert_allclose(coarse, fine, atol=5e-4)
