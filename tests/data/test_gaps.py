"""Steps that are absent or uneven are named; missing values lie between known ones."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvlora.data.answers import AbsentStep
from lvlora.data.dataset import Series
from lvlora.data.files import read_dataset, write_dataset
from lvlora.data.files.csv import read_csv
from lvlora.data.frames import from_arrays
from lvlora.data.gaps import bridged, find_steps, insert_absent
from lvlora.errors import DataError
from lvlora.settings.shared import InputSettings


def read(text: str, **settings: object):
    return read_csv(io.BytesIO(text.encode()), "F", InputSettings(**settings))


def series(*times: float, name: str = "s") -> Series:
    return Series(name, np.array(times, dtype=float), np.arange(2.0 * len(times)).reshape(-1, 2))


def test_even_steps_are_not_spoken_of():
    steps = find_steps([series(0, 0.1, 0.2, 0.3), series(5, 5.1, 5.2)])
    assert (steps.absent, steps.uneven, steps.warning(2)) == (0, False, "")


def test_each_series_has_its_own_grid():
    steps = find_steps([series(0, 1, 2, 3), series(0, 2, 4, 8, name="b"), series(1, 2)])
    assert steps.absent == 1
    assert steps.first_absent == AbsentStep(series="b", time=6.0)


def test_where_more_than_a_third_would_be_put_in_nothing_is():
    steps = find_steps([series(0, 1, 2, 4, 9)])
    assert steps.uneven
    assert "uneven (1 to 5, median 1.5)" in steps.warning(1)


def test_rows_stand_for_absent_steps():
    filled = insert_absent(series(0, 1, 4, 5, 6, 7, 8))
    assert filled.time.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8]
    assert np.isnan(filled.values[2:4]).all()
    assert filled.values[4].tolist() == [4, 5]
    assert not np.isnan(np.delete(filled.values, [2, 3], axis=0)).any()


def test_a_table_is_completed_and_says_so():
    rows = "".join(f"a,2020-{m:02d}-01,{m}\n" for m in range(1, 13) if m not in (3, 4))
    rows += "".join(f"b,2020-{m:02d}-01,{m}\n" for m in range(1, 13))
    filled = read("id,date,x\n" + rows)
    assert [len(s) for s in filled] == [12, 12]
    assert np.isnan(filled.series[0].values[2:4]).all()
    assert filled.warnings == (
        "F: 2 time steps are absent beside 22 that are there (the first: 2020-03-01 of series "
        "'a'); missing values stand in their place",
    )
    assert filled.time_steps is not None
    assert filled.time_steps.inserted


def test_rows_that_were_put_in_are_not_the_data_s(tmp_path):
    text = "date,x\n2020-01-01,1\n2020-01-02,2\n2020-01-04,3\n2020-01-05,4\n"
    filled = read(text)
    assert len(filled.series[0]) == 5
    assert [len(s.as_recorded()) for s in filled] == [4]
    assert np.isnan(filled.series[0].steps(2, 4).values[0]).all()
    assert len(filled.series[0].steps(2, 4).as_recorded()) == 1
    as_numbers = read("t,x\n0,1\n1,2\n3,3\n4,4\n")
    plain = from_arrays([1.0, 2.0, 3.0, 4.0], time=[0, 1, 3, 4], variables=["x"])
    assert as_numbers.sha256() == plain.sha256()
    for suffix in ("csv", "h5"):
        write_dataset(filled, tmp_path / f"f.{suffix}")
        again = read_dataset(tmp_path / f"f.{suffix}", InputSettings())
        assert again.sha256() == filled.sha256()
    assert (tmp_path / "f.csv").read_text() == text


def test_holidays_are_absent_and_weekends_are_not():
    days = np.arange("2020-01-01", "2020-02-01", dtype="datetime64[D]")
    days = [str(d) for d in days if np.is_busday(d) and str(d) != "2020-01-06"]
    filled = read("date,x\n" + "".join(f"{d},1\n" for d in days))
    assert filled.time_steps is not None
    assert filled.time_steps.absent == 1
    assert "2020-01-06" in filled.warnings[0]


def test_uneven_dates_are_told_in_their_unit():
    filled = read("date,x\n2020-01-01,1\n2020-01-03,2\n2020-01-08,3\n2020-01-20,3\n")
    assert "uneven (2 days to 12 days, median 5 days)" in filled.warnings[0]
    assert len(filled.series[0]) == 4


def test_an_array_keeps_its_shape():
    filled = from_arrays([1.0, 2.0, 3.0, 4.0], time=[0, 1, 2, 4])
    assert len(filled.series[0]) == 4
    assert filled.warnings == (
        "arrays: 1 time step is absent beside 4 that are there (the first: 3); no rows stand in "
        "their place",
    )


@pytest.mark.parametrize(
    ("text", "column", "hint"),
    [
        ("when,x\n2020-01-01,1\n2020-01-02,2\n", "when", "time_column when"),
        ("Jahr,x\n1900,1\n1901,2\n1902,1\n", "Jahr", "time_column Jahr"),
        (
            "s,id,x\n" + "".join(f"{y},{i},{y % 7}\n" for i in "ab" for y in range(1900, 1908)),
            "s",
            "time_column s",
        ),
        (
            "hour of day,x\n" + "".join(f"{i / 4},{i * i % 7}\n" for i in range(30)),
            "hour of day",
            "time_column 'hour of day'",
        ),
    ],
)
def test_a_first_column_that_looks_like_time_is_asked_about(text, column, hint):
    with pytest.raises(DataError, match=f"'{column}'") as caught:
        read(text)
    assert hint in caught.value.hint
    filled = read(text, time_column=column)
    assert filled.time_name == column
    assert filled.variables == ("x",)


@pytest.mark.parametrize(
    "rows",
    [
        *("stock,x\n1900,1\n1980,2\n1985,5\n2100,7", "stock,x\n1900,1\n1901,2\n1900,5"),
        *("stock,x\n1900,1\n1901,2", "stock,x\n0,1\n1,2\n2,5"),
        *("stock\n1900\n1901\n1902", "x,stock\n5,1900\n6,1901\n4,1902"),
    ],
)
def test_what_may_be_a_variable_is_one(rows):
    assert "stock" in read(rows).variables


def test_a_column_that_is_chosen_is_a_variable():
    chosen = read("season,x\n1900,1\n1901,2\n1902,5\n", columns=("season", "x"))
    assert chosen.variables == ("season", "x")


NAN = np.nan


def test_a_line_is_gone_on_with_and_nothing_is_made_up_beyond_the_ends():
    time = np.array([0.0, 1, 3, 4, 7, 8])
    values = np.column_stack([[NAN, 2.5, NAN, 8.5, 14.5, NAN], [1.0, NAN, NAN, NAN, NAN, 1.0]])
    steps = bridged(time, values)
    np.testing.assert_allclose(steps[:, 0], [NAN, 2.5, 6.5, 8.5, 14.5, NAN])
    np.testing.assert_allclose(steps[:, 1], 1.0)


@pytest.mark.parametrize("longest", [0, 1, 2, 3, None])
def test_longer_gaps_stay(longest):
    values = np.array([[0.5, NAN, 2.5, NAN, NAN, 5.5, NAN, NAN, NAN, 9.5]]).T
    missing = np.isnan(bridged(np.arange(10.0), values, longest)[:, 0])
    most = 10 if longest is None else longest
    expected = [False, most < 1, False, *[most < 2] * 2, False, *[most < 3] * 3, False]
    assert missing.tolist() == expected


def test_counts_stay_counts():
    values = np.array([[10.0, NAN, 13.0, NAN, NAN, 2.0]]).T
    steps = bridged(np.arange(6.0), values)
    assert (steps == np.round(steps)).all()


@given(
    st.lists(st.one_of(st.none(), st.floats(-1e3, 1e3)), min_size=1, max_size=30),
    st.integers(0, 5),
)
def test_nothing_known_changes_and_nothing_passes_its_neighbours(numbers, longest):
    column = np.array([NAN if x is None else x for x in numbers], dtype=float)
    steps = bridged(np.arange(float(len(column))), column[:, None], longest)[:, 0]
    known = np.isfinite(column)
    np.testing.assert_array_equal(steps[known], column[known])
    where = np.flatnonzero(known)
    for i in np.flatnonzero(~known & np.isfinite(steps)):
        before, after = column[where[where < i][-1]], column[where[where > i][0]]
        assert min(before, after) - 1e-9 <= steps[i] <= max(before, after) + 1e-9
        assert where[where > i][0] - where[where < i][-1] - 1 <= longest
