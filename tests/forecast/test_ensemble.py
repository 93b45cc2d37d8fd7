"""Rivals' forecasts, and the ensemble's, of futures that nobody knows."""

import numpy as np
import pytest

from lvlora.answers import NOTHING
from lvlora.data.dataset import Dataset, Series
from lvlora.data.metrics import of_samples
from lvlora.forecast.ensemble import (
    Ensemble,
    Hindcasts,
    loss,
    members_for,
    pooled,
    weights,
)
from lvlora.forecast.forecaster import continue_time, in_order
from lvlora.forecast.language_model import LanguageModel
from lvlora.forecast.rivals import LastValue, SeasonalNaive, default_rivals, option_name, rival_for
from lvlora.forecast.rivals.contract import GREEDY, Prediction
from lvlora.forecast.rivals.futures import recent_origins
from lvlora.forecast.sampling import Sampling


def wave(n_steps: int = 48, name: str = "w", shift: float = 0.0) -> Series:
    t = np.arange(float(n_steps))
    values = np.stack([3 + np.sin(t / 2 + shift), 3 + np.cos(t / 2 + shift)], axis=1)
    return Series(name, t * 2, values)


def dataset(*series: Series) -> Dataset:
    return Dataset(series or (wave(),), ("prey", "predator"), "waves")


def test_names_are_typed_with_hyphens() -> None:
    for rival in default_rivals():
        if not rival.refusal(dataset()):
            assert rival_for(option_name(rival.name), dataset(), "auto").name == rival.name


def test_a_rivals_forecast_is_its_own_point_with_futures_around_it() -> None:
    history, rival = wave(), SeasonalNaive()
    (forecast,) = rival.predict([history], 5, Sampling(samples=7))
    assert forecast.samples.shape == (7, 5, 2)
    assert forecast.time.tolist() == continue_time(history.time, 5).tolist()
    assert forecast.scale is None
    (alone,) = rival.predict([history], 5, GREEDY)
    np.testing.assert_array_equal(forecast.median, alone.median)
    assert alone.samples.shape == (1, 5, 2)
    (short,) = rival.predict([history], 5, GREEDY, context=20)
    assert short.context == 20
    assert rival.at_most([history], 5) == NOTHING


def test_those_who_choose_among_others_do_not_take_part() -> None:
    names = [rival.name for rival in members_for(dataset())]
    assert "best fitted equations" not in names
    assert "rosenzweig-macarthur fit" in names


def test_the_past_is_forecast_from_what_came_before_it() -> None:
    history = wave()
    seen = []

    class Spy(LastValue):
        def forecast(self, time: np.ndarray, history: np.ndarray) -> np.ndarray:
            seen.append((len(time), len(history)))
            return super().forecast(time, history)

    histories, rival = [history, wave(5)], Spy()
    losses = {}
    for _, of_part in Hindcasts([rival, rival], histories, 10, Sampling()).losses():
        losses |= of_part
    assert seen == [(38, 28), (48, 38)]
    assert list(losses) == [(0, 0, 28, 10), (0, 1, 38, 10)]
    expected = loss(history.values[:38], np.repeat(history.values[27:28], 10, axis=0))
    assert losses[0, 0, 28, 10] == pytest.approx(expected)


def test_hindcasts_end_with_the_history_and_take_half_of_it_at_most() -> None:
    assert recent_origins(80, 10) == [(60, 10), (70, 10)]
    assert recent_origins(20, 50) == [(10, 5), (15, 5)]
    assert recent_origins(7, 2) == []


def test_histories_of_one_horizon_are_decoded_together(tiny_base) -> None:
    histories = [wave(48), wave(30), wave(48)]
    model = LanguageModel(tiny_base())
    planned = model.planned(histories, [24, 15, 24], Sampling(), at_a_time=32)
    assert planned.places == [[0, 2], [1]]
    assert model.planned(histories, [24, 15, 24], Sampling(), at_a_time=1).places == [[0], [2], [1]]


class Oracle(LastValue):
    """Knows waves."""

    name = "oracle"

    def forecast(self, time: np.ndarray, history: np.ndarray) -> np.ndarray:
        ahead = time[len(history) :] / 2
        return np.stack([3 + np.sin(ahead / 2), 3 + np.cos(ahead / 2)], axis=1)


def test_an_ensemble_leans_on_who_was_right_and_is_one_more_forecaster(tiny_base) -> None:
    model = LanguageModel(tiny_base(), decimals=1)
    together = Ensemble([model, Oracle(), LastValue()])
    histories = [wave(48), wave(20, "v")]
    sampling = Sampling(samples=4, views=1)
    planned = together.planned(histories, [6, 6], sampling)
    parts = [
        model.at_most([h.steps(0, n)], n_ahead, sampling)
        for h in histories
        for n, n_ahead in recent_origins(len(h), 6)
    ]
    assert planned.price_bound.coursework >= sum(p.coursework for p in parts)
    forecasts = in_order(planned.parts())
    assert 0 < model.usage.price.executed <= planned.price_bound.executed
    for forecast, history in zip(forecasts, histories, strict=True):
        assert next(iter(forecast.weights)) == "oracle"
        # all of the weight but for what is shared by those whose past is as short
        n_steps = 2 * min(6, len(history) // 4)
        assert forecast.weights["oracle"] == pytest.approx((n_steps + 1) / (n_steps + 3), abs=1e-6)
        assert sum(forecast.weights.values()) == pytest.approx(1)
        ahead = np.arange(len(history), len(history) + 6)
        np.testing.assert_allclose(forecast.median[:, 0], 3 + np.sin(ahead / 2), atol=1e-6)
    # a history without an end to compare has equal weights
    (equal,) = together.predict([wave(5)], 2, GREEDY)
    assert list(equal.weights.values()) == pytest.approx([1 / 3] * 3)


def test_a_prediction_without_samples_is_one_future() -> None:
    history = wave()
    point = np.ones((2, 2))
    result = Prediction(point).of_series(history, np.arange(2.0))
    assert result.context == 48
    np.testing.assert_array_equal(result.quantile(0.9), point)


def test_a_loss_has_no_units_and_sees_no_gaps() -> None:
    rng = np.random.default_rng(0)
    history = rng.normal(size=(40, 2))
    ahead = history[-10:] + 0.5
    expected = float((0.5 / history.std(axis=0)).mean())
    assert loss(history, ahead) == pytest.approx(expected)
    units = np.array([1e-6, 1e9])
    assert loss(history * units + 3, ahead * units + 3) == pytest.approx(expected)
    gappy = history.copy()
    gappy[-3, 0] = np.nan
    assert np.isfinite(loss(gappy, ahead))
    gappy[-10:] = np.nan
    assert np.isnan(loss(gappy, ahead))


def test_who_flies_away_is_lost_and_no_more() -> None:
    history = np.random.default_rng(1).normal(size=(40, 1))
    assert loss(history, np.full((10, 1), 1e30)) == loss(history, np.full((10, 1), np.inf)) == 4.0
    assert loss(history, np.full((10, 1), np.nan)) == 4.0


def test_a_constant_variable_divides_by_nothing() -> None:
    assert loss(np.ones((20, 1)), np.full((5, 1), 1.5)) == 0.5


def test_weights_favour_who_was_right_the_more_the_longer_it_was_seen() -> None:
    losses = np.array([[0.1, 0.1], [0.2, 0.2], [4.0, 4.0]])
    long = weights(losses, 10**9)
    assert long.sum() == pytest.approx(1)
    assert long[0] / long[1] == pytest.approx(4)
    assert long[2] < 1e-3
    short = weights(losses, 4)
    assert short.sum() == pytest.approx(1)
    assert long[0] > short[0] > short[1] > short[2] > 0.1
    np.testing.assert_allclose(weights(np.zeros((2, 2)), 20), [0.5, 0.5])
    np.testing.assert_allclose(weights(np.full((4, 2), np.nan), 0), [0.25] * 4)
    np.testing.assert_allclose(weights(np.array([[0.1, np.nan], [0.1, np.nan]]), 9), [0.5, 0.5])


def test_the_forecast_of_all_lies_between_theirs() -> None:
    a = Prediction(np.zeros((3, 2)), np.arange(24.0).reshape(4, 3, 2))
    b = Prediction(np.ones((3, 2)), None)
    result = pooled([a, b], np.array([0.75, 0.25]), 4)
    assert result.samples is not None
    assert result.samples.shape == (4, 3, 2)
    np.testing.assert_array_equal(result.point, np.median(result.samples, axis=0))
    assert (result.samples >= 0).all()
    assert (result.samples <= a.samples.max(axis=0)).all()
    # without futures it is that of the member with more than half of the weight
    np.testing.assert_allclose(pooled([a, b], np.array([0.75, 0.25])).point, 0.0)
    assert pooled([a, b], np.array([1.0, 0.0])).samples is None
    alone = pooled([a, b], np.array([1.0, 0.0]), 4)
    middle = np.median(a.samples, axis=0)  # moved to its own point forecast
    np.testing.assert_allclose(alone.point, np.clip(a.point, 0, None), atol=3)
    assert (np.ptp(alone.samples, axis=0) <= np.ptp(a.samples, axis=0)).all()
    assert (alone.point <= middle).all()


def test_the_point_forecast_is_the_weighted_median() -> None:
    values = np.array([3.0, 1.0, 100.0, 2.0])
    members = [Prediction(np.full((1, 1), v)) for v in values]
    for shares, expected in {
        (0.25, 0.25, 0.25, 0.25): 2.5,
        (0.1, 0.1, 0.6, 0.2): 100.0,
        (0.2, 0.3, 0.2, 0.3): 2.0,
        (0.5, 0.0, 0.5, 0.0): 51.5,
    }.items():
        assert pooled(members, np.array(shares)).point[0, 0] == expected


@pytest.mark.parametrize("seed", range(5))
def test_the_median_is_the_half_quantile_and_lies_in_its_own_band(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n_members = int(rng.integers(1, 6))
    members = [
        Prediction(rng.normal(10 * m, 1, (4, 2)), rng.normal(10 * m, 2, (20, 4, 2)))
        for m in range(n_members)
    ]
    mixed = pooled(members, rng.dirichlet(np.ones(n_members)), 20)
    assert mixed.samples is not None
    low, middle, high = of_samples(mixed.samples, (0.1, 0.5, 0.9))
    np.testing.assert_allclose(mixed.point, middle, rtol=1e-12)
    assert (low <= mixed.point).all()
    assert (mixed.point <= high).all()


@pytest.mark.parametrize("n_samples", [1, 2, 7, 20])
def test_as_many_futures_as_were_asked_for(n_samples: int) -> None:
    member = Prediction(np.zeros((2, 1)), np.zeros((20, 2, 1)))
    shares = np.array([0.34, 0.33, 0.33])
    result = pooled([member] * 3, shares, n_samples)
    assert result.samples is not None
    assert len(result.samples) == n_samples


def test_a_wave_is_left_to_who_sees_the_wave() -> None:
    t = np.arange(60.0)
    wave = np.stack([np.sin(t / 3), np.cos(t / 3)], axis=1)
    rivals = [LastValue(), SeasonalNaive()]
    losses = np.array(
        [[loss(wave[:48], r.forecast(t[:48], wave[:n])) for n in (24, 36)] for r in rivals]
    )
    shares = weights(losses, 24)
    assert shares[1] > 0.75
