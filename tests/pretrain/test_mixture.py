"""The series that the bundled model is made on: what they are, and how they are written."""

from concurrent.futures import Future

import autoregressions
import climbs
import cycles
import driven
import families
import maps
import networks
import numpy as np
import observation
import outbreaks
import populations
import pretrain
import pytest
import seasonal
import stochastic
import torch
from observation import CLEAN, Observer
from populations import MIXTURE, Kind
from spellings import VOCABULARIES, number_line

from lvlora.model import numeric_tokenizer
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


def test_a_pool_is_a_pure_function_of_its_seed():
    one, two = (populations.draw(rng(3), 30, 200) for _ in range(2))
    assert len(one) == 30
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a.values, b.values)
        assert (a.decimals, a.first) == (b.decimals, b.first)


def test_a_history_is_scaled_by_itself_as_forecasts_scale_it():
    plain = Kind(1.0, lambda r, n, t: maps.gompertz(r, n, t), 1, Observer())
    at_usual = 0
    for seed, values in enumerate(maps.gompertz(rng(), 60, 100)):
        row = populations.one_row(rng(seed), plain, values)
        largest = np.abs(row.values[: row.first]).max()
        if row.first and np.ptp(values[: row.first]) > 0.3 * values[: row.first].max():
            assert 5 / 1.26 < largest < 5 * 1.26
            at_usual += abs(largest - 5) < 1e-9
    assert at_usual > 5


def test_what_comes_after_changes_nothing_of_a_history():
    kind = Kind(1.0, families.FAMILIES["oscillation 1"][1], 1, CLEAN)
    values = families.FAMILIES["oscillation 1"][1](rng(1), 1, 100)[0]
    row = populations.one_row(rng(7), kind, values)
    other = values.copy()
    other[row.first :] *= 1.5
    again = populations.one_row(rng(7), kind, other)
    assert again.first == row.first > 0
    np.testing.assert_allclose(again.values[: row.first], row.values[: row.first])


def test_a_data_sets_divisor_leaves_all_of_a_series_a_target():
    kind = Kind(1.0, lambda r, n, t: maps.moran(r, n, t), 1, Observer(), common=1.0)
    rows = [populations.one_row(rng(i), kind, v) for i, v in enumerate(maps.moran(rng(), 9, 60))]
    assert {row.first for row in rows} == {0}


@pytest.mark.parametrize(("n_variables", "share"), [(1, 0.25), (2, 0.05)])
def test_a_lone_variable_is_often_written_with_three_decimals(n_variables, share):
    kind = Kind(1.0, families.FAMILIES["oscillation 2"][1], n_variables, CLEAN)
    values = kind.simulate(rng(4), 1, 40)[0]
    rows = [populations.one_row(rng(seed), kind, values) for seed in range(600)]
    threes = [row.decimals == 3 for row in rows if row is not None]
    assert len(threes) > 500
    assert np.mean(threes) == pytest.approx(share, abs=0.05)


@pytest.mark.parametrize("name", VOCABULARIES)
def test_histories_are_no_targets_of_a_batch(name, monkeypatch):
    monkeypatch.setattr(pretrain, "POOL", 16)  # enough for this batch
    vocabulary = VOCABULARIES[name]
    alphabet = numeric_tokenizer.alphabet(vocabulary.several)
    batches = pretrain.SimulatedBatches(5, 16, 96, "populations", name)
    batches.pools[1] = Future()  # the next pool is not asked for
    batch = batches.batch(0)
    tokens = vocabulary.fewest, vocabulary.usual
    rows = populations.draw(np.random.default_rng((5, 0)), pretrain.POOL + 64, 96, *tokens)[:16]
    assert batch.inputs.shape == batch.targets.shape == (16, 96)
    assert sum(row.first > 0 for row in rows) > 5
    for row, inputs, targets in zip(rows, batch.inputs, batch.targets, strict=True):
        steps = Codec(row.decimals, row.values.shape[1]).encode_steps(row.values)
        whole = alphabet.encode("".join(steps))[:96]
        assert inputs[0] == numeric_tokenizer.START_ID
        np.testing.assert_array_equal(inputs[1 : len(whole)], whole[:-1])
        history = min(96, alphabet.count("".join(steps[: row.first])))
        assert (targets[:history] == IGNORED).all()
        np.testing.assert_array_equal(targets[history : len(whole)], whole[history:])
        assert (targets[len(whole) :] == IGNORED).all()


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


def test_told_times_are_those_of_the_steps():
    even = driven.told_times("default systems")(rng(4), 40, 50)
    assert even.shape == (40, 50, 3)
    assert (even[..., 0] > 0).all()
    # a multiple of the shortest step
    shares = even[..., 0] / even[..., 0].min(axis=1, keepdims=True)
    np.testing.assert_allclose(shares, shares.round(), atol=1e-6)


def test_numbers_too_large_end_a_row():
    kind = Kind(1.0, lambda r, n, t: np.empty(0), 1, Observer())
    values = np.exp(np.linspace(0, 60, 120))[:, None]
    row = populations.one_row(rng(), kind, values)
    assert row is None or np.abs(row.values).max() <= 500


def test_noise_may_end_with_the_history():
    truth = np.exp(rng().normal(0, 0.3, (80, 2)))
    seen = Observer(noise=1.0, ends=1.0).observe(rng(1), truth, 50)
    assert (seen[:50] != truth[:50]).all()
    np.testing.assert_array_equal(seen[50:], truth[50:])


def test_gaps_may_end_with_the_history_and_leave_something_of_each_variable():
    for seed in range(60):
        seen = Observer(gaps=1.0, ends=1.0).observe(rng(seed), np.ones((40, 2)), 20)
        assert np.isfinite(seen[20:]).all()
        assert np.isfinite(seen[:20]).any(axis=0).all()


def test_counts_are_individuals_about_the_truth():
    means = []
    for seed in range(40):
        counts = observation.counted(rng(seed), np.full((400, 1), 7.0))
        np.testing.assert_array_equal(counts, np.round(counts))
        assert counts.min() >= 0
        means.append(counts.mean())
    assert min(means) < 10 < 300 < max(means)


def test_rounding_is_to_digits_of_the_largest():
    np.testing.assert_allclose(
        observation.rounded(np.array([[1234.0], [56.0]]), 2), [[1200.0], [100.0]]
    )


def _correlation(x, lag):
    x = x - x.mean(axis=1, keepdims=True)
    return float(((x[:, lag:] * x[:, :-lag]).sum() / (x[:, lag:] ** 2).sum()).item())


def test_white_noise_has_no_memory_and_a_walk_has_nothing_else():
    white = autoregressions.white(rng(), 200, 200, 1)
    assert abs(_correlation(white, 1)) < 0.05
    walk = np.log(autoregressions.log_walk(rng(), 200, 200, 1))
    assert abs(_correlation(np.diff(walk, axis=1), 1)) < 0.05
    assert _correlation(walk, 1) > 0.9


def test_what_climbs_goes_on_as_it_went():
    values = climbs.climbs(rng(), 400, 80, 1)[..., 0]
    last, rate = values[:, 49], (values[:, 49] - values[:, 39]) / 10
    ahead = np.abs(values[:, 54] - last - 5 * rate), np.abs(values[:, 54] - last)
    assert np.mean(ahead[0] < ahead[1]) > 0.6
    assert (np.diff(values, axis=1) > 0).mean() > 0.55


def test_autoregressions_of_many_lags_neither_explode_nor_die():
    values = autoregressions.lagged(rng(), 200, 400, 1)[..., 0]
    early, late = np.diff(values[:, :200]).std(axis=1), np.diff(values[:, 200:]).std(axis=1)
    assert 0.5 < np.median(late / early) < 2
    assert np.quantile(late / early, 0.05) > 0.1


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


def test_a_season_comes_back():
    values = seasonal.seasonal(rng(2), 300, 96, 1)[:, :, 0]
    standard = values - values.mean(axis=1, keepdims=True)
    standard /= standard.std(axis=1, keepdims=True)
    assert (standard[:, 12:] * standard[:, :-12]).mean() > (
        standard[:, 9:] * standard[:, :-9]
    ).mean() + 0.1


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


def test_a_profile_repeats_what_each_step_of_the_season_had():
    series = cycles.profiles(rng(1), 300, 240, 1)[:, :, 0]
    level = series - series.mean(axis=1, keepdims=True)
    shared = []
    for lag in (4, 7, 12):
        a, b = level[:, :-lag], level[:, lag:]
        shared.append((a * b).sum(axis=1) / np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1)))
    assert (np.max(shared, axis=0) > 0.6).mean() > 0.3
    assert np.isfinite(series).all()


def test_networks_that_come_to_rest_are_left_out_first():
    drawn, kept = networks.runs(rng(2), 80, 60, 2), networks.networks(rng(2), 40, 60, 2)

    def moving(series):
        late = series[:, 30:]
        return late.std(axis=1).mean(axis=1) / np.abs(series).max(axis=(1, 2))

    assert (moving(kept) > 0.02).mean() > (moving(drawn) > 0.02).mean() + 0.1
    assert (moving(kept) > 0.02).mean() > 0.7
