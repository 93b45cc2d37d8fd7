"""Forecasts of a tiny model: shapes, independence, rolling, scales, and exact prices."""

from dataclasses import replace

import numpy as np
import pytest
import tiny_models
import tiny_runs
import torch
from decoding_oracle import costs_no_more

from lvlora.data.dataset import Series
from lvlora.errors import DataError
from lvlora.forecast import plan
from lvlora.forecast.forecaster import continue_time, rows_of
from lvlora.forecast.language_model import LanguageModel
from lvlora.forecast.reading import how_cut
from lvlora.forecast.sampling import Sampling
from lvlora.model import lora
from lvlora.text.scaling import Scale
from lvlora.train.measurement import count

DRAWN = Sampling(samples=3, seed=5)
GREEDY = Sampling(greedy=True)


def _histories(**changes):
    return list(tiny_runs.dataset(**{"n_series": 3, "n_steps": 10, **changes}))


@pytest.fixture
def forecaster(tiny_base):
    return LanguageModel(tiny_base(), decimals=1)


def _short_sighted(base):
    """The same model, said to read so little that short series are read in pieces, too."""
    base.max_positions = 96
    return base


def test_samples_have_exactly_the_shape_that_was_asked_for(forecaster):
    result = forecaster.predict(_histories(), 4, DRAWN)
    assert [f.series for f in result] == ["s0", "s1", "s2"]
    for f in result:
        assert f.samples.shape == (3, 4, 2)
        assert np.isfinite(f.samples).all()
        assert f.time.tolist() == [10, 11, 12, 13]
        assert f.median.shape == f.mean.shape == f.quantile(0.9).shape == (4, 2)
    assert forecaster.predict(_histories(), 4, GREEDY)[0].samples.shape == (1, 4, 2)
    assert forecaster.predict([], 4, DRAWN) == []


@pytest.mark.parametrize("horizon", [2, 8])
def test_a_series_is_forecast_as_if_it_were_alone(forecaster, monkeypatch, horizon):
    """Short ones beside long ones that must be read in pieces, in any order and batching."""
    _short_sighted(forecaster.base)
    histories = [*_histories(n_steps=3), *_histories(n_steps=15, seed=1)]
    histories = [Series(f"x{i}", h.time, h.values) for i, h in enumerate(histories)]
    together = forecaster.predict(histories, horizon, DRAWN)
    with monkeypatch.context() as few:
        few.setattr(plan, "MOST_ROWS", 2)
        backwards = forecaster.predict(histories[::-1], horizon, DRAWN)[::-1]
    for history, one, other in zip(histories, together, backwards, strict=True):
        (alone,) = forecaster.predict([history], horizon, DRAWN)
        assert np.array_equal(alone.samples, one.samples)
        assert np.array_equal(alone.samples, other.samples)
        assert alone.context == one.context


@pytest.mark.usefixtures("unbounded")
def test_a_horizon_beyond_the_models_positions_is_rolled(forecaster):
    assert forecaster.base.max_positions == 512
    (result,) = forecaster.predict(_histories()[:1], 70, Sampling(2, seed=1, views=1))
    assert result.samples.shape == (2, 70, 2)
    assert len(forecaster.usage.trace.histories) == 1 + 2 * 2  # each sample, after each piece
    # the samples go ways of their own in every piece
    late = result.samples[:, 64:]
    assert not np.array_equal(late[0], late[1])
    # its first steps are those of a shorter forecast that is read in the same pieces
    (shorter,) = forecaster.predict(_histories()[:1], 60, Sampling(2, seed=1, views=1))
    assert np.array_equal(shorter.samples[:, :20], result.samples[:, :20])


@pytest.mark.usefixtures("unbounded")
def test_a_long_history_is_cut_and_said_and_the_context_is_kept(forecaster):
    histories = _histories(n_steps=200, n_variables=1)
    result = forecaster.predict(histories, 5, GREEDY)
    used = result[0].context
    assert 100 < used < 150
    positions = forecaster.base.max_positions
    (warning,) = how_cut(histories, forecaster.readings(histories, 5), positions)
    assert f"{used} of 200" in warning
    short = [h.steps(200 - used, 200) for h in histories]
    scaled = LanguageModel(forecaster.base, decimals=1, scale=result[0].scale)
    again = scaled.predict([Series("s0", short[0].time, short[0].values)], 5, GREEDY)
    assert np.array_equal(again[0].samples, result[0].samples)
    request = forecaster.predict(histories, 5, GREEDY, context=7)
    assert request[0].context == 7
    assert list(how_cut(histories, forecaster.readings(histories, 5, 7), positions, 7)) == []


def test_variables_of_other_magnitudes_are_scaled_by_themselves(forecaster):
    time = np.arange(30.0)
    wolves = 20 + 5 * np.sin(time / 3)
    moose = 1000 + 300 * np.cos(time / 3)
    (apart,) = forecaster.predict([Series("isle", time, np.stack([wolves, moose], 1))], 4, GREEDY)
    assert apart.scale.rule == "variable"
    assert 40 < apart.scale.divisors[1] / apart.scale.divisors[0] < 60
    (alike,) = forecaster.predict([Series("h", time, np.stack([wolves, wolves], 1))], 4, GREEDY)
    assert alike.scale.rule == "history"
    stored = Scale((4.0, 4.0), "dataset")
    scaled = LanguageModel(forecaster.base, decimals=1, scale=stored)
    (fitting,) = scaled.predict([Series("h", time, np.stack([wolves, wolves], 1))], 4, GREEDY)
    assert fitting.scale == stored
    (large,) = scaled.predict([Series("m", time, np.stack([moose, moose], 1))], 4, GREEDY)
    assert large.scale.rule == "history"


def test_what_cannot_be_read_is_refused_by_name(forecaster):
    time = np.arange(4.0)
    with pytest.raises(DataError, match=r"'nothing'.*every value is missing"):
        forecaster.predict([Series("nothing", time, np.full((4, 2), np.nan))], 2, GREEDY)
    with pytest.raises(DataError, match=r"'none'.*empty"):
        forecaster.predict([Series("none", time[:0], np.ones((0, 2)))], 2, GREEDY)
    known = np.ones((6, 200))
    with pytest.raises(DataError, match=r"'wide'.*201 variables takes 804 tokens"):
        forecaster.predict([Series("wide", time, np.ones((4, 2)), known=known)], 2, GREEDY)


def test_quantiles_and_rows(forecaster):
    histories = _histories()
    result = forecaster.predict(histories, 4, DRAWN)
    quantiles = np.stack([result[0].quantile(q) for q in (0.2, 0.5, 0.8)])
    assert (np.diff(quantiles, axis=0) >= 0).all()
    assert np.array_equal(quantiles[1], result[0].median)
    rows = rows_of(result, (0.2, 0.8))
    assert len(rows) == 3 * 4 * 2
    assert list(rows[0]) == ["id", "time", "variable", "median", "mean", "0.2", "0.8"]
    assert [row["variable"] for row in rows[:2]] == ["x1", "x2"]
    assert rows[1]["median"] == result[0].median[0, 1]


def test_time_goes_on_without_the_noise_of_binary_fractions():
    assert continue_time(np.array([0.1, 0.2, 0.3]), 3).tolist() == [0.4, 0.5, 0.6]
    assert continue_time(np.array([1900.0, 1901, 1903, 1904]), 2).tolist() == [1905, 1906]
    assert continue_time(np.array([5.0]), 2).tolist() == [6, 7]
    tiny = np.array([1e12, 1e12 + 1e-3])
    assert (np.diff(continue_time(tiny, 3)) > 0).all()


@pytest.mark.parametrize(
    ("family", "updated"),
    [
        ("qwen2", True),
        pytest.param("llama", False, marks=pytest.mark.slow),
        pytest.param("gemma2", True, marks=pytest.mark.slow),
        *((kind, False) for kind in tiny_models.MERGING),
    ],
)
def test_the_price_is_what_the_counter_finds(
    tiny_base, monkeypatch, through_torch, family, updated
):
    base = _short_sighted(tiny_base(family))
    if updated:
        lora.inject(base.module, lora.LoraPlan(rank=3, targets=("q_proj", "down_proj")))
    monkeypatch.setattr(plan, "MOST_ROWS", 4)
    forecaster = LanguageModel(base, decimals=2)
    histories = [*_histories(n_series=2, n_steps=3), *_histories(n_series=2, seed=2)]
    for sampling in (DRAWN, GREEDY):
        spent = []
        counted = count(
            lambda s=sampling, spent=spent: spent.extend(costs_no_more(forecaster, histories, 3, s))
        )
        assert spent[0].executed == counted
        assert spent[1].executed < 6 * counted


def _known_further(n_steps=12, ahead=6):
    """Series of one variable, after two columns that are known for further steps."""
    data = tiny_runs.dataset(2, n_steps=n_steps + ahead, n_variables=3)
    return [
        replace(
            one.steps(0, n_steps),
            values=one.values[:n_steps, 2:],
            known=one.values[:, :2],
            ahead=one.time[n_steps:],
        )
        for one in data
    ]


@pytest.mark.parametrize(
    ("family", "decimals", "max_rows", "number_format"),
    [
        ("qwen2", 0, 1024, "point"),
        ("qwen2", 2, 3, "digits"),
        ("native qwen2", 1, 2, "point"),
        ("native qwen2", 3, 3, "point"),
    ],
)
def test_no_forecast_costs_more_than_its_price_bound(
    tiny_base, monkeypatch, family, decimals, max_rows, number_format
):
    """Random weights write numbers as long as the grammar allows."""
    base = _short_sighted(tiny_base(family))
    monkeypatch.setattr(plan, "MOST_ROWS", max_rows)
    forecaster = LanguageModel(base, decimals=decimals, number_format=number_format)
    time = np.arange(20.0)
    signed = Series("signed", time, np.stack([np.sin(time), 30 * np.cos(time)], 1))
    uneven = replace(signed, time=time + 0.4 * (time % 3))
    few = _histories(n_series=2)
    for histories in (few, [signed, *_histories(n_series=1, n_steps=9)], [uneven]):
        for sampling in (DRAWN, Sampling(2, temperature=5.0), GREEDY):
            costs_no_more(forecaster, histories, 6, sampling)
    for base.max_positions in (150, 4096):  # in pieces, and at once
        costs_no_more(forecaster, _known_further(), 6, Sampling(5, temperature=5.0, views=2))


def test_progress_counts_every_unit_once(tiny_base, monkeypatch):
    messages = []
    monkeypatch.setattr(plan, "MOST_ROWS", 2)
    forecaster = LanguageModel(_short_sighted(tiny_base()), decimals=1)
    histories = [*_histories(n_steps=3), *_histories(n_steps=10, seed=2)]
    forecaster.predict(histories, 8, DRAWN, progress=messages.append)
    n = len(histories)
    assert sum(messages) == forecaster.planned(histories, [8] * n, DRAWN).n_units >= 3 * n


def test_bfloat16_forecasts_too(tiny_base):
    forecaster = LanguageModel(tiny_base("qwen2", torch.bfloat16), decimals=1)
    (result,) = forecaster.predict(_histories()[:1], 4, DRAWN)
    assert np.isfinite(result.samples).all()
