"""What a model is asked of a history at uneven steps: told, resampled, or as if they were even."""

from __future__ import annotations

import numpy as np
import pytest

from lvlora.errors import DataError
from lvlora.forecast.asked import ask, how_bridged, how_read, is_uneven, times_ahead
from lvlora.forecast.forecaster import Forecaster
from lvlora.forecast.reading import how_cut
from lvlora.forecast.sampling import Sampling
from lvlora.series.dataset import Series

UNEVEN = np.array([0.0, 1, 2, 4, 5, 6, 9, 10])
AHEAD = np.array([10.5, 12, 13])


def _series(time=UNEVEN, ahead=AHEAD, known=None):
    return Series("a", time, np.column_stack([2 * time + 3, -time]), known=known, ahead=ahead)


def test_times_go_on_where_they_are_not_known():
    assert times_ahead(_series(), 2).tolist() == [10.5, 12]
    assert times_ahead(_series(), 5).tolist() == [10.5, 12, 13, 14, 15]
    assert times_ahead(_series(ahead=None), 2).tolist() == [11, 12]


@pytest.mark.parametrize("times", ["told", "resampled", "ignored", None])
def test_even_steps_are_read_as_they_are(times):
    even = _series(np.arange(8.0), np.arange(8.0, 11))
    assert not is_uneven(even, 3)
    assert how_read([even], times, 3) == ""
    asked = ask(even, 3, None, times)
    assert asked.history.values is even.values or np.array_equal(asked.history.values, even.values)
    assert not asked.resampled
    # who was trained on told steps is told of even ones, too
    assert asked.known.shape[1] == (times == "told")


def test_told_steps_are_intervals():
    asked = ask(_series(), 3, None, "told")
    assert asked.known.ravel().tolist() == [1, 1, 1, 2, 1, 1, 3, 1, 0.5, 1.5, 1]
    shorter = ask(_series(), 3, 4, "told")
    assert shorter.known.ravel().tolist() == [1, 1, 3, 1, 0.5, 1.5, 1]
    both = ask(_series(known=np.full((11, 1), 7.0)), 3, None, "told")
    assert both.known[0].tolist() == [1, 7]


def test_resampled_steps_are_even_and_read_off_at_the_wanted_times():
    """A line is a line at any times."""
    asked = ask(_series(known=np.arange(11.0)[:, None]), 3, None, "resampled")
    assert asked.resampled
    assert asked.history.time.tolist() == list(range(11))
    assert np.allclose(asked.history.values[:, 0], 2 * asked.history.time + 3)
    assert asked.time.tolist() == [11, 12, 13]
    assert asked.known[[0, 4, 9, 12], 0].tolist() == [0, 3, 6, 9]
    drawn = np.stack([np.column_stack([2 * asked.time + 3, -asked.time])] * 5)
    assert np.allclose(asked.at_wanted(drawn), np.column_stack([2 * AHEAD + 3, -AHEAD]))


def test_a_missing_value_stays_missing_where_it_is_nearest():
    asked = ask(_series(), 3, None, "resampled")
    drawn = np.zeros((1, 3, 2))
    drawn[0, 1, 0] = np.nan  # at 12
    found = asked.at_wanted(drawn)
    assert np.isnan(found[0, :, 0]).tolist() == [False, True, False]
    assert np.isfinite(found[0, :, 1]).all()


def test_a_gap_in_a_history_is_bridged_and_its_ends_stay_unknown():
    values = np.column_stack([[np.nan, 1, 2, np.nan, 5, 6, 9, np.nan]])
    asked = ask(Series("a", UNEVEN, values), 2, None, "resampled")
    found = asked.history.values[:, 0]
    assert np.isnan(found[[0, -1]]).all()
    assert np.allclose(found[1:-1], np.arange(1.0, 10))


def _gappy():
    values = np.array([[1.5, np.nan, 2.5, *[np.nan] * 9, 4.5, np.nan]]).T
    return Series("a", np.arange(14.0), values)


@pytest.mark.parametrize("gaps", ["filled", "told", None])
def test_short_gaps_are_filled_unless_they_are_to_be_told(gaps):
    values = ask(_gappy(), 3, None, None, gaps).history.values[:, 0]
    missing = [False, gaps == "told", False, *[True] * 9, False, True]
    assert np.isnan(values).tolist() == missing
    said = how_bridged([_gappy()], None, gaps, 3)
    assert ("1 missing value the" in said) == (gaps != "told")
    assert how_bridged([_series()], None, gaps, 3) == ""


def test_what_is_said_is_of_the_steps_that_are_read():
    gappy = _gappy()
    assert how_bridged([gappy], None, None, 3, context=11) == ""
    gappy.time[:3] -= 0.5
    assert how_read([gappy], None, 3)
    assert not how_read([gappy], None, 3, context=11)


def test_of_gaps_that_are_resampled_no_option_is_told():
    """`--gaps told` changes nothing of them."""
    gappy = _gappy()
    gappy.time[5:] += 0.5
    assert how_bridged([gappy], None, "filled", 3) == ""
    assert "1 missing value the" in how_bridged([gappy], "ignored", "filled", 3)


def test_the_model_reads_the_filled_value(tiny_base):
    whole = Series("a", np.arange(9.0), np.array([[1.5, 2, 2.5, 3, 3.5, 4, 4.5, 4, 3]]).T)
    gappy = whole.values.copy()
    gappy[[1, 3, 4]] = np.nan
    lacking = Series("a", whole.time, gappy)
    sampling, base = Sampling(samples=3, views=2), tiny_base()

    def samples(series, **how):
        return Forecaster(base, **how).predict([series], 4, sampling)[0].samples

    alone = Series("a", whole.time, np.where(np.arange(9)[:, None] == 1, np.nan, whole.values))
    close = ask(alone, 4, None, None).history.values[1, 0]
    filled = Series("a", whole.time, np.where(np.isnan(alone.values), close, alone.values))
    np.testing.assert_array_equal(samples(alone), samples(filled))
    assert not np.array_equal(samples(lacking), samples(lacking, gaps="told"))
    np.testing.assert_array_equal(samples(whole), samples(whole, gaps="told"))
    # who may write a gap is told of gaps
    reading = Forecaster(base, missing=True).plan.readings([lacking], 4)[0][0]
    assert np.isnan(reading.numbers).sum() == 3


def test_very_uneven_steps_do_not_make_very_many_even_ones():
    time = np.array([0.0, 1e-6, 2e-6, 3e-6, 1e3])
    asked = ask(_series(time, np.array([1e3 + 1, 2e6])), 2, None, "resampled")
    assert len(asked.history) <= 4 * 5 + 1
    assert asked.horizon <= 4 * 2 + 1


def test_known_columns_must_be_known_at_each_step():
    with pytest.raises(DataError, match="known for 3 steps after the last, and 4"):
        ask(_series(known=np.zeros((11, 1))), 4, None, "ignored")


@pytest.mark.parametrize("times", ["told", "resampled", "ignored"])
def test_forecasts_are_at_the_wanted_times_and_within_their_price(tiny_base, times):
    forecaster = Forecaster(tiny_base(), decimals=1, times=times)
    histories = [_series(), _series(np.arange(8.0), np.arange(8.0, 11))]
    sampling = Sampling(samples=3, views=2)
    most = forecaster.at_most(histories, 3, sampling)
    first, second = forecaster.predict(histories, 3, sampling)
    assert first.time.tolist() == AHEAD.tolist()
    assert first.samples.shape == second.samples.shape == (3, 3, 2)
    assert np.isfinite(first.samples).all()
    assert forecaster.usage.price.executed <= most.executed
    assert how_cut(histories, forecaster.plan.readings(histories, 3), 4096) == []
    # no series changes how another is read
    (alone,) = forecaster.predict(histories[:1], 3, sampling)
    assert np.allclose(alone.samples, first.samples)
