"""Negative log-likelihood of a truth: by hand, in pieces, with gaps, and where it is impossible."""

import numpy as np
import pytest
import tiny_models
import tiny_runs
from decoding_oracle import nll_by_hand

from lvlora.data.dataset import Series
from lvlora.forecast import likelihood
from lvlora.forecast.language_model import LanguageModel
from lvlora.forecast.likelihood import Score, negative_log_likelihood
from lvlora.train.measurement import count


def _cut(series, n):
    return series.steps(0, n), series.steps(n, len(series))


@pytest.mark.parametrize(
    ("family", "n_variables", "options"),
    [
        *(("qwen2", n, {}) for n in (1, 4)),
        ("gemma3", 2, {}),
        *((kind, 2, {"decimals": 2}) for kind in tiny_models.MERGING),
        ("pairs", 2, {"number_format": "digits"}),
    ],
)
def test_equals_a_calculation_by_hand_at_its_price(tiny_base, family, n_variables, options):
    forecaster = LanguageModel(tiny_base(family), **{"decimals": 1, **options})
    data = list(tiny_runs.dataset(3, n_steps=11, n_variables=n_variables))
    data[1] = data[1].steps(3, 11)  # of another length
    pairs = [_cut(s, 6 if i != 1 else 4) for i, s in enumerate(data)]
    histories, futures = [h for h, _ in pairs], [f for _, f in pairs]
    price = likelihood.price(forecaster, histories, futures)
    every = []
    counted = count(lambda: every.extend(negative_log_likelihood(forecaster, histories, futures)))
    assert price.executed == counted > 0
    assert price == forecaster.usage.price
    for (history, future), nll in zip(pairs, every, strict=True):
        assert np.allclose(nll, nll_by_hand(forecaster, history, future), atol=2e-3)


def test_a_unit_is_a_shift_of_its_logarithm(tiny_base):
    """Units a thousand times smaller: each holds a thousandth of the probability."""
    forecaster = LanguageModel(tiny_base(), decimals=1)
    (series,) = tiny_runs.dataset(1, n_steps=10)
    large = Series(series.id, series.time, series.values * 1000)
    results = [
        negative_log_likelihood(forecaster, *([part] for part in _cut(s, 6)))[0]
        for s in (series, large)
    ]
    assert np.allclose(results[0] + np.log(1000), results[1], atol=1e-3)


def test_missing_truth_is_read_and_not_scored(tiny_base):
    forecaster = LanguageModel(tiny_base(), decimals=1)
    (series,) = tiny_runs.dataset(1, n_steps=10)
    history, future = _cut(series, 6)
    gaps = future.values.copy()
    gaps[1, 0] = gaps[2] = np.nan
    (result,) = negative_log_likelihood(
        forecaster, [history], [Series(future.id, future.time, gaps)]
    )
    assert np.array_equal(np.isnan(result), np.isnan(gaps))
    (reference,) = negative_log_likelihood(forecaster, [history], [future])
    assert np.allclose(result[0], reference[0], atol=1e-4)  # before the first gap nothing changes
    assert Score.of([result]).n_values == 5


@pytest.mark.parametrize("family", ["qwen2", "whole"])
def test_what_the_grammar_cannot_write_is_impossible(tiny_base, family):
    forecaster = LanguageModel(tiny_base(family), decimals=1)
    (series,) = tiny_runs.dataset(1, n_steps=10)
    history, future = _cut(series, 6)
    odd = future.values.copy()
    odd[0, 1], odd[2, 0] = -1.0, 1e9
    truth = Series(future.id, future.time, odd)
    (result,) = negative_log_likelihood(forecaster, [history], [truth])
    assert np.argwhere(np.isinf(result)).tolist() == [[0, 1], [2, 0]]
    score = Score.of([result])
    assert (score.n_impossible, score.n_values) == (2, 8)
    assert score.per_dimension == np.inf
    assert np.isfinite(score.possible)


def test_a_truth_too_long_for_the_model_is_read_in_pieces(tiny_base):
    base = tiny_base()
    base.max_positions = 96
    forecaster = LanguageModel(base, decimals=1)
    (series,) = tiny_runs.dataset(1, n_steps=30, n_variables=1)
    history, future = _cut(series, 10)
    (result,) = negative_log_likelihood(forecaster, [history], [future])
    assert np.isfinite(result).all()
    assert len(forecaster.usage.trace.histories) > 1
    # the first piece is read as if there were no other
    ((plan,),) = forecaster.readings([history], 20)
    forecaster = LanguageModel(base, decimals=1, scale=plan.scale)
    early = Series(
        future.id, future.time[: plan.steps_at_once], future.values[: plan.steps_at_once]
    )
    last = Series(history.id, history.time, history.values).steps(
        len(history) - len(plan.numbers), len(history)
    )
    (alone,) = negative_log_likelihood(forecaster, [last], [early])
    assert np.allclose(result[: plan.steps_at_once], alone, atol=1e-4)


def test_batches_change_nothing_and_the_price_is_exact(tiny_base, monkeypatch):
    forecaster = LanguageModel(tiny_base("gemma2"), decimals=2)
    pairs = [_cut(s, 5 + i) for i, s in enumerate(tiny_runs.dataset(4, n_steps=12))]
    histories, futures = [h for h, _ in pairs], [f for _, f in pairs]
    results = []
    for size in (4096, 200, 1):
        monkeypatch.setattr(likelihood, "PREFILL_TOKENS", size)
        before = forecaster.usage.price
        message = likelihood.price(forecaster, histories, futures)
        counted = count(
            lambda: results.append(negative_log_likelihood(forecaster, histories, futures))
        )
        assert message == forecaster.usage.price - before
        assert message.executed == counted > 0
        assert message.coursework > 0
    for result in results[1:]:
        for one, other in zip(results[0], result, strict=True):
            assert np.allclose(one, other, atol=1e-4)


def test_nothing_known_has_no_likelihood():
    score = Score.of([np.full((2, 2), np.nan)])
    assert np.isnan(score.per_dimension)
    assert score.n_values == score.n_impossible == 0
    assert np.isnan(Score.of([]).possible)
