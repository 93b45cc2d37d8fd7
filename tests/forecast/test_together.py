"""Rivals' forecasts, and those of models and rivals together, of futures that nobody knows."""

import numpy as np
import pytest

from lvlora.errors import SettingsError
from lvlora.forecast import together
from lvlora.forecast.forecast import Forecast, continue_time
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
            assert together.rival_for(spoken(rival.name), dataset(), "auto").name == rival.name


def test_who_cannot_forecast_such_data_says_so() -> None:
    negative = Dataset((Series("n", np.arange(9.0), -np.ones((9, 1))),), ("x",))
    with pytest.raises(SettingsError, match="forecaster sindy-on-rates: cannot forecast"):
        together.rival_for("sindy-on-rates", negative, "auto")


def test_a_rivals_forecast_is_its_own_point_with_futures_around_it() -> None:
    history = wave()
    time = continue_time(history.time, 5)
    (found,) = together.of_rival(SeasonalNaive(), [history], [time], 7)
    forecast = together.as_forecast(history, found, time)
    assert forecast.samples.shape == (7, 5, 2)
    np.testing.assert_array_equal(forecast.median, found.point)
    assert forecast.scale is None
    (alone,) = together.of_rival(SeasonalNaive(), [history], [time], 0)
    assert together.as_forecast(history, alone, time).samples.shape == (1, 5, 2)


def test_those_who_choose_among_others_do_not_take_part() -> None:
    names = [rival.name for rival in together.members(dataset())]
    assert "best fitted equations" not in names
    assert "rosenzweig-macarthur fit" in names


def test_the_past_is_forecast_from_what_came_before_it() -> None:
    history = wave()
    seen = []

    class Spy(LastValue):
        def forecast(self, time: np.ndarray, history: np.ndarray) -> np.ndarray:
            seen.append((len(time), len(history)))
            return super().forecast(time, history)

    losses = together.past_of_rival(Spy(), [history, wave(5)])
    assert seen == [(48, 24), (48, 36)]
    expected = contest.loss(history.values, np.repeat(history.values[35:36], 12, axis=0))
    assert losses[0, 1] == pytest.approx(expected)
    assert np.isnan(losses[1]).all()


def test_parts_of_one_length_are_forecast_together() -> None:
    histories = [wave(48), wave(30), wave(48), wave(5)]
    assert together.groups(histories, 32) == [
        (0, 24, [0, 2]),
        (0, 15, [1]),
        (1, 12, [0, 2]),
        (1, 8, [1]),
    ]
    assert together.groups(histories, 1)[:2] == [(0, 24, [0]), (0, 24, [2])]


class Oracle:
    """A model that knows waves; nothing of text."""

    class usage:
        price = None

    def predict(self, histories, horizon, sampling, *, context=None, progress=None):
        found = []
        for h in histories:
            ahead = np.arange(len(h), len(h) + horizon)
            values = np.stack([3 + np.sin(ahead / 2), 3 + np.cos(ahead / 2)], axis=1)
            found.append(Forecast(h.id, ahead * 2.0, values[None], None, len(h)))
        return found


def test_the_past_of_a_model() -> None:
    losses = together.past_of_model(Oracle(), [wave(48), wave(5), wave(20)], None)
    assert losses.shape == (3, 2)
    np.testing.assert_allclose(losses[[0, 2]], 0, atol=1e-12)
    assert np.isnan(losses[1]).all()


def test_a_prediction_without_samples_is_one_future() -> None:
    history = wave()
    point = np.ones((2, 2))
    found = together.as_forecast(history, Prediction(point), np.arange(2.0))
    assert found.context == 48
    np.testing.assert_array_equal(found.quantile(0.9), point)
