"""Rivals' forecasts, and those of models and rivals together, of futures that nobody knows."""

import numpy as np
import pytest

from lvlora.errors import SettingsError
from lvlora.flops.budget import NOTHING
from lvlora.forecast.ensemble import Ensemble, Hindcasts, by_origin, members_for, rival_for
from lvlora.forecast.forecast import continue_time
from lvlora.forecast.language_model import LanguageModel
from lvlora.forecast.rivals import GREEDY, RivalForecaster, as_forecast
from lvlora.forecast.sampling import Sampling
from lvlora.series import contest
from lvlora.series.dataset import Dataset, Series
from lvlora.series.rivals import LastValue, Prediction, SeasonalNaive, default_rivals, spoken


def wave(n_steps: int = 48, name: str = "w", shift: float = 0.0) -> Series:
    t = np.arange(float(n_steps))
    values = np.stack([3 + np.sin(t / 2 + shift), 3 + np.cos(t / 2 + shift)], axis=1)
    return Series(name, t * 2, values)


def dataset(*series: Series) -> Dataset:
    return Dataset(series or (wave(),), ("prey", "predator"), "waves")


def test_names_are_typed_with_hyphens() -> None:
    for rival in default_rivals():
        if not rival.refusal(dataset()):
            assert rival_for(spoken(rival.name), dataset(), "auto").name == rival.name


def test_who_cannot_forecast_such_data_says_so() -> None:
    negative = Dataset((Series("n", np.arange(9.0), -np.ones((9, 1))),), ("x",))
    with pytest.raises(SettingsError, match="forecaster sindy-on-rates: cannot forecast"):
        rival_for("sindy-on-rates", negative, "auto")


def test_a_rivals_forecast_is_its_own_point_with_futures_around_it() -> None:
    history, rival = wave(), RivalForecaster(SeasonalNaive())
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

    histories, rival = [history, wave(5)], RivalForecaster(Spy())
    losses = {}
    for origins in by_origin(histories):
        hindcasts = Hindcasts.plan(rival, histories, origins, Sampling())
        for found, part in hindcasts.losses():
            losses |= {o: hindcasts.loss(o, f) for o, f in zip(found, part.forecasts, strict=True)}
    assert seen == [(48, 24), (48, 36)]
    assert list(losses) == [(0, 0, 24), (0, 1, 36)]
    expected = contest.loss(history.values, np.repeat(history.values[35:36], 12, axis=0))
    assert losses[0, 1, 36] == pytest.approx(expected)


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
    together = Ensemble([model, RivalForecaster(Oracle()), RivalForecaster(LastValue())])
    histories = [wave(48), wave(20, "v")]
    sampling = Sampling(samples=4, views=1)
    planned = together.planned(histories, [6, 6], sampling)
    parts = [
        model.at_most([h.steps(0, n)], len(h) - n, sampling)
        for h, n in ((histories[0], 24), (histories[0], 36), (histories[1], 10), (histories[1], 15))
    ]
    assert planned.price_bound.coursework >= sum(p.coursework for p in parts)
    forecasts = planned.all()
    assert 0 < model.usage.price.executed <= planned.price_bound.executed
    for forecast, history in zip(forecasts, histories, strict=True):
        assert next(iter(forecast.weights)) == "oracle"
        assert sum(forecast.weights.values()) == pytest.approx(1)
        ahead = np.arange(len(history), len(history) + 6)
        np.testing.assert_allclose(forecast.median[:, 0], 3 + np.sin(ahead / 2), atol=0.05)
    # a history without an end to compare has equal weights
    (equal,) = together.predict([wave(5)], 2, GREEDY)
    assert list(equal.weights.values()) == pytest.approx([1 / 3] * 3)


def test_a_prediction_without_samples_is_one_future() -> None:
    history = wave()
    point = np.ones((2, 2))
    found = as_forecast(history, Prediction(point), np.arange(2.0))
    assert found.context == 48
    np.testing.assert_array_equal(found.quantile(0.9), point)
