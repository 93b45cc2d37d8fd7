"""A history as a model reads it: at even steps, its short gaps filled in."""

import numpy as np
import pytest

from lvlora.data.dataset import Series
from lvlora.errors import DataError
from lvlora.forecast.forecaster import times_ahead
from lvlora.forecast.language_model import LanguageModel
from lvlora.forecast.reading import even_steps, how_cut, notes_on_filled
from lvlora.forecast.sampling import Sampling

UNEVEN = np.array([0.0, 1, 2, 4, 5, 6, 9, 10])
AHEAD = np.array([10.5, 12, 13])


def _series(time=UNEVEN, ahead=AHEAD, known=None):
    return Series("a", time, np.column_stack([2 * time + 3, -time]), known=known, ahead=ahead)


def test_times_go_on_where_they_are_not_known():
    assert times_ahead(_series(), 2).tolist() == [10.5, 12]
    assert times_ahead(_series(), 5).tolist() == [10.5, 12, 13, 14, 15]
    assert times_ahead(_series(ahead=None), 2).tolist() == [11, 12]


def test_even_steps_are_read_as_they_are():
    even = _series(np.arange(8.0), np.arange(8.0, 11))
    assert list(notes_on_filled([even], 3)) == []
    steps = even_steps(even, 3)
    assert np.array_equal(steps.history.values, even.values)
    assert not steps.resampled


def test_resampled_steps_are_even_and_read_off_at_the_wanted_times():
    """A line is a line at any times."""
    steps = even_steps(_series(known=np.arange(11.0)[:, None]), 3)
    assert steps.resampled
    assert steps.history.time.tolist() == list(range(11))
    assert np.allclose(steps.history.values[:, 0], 2 * steps.history.time + 3)
    assert steps.time.tolist() == [11, 12, 13]
    assert steps.known[[0, 4, 9, 12], 0].tolist() == [0, 3, 6, 9]
    drawn = np.stack([np.column_stack([2 * steps.time + 3, -steps.time])] * 5)
    assert np.allclose(steps.at_wanted(drawn), np.column_stack([2 * AHEAD + 3, -AHEAD]))


def test_a_gap_in_a_history_is_bridged_and_its_ends_stay_unknown():
    values = np.column_stack([[np.nan, 1, 2, np.nan, 5, 6, 9, np.nan]])
    steps = even_steps(Series("a", UNEVEN, values), 2)
    result = steps.history.values[:, 0]
    assert np.isnan(result[[0, -1]]).all()
    assert np.allclose(result[1:-1], np.arange(1.0, 10))


def _gappy():
    values = np.array([[1.5, np.nan, 2.5, *[np.nan] * 9, 4.5, np.nan]]).T
    return Series("a", np.arange(14.0), values)


def test_short_gaps_are_filled():
    values = even_steps(_gappy(), 3).history.values[:, 0]
    assert np.isnan(values).tolist() == [False, False, False, *[True] * 9, False, True]
    assert len(list(notes_on_filled([_gappy()], 3))) == 1


def test_futures_after_a_missing_last_value_are_read_off_at_the_wanted_times():
    values = np.column_stack([[1.0, 1, 2, 2, 5, 6, 9, np.nan]])
    drawn = np.full((2, 3, 1), 7.0)
    steps = even_steps(Series("a", UNEVEN, values, ahead=AHEAD), 3)
    assert steps.at_wanted(drawn).tolist() == drawn.tolist()


def test_what_is_noted_is_of_the_steps_that_are_read():
    gappy = _gappy()
    assert list(notes_on_filled([gappy], 3, context=11)) == []
    gappy.time[:3] -= 0.5
    assert len(list(notes_on_filled([gappy], 3))) == 1  # its gaps are filled by the resampling
    assert list(notes_on_filled([gappy], 3, context=11)) == []


def test_the_model_reads_the_filled_value(tiny_base):
    reference = Series("a", np.arange(9.0), np.array([[1.5, 2, 2.5, 3, 3.5, 4, 4.5, 4, 3]]).T)
    sampling, base = Sampling(samples=3, views=2), tiny_base()

    def samples(series):
        return LanguageModel(base).predict([series], 4, sampling)[0].samples

    alone = Series(
        "a", reference.time, np.where(np.arange(9)[:, None] == 1, np.nan, reference.values)
    )
    close = even_steps(alone, 4).history.values[1, 0]
    filled = Series("a", reference.time, np.where(np.isnan(alone.values), close, alone.values))
    np.testing.assert_array_equal(samples(alone), samples(filled))


def test_very_uneven_steps_do_not_make_very_many_even_ones():
    time = np.array([0.0, 1e-6, 2e-6, 3e-6, 1e3])
    steps = even_steps(_series(time, np.array([1e3 + 1, 2e6])), 2)
    assert len(steps.history) <= 4 * 5 + 1
    assert len(steps.time) <= 4 * 2 + 1


def test_known_columns_must_be_known_at_each_step():
    with pytest.raises(DataError, match="known for 3 steps after the last, and 4"):
        even_steps(_series(known=np.zeros((11, 1))), 4)


def test_forecasts_are_at_the_wanted_times(tiny_base):
    forecaster = LanguageModel(tiny_base(), decimals=1)
    histories = [_series(), _series(np.arange(8.0), np.arange(8.0, 11))]
    sampling = Sampling(samples=3, views=2)
    first, second = forecaster.predict(histories, 3, sampling)
    assert first.time.tolist() == AHEAD.tolist()
    assert first.samples.shape == second.samples.shape == (3, 3, 2)
    assert np.isfinite(first.samples).all()
    assert list(how_cut(histories, forecaster.readings(histories, 3), 4096)) == []
    # no series changes how another is read
    (alone,) = forecaster.predict(histories[:1], 3, sampling)
    assert np.allclose(alone.samples, first.samples)
