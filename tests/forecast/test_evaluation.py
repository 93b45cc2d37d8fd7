"""The table of forecasters: what is cut, what is scored, what is never dropped."""

import numpy as np
import pytest

from lvlora.errors import DataError
from lvlora.forecast.decoding import Sampling
from lvlora.forecast.evaluation import (
    Protocol,
    compare,
    score_floor,
    score_model,
    score_rival,
    task,
)
from lvlora.forecast.forecaster import Forecaster
from lvlora.series.dataset import Dataset, Series
from lvlora.series.rivals import LastValue
from lvlora.text.scaling import Scale

LEVELS = (0.1, 0.5, 0.9)


def waves(n: int = 4, steps: int = 12) -> Dataset:
    t = np.arange(float(steps))
    series = tuple(
        Series(f"s{i}", t, np.stack([2 + np.sin(t + i), 3 + np.cos(t + i)], 1)) for i in range(n)
    )
    return Dataset(series, ("prey", "predator"), "waves")


def test_a_task_is_the_beginning_of_every_long_enough_series() -> None:
    data = waves()
    short = Series("short", np.arange(5.0), np.ones((5, 2)))
    given = task(Dataset((*data.series, short), data.variables), Protocol("all", 8, 3))
    assert [h.id for h in given.histories] == ["s0", "s1", "s2", "s3"]
    assert given.left_out == 1
    assert given.truth.shape == (4, 3, 2)
    np.testing.assert_array_equal(given.truth[1], data.series[1].values[8:11])
    np.testing.assert_array_equal(given.futures[0].time, [8, 9, 10])


def test_no_series_is_long_enough() -> None:
    with pytest.raises(DataError, match="the 22 steps") as caught:
        task(waves(), Protocol("validation", 20, 2))
    assert "12" in caught.value.hint


def test_a_rival_sees_the_history_and_nothing_of_the_future() -> None:
    data = waves()
    given = task(data, Protocol("all", 8, 3))
    steps = []
    entry = score_rival(LastValue(), given, data, LEVELS, steps.append)
    expected = np.stack([np.repeat(s.values[7:8], 3, axis=0) for s in data])
    np.testing.assert_allclose(entry.point, expected)
    assert entry.scores.mae == pytest.approx(np.abs(expected - given.truth).mean())
    assert sum(steps) == 4
    assert entry.price is None
    assert entry.to_dict()["flops"] is None


def test_the_floor_is_the_rounding_of_the_text() -> None:
    given = task(waves(), Protocol("all", 8, 3))
    entry = score_floor(given, 1, Scale((0.5, 0.5), "dataset"), LEVELS)
    assert 0 < entry.scores.mae <= 0.5 * 0.1 * 0.5
    assert np.abs(entry.point / 0.5 * 10 - np.round(entry.point / 0.5 * 10)).max() < 1e-9


def test_a_model_has_samples_quantiles_and_a_price(tiny_base) -> None:
    given = task(waves(), Protocol("all", 8, 3))
    forecaster = Forecaster(tiny_base("qwen2"), scale=Scale((0.4, 0.4), "dataset"))
    entry = score_model(forecaster, given, Sampling(samples=5, seed=1), LEVELS)
    assert entry.samples is not None
    assert entry.samples.shape == (4, 5, 3, 2)
    np.testing.assert_allclose(entry.point, np.median(entry.samples, axis=1))
    facts = entry.to_dict()
    assert facts["kind"] == "model"
    assert facts["flops"]["executed"] == forecaster.usage.price.executed > 0
    assert set(facts["coverage"]) == {"0.8"}


def test_the_paired_interval_holds_the_difference() -> None:
    data = waves(30)
    given = task(data, Protocol("all", 8, 3))
    floor = score_floor(given, 2, Scale((1.0, 1.0), "dataset"), LEVELS)
    last = score_rival(LastValue(), given, data, LEVELS)
    compare([floor, last], floor)
    assert floor.against is None
    assert last.against is not None
    low, high = last.against
    assert low < last.scores.mae - floor.scores.mae < high
    assert low > 0
    first = last.against
    compare([floor, last], floor)
    assert last.against == first
