"""Dates: read as ISO text, counted in a calendar of their own, written as they were."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from lvlora.data.dataset import Dataset
from lvlora.data.dates import Calendar, length_of, looks_like_date
from lvlora.data.files import read_dataset, write_dataset
from lvlora.data.files.csv import read_csv, table_text
from lvlora.data.frames import from_frame
from lvlora.errors import DataError
from lvlora.forecast.forecaster import continue_time
from lvlora.settings.shared import InputSettings


def table(*times: str, name: str = "date", **settings: object) -> Dataset:
    """A table of one variable."""
    text = f"{name},x\n" + "".join(f"{t},{i * i % 7}\n" for i, t in enumerate(times))
    return read_csv(io.BytesIO(text.encode()), "F", InputSettings(**settings))


STEPS = {
    "day": (["2020-02-27", "2020-02-28"], "day", ["2020-02-29", "2020-03-01"]),
    "week": (["2020-12-18", "2020-12-25"], "day", ["2021-01-01", "2021-01-08"]),
    "working day": (
        ["2020-01-02", "2020-01-03", "2020-01-06", "2020-01-07"],
        "weekday",
        ["2020-01-08", "2020-01-09", "2020-01-10", "2020-01-13"],
    ),
    "month": (["2020-01-15", "2020-02-15"], "month", ["2020-03-15", "2020-04-15"]),
    "month's end": (
        ["2020-11-30", "2020-12-31", "2021-01-31"],
        "month",
        ["2021-02-28", "2021-03-31"],
    ),
    "the 30th": (["2020-12-30", "2021-01-30"], "month", ["2021-02-28", "2021-03-30"]),
    "quarter": (["2020-04-01", "2020-07-01"], "month", ["2020-10-01", "2021-01-01"]),
    "year": (["2018-06-30", "2019-06-30"], "month", ["2020-06-30", "2021-06-30"]),
    "year-month": (["2020-10", "2020-11"], "month", ["2020-12", "2021-01"]),
    "written quarter": (["2020-Q2", "2020-Q3"], "month", ["2020-Q4", "2021-Q1"]),
    "ISO week": (["2020-W52", "2020-W53"], "day", ["2021-W01", "2021-W02"]),
    "hour": (
        ["2020-12-31T21:00", "2020-12-31T22:00"],
        "hour",
        ["2020-12-31T23:00", "2021-01-01T00:00"],
    ),
    "minutes": (
        ["2020-12-31 23:30:00Z", "2020-12-31 23:45:00Z"],
        "minute",
        ["2021-01-01 00:00:00Z", "2021-01-01 00:15:00Z"],
    ),
    "offset": (
        ["2020-01-01T00:30+05:30", "2020-01-01T01:30+05:30"],
        "minute",
        ["2020-01-01T02:30+05:30", "2020-01-01T03:30+05:30"],
    ),
    "milliseconds": (
        ["2020-01-01T00:00:00.250", "2020-01-01T00:00:00.500"],
        "millisecond",
        ["2020-01-01T00:00:00.750", "2020-01-01T00:00:01.000"],
    ),
    "before 1970": (["1969-11-01", "1969-12-01"], "month", ["1970-01-01", "1970-02-01"]),
}


@pytest.mark.parametrize("kind", STEPS)
def test_dates_go_on_in_steps_of_their_calendar(kind, tmp_path):
    times, unit, future = STEPS[kind]
    dataset = table(*times)
    calendar, time = dataset.calendar, dataset.series[0].time
    assert calendar is not None
    assert calendar.unit == unit
    assert calendar.texts(time) == times
    assert calendar.texts(continue_time(time, len(future), calendar)) == future
    assert not dataset.warnings
    assert [line.split(",")[0] for line in table_text(dataset)][1:] == times
    for suffix in ("csv", "h5", "parquet"):
        if suffix == "parquet":
            pytest.importorskip("pyarrow")
        write_dataset(dataset, tmp_path / f"f.{suffix}")
        again = read_dataset(tmp_path / f"f.{suffix}", InputSettings())
        assert again.sha256() == dataset.sha256()
        assert again.calendar is not None
        assert (again.calendar.dates(time) == calendar.dates(time)).all()
        if suffix != "parquet":
            assert again.calendar == calendar


@pytest.mark.parametrize(
    ("written", "date_format"),
    [
        (["31.12.2020", "01.01.2021", "02.01.2021"], "%d.%m.%Y"),
        (["12/31/2020", "1/1/2021", "1/2/2021"], "%m/%d/%Y"),
        (["31 Dec 2020", "1 Jan 2021", "2 Jan 2021"], "%d %b %Y"),
        (["20201231", "20210101", "20210102"], "%Y%m%d"),
    ],
)
def test_dates_are_read_as_their_format_says(written, date_format):
    output = table(*written, date_format=date_format)
    assert output.calendar == Calendar("day")
    assert output.calendar.texts(output.series[0].time) == [
        "2020-12-31",
        "2021-01-01",
        "2021-01-02",
    ]
    frame = from_frame({"date": written, "x": [0, 1, 4]}, date_format=date_format)
    assert frame.sha256() == output.sha256()
    with pytest.raises(DataError, match="row 3, column 'date': '2021-01-01'") as caught:
        table(written[0], "2021-01-01", date_format=date_format)
    assert date_format in caught.value.message


def test_a_format_goes_with_decimal_commas():
    text = "Datum;x\n31.12.2020;1,5\n01.01.2021;2,5\n"
    options = InputSettings(time_column="Datum", date_format="%d.%m.%Y")
    output = read_csv(io.BytesIO(text.encode()), "F", options)
    assert output.series[0].values.tolist() == [[1.5], [2.5]]


def test_dates_are_other_data_than_their_numbers():
    dated = table("2020-01", "2020-02")
    numbers = table("600", "601")
    assert dated.series[0].time.tolist() == numbers.series[0].time.tolist()
    assert dated.sha256() != numbers.sha256()


@pytest.mark.parametrize(
    ("times", "problem"),
    [
        ("01/02/2020 02/02/2020", "row 2, column 'date': '01/02/2020' is not an ISO date"),
        ("31.12.2020 1.1.2021", "'31.12.2020' is not an ISO date"),
        ("2020-1-5 2020-1-6", "'2020-1-5' is not an ISO date"),
        ("Jan_2020 Feb_2020", "'Jan 2020' is not an ISO date"),
        ("2020-01-01 02/01/2020", "row 3, column 'date': '02/01/2020' is not an ISO date"),
        ("2020-02-30 2020-03-01", "'2020-02-30' is no date"),
        ("2020-02-01T24:00 2020-03-01", "is no date"),
        ("2020-02-01T12:00:00.1234567 2020-03-01", "finer than a microsecond"),
        ("2020-02-01T12:00Z 2020-03-01T12:00", "not both with a time zone"),
        ("2020-02-01 _", "row 3, column 'date': the time is missing"),
        ("2020-02-01 7", "'7' is not an ISO date"),
        ("7 2020-02-01", "'2020-02-01' is not a number"),
        ("2020-02-01 2020-02-01", "time 2020-02-01 is already in row 2"),
    ],
)
def test_what_is_no_date_is_refused(times, problem):
    with pytest.raises(DataError) as caught:
        table(*(time.replace("_", " ") for time in times.split()))
    assert problem in str(caught.value)
    assert caught.value.hint


def test_numbers_and_words_are_no_dates():
    for text in ("1.5", "12.34", "1e5", "abc", "", "12", "-3.5", "nan"):
        assert not looks_like_date(text), text


def test_offsets_that_differ_are_told_in_utc_or_are_whole_days():
    for hour, texts in (
        ("12", ["2020-03-28T11:00Z", "2020-03-30T10:00Z"]),
        ("00", ["2020-03-28", "2020-03-30"]),
    ):
        dataset = table(f"2020-03-28T{hour}:00+01:00", f"2020-03-30T{hour}:00+02:00")
        assert dataset.calendar is not None
        assert dataset.calendar.texts(dataset.series[0].time) == texts


@given(st.lists(st.integers(-40_000, 40_000), min_size=2, max_size=30, unique=True))
def test_working_days_and_months_count_there_and_back(days):
    dates = np.array(sorted(days)).astype("datetime64[D]")
    dates = dates[np.is_busday(dates)]
    clock = dates.astype("datetime64[us]").astype(np.int64)
    for calendar in (Calendar("weekday"), Calendar("day")):
        there = calendar.positions(clock)
        assert (calendar.dates(there) == dates).all()
    months = np.unique(dates.astype("datetime64[M]"))
    clock = months.astype("datetime64[us]").astype(np.int64)
    there = Calendar("month").positions(clock)
    assert (Calendar("month").dates(there) == months).all()


def test_a_calendar_has_dates_between_months_zones_and_an_end():
    assert Calendar("month").dates(np.array([0.5]))[0] == np.datetime64("1970-01-16T12")
    zoned = Calendar("hour", 1, "m", "T", -90).datetimes(np.array([0.0]))[0]
    assert zoned.isoformat() == "1970-01-01T00:00:00-01:30"
    for unit in ("month", "weekday", "day", "second"):
        with pytest.raises(DataError, match="beyond the year 9999"):
            Calendar(unit).dates(np.array([1e15]))


@pytest.mark.parametrize(
    "stored",
    [{}, {"unit": "moon"}, {"unit": "day", "day": 32}, {"unit": "day", "offset": 10**9}],
)
def test_a_stored_calendar_is_not_believed(stored):
    with pytest.raises(ValidationError):
        Calendar(**stored)


def test_lengths_in_words():
    lengths = [length_of("month", n) for n in (1, 2, 3, 12)]
    assert lengths == ["month", "2 months", "quarter", "year"]
    assert [length_of("day", n) for n in (1, 1.5, 7)] == ["day", "1.5 days", "week"]
    assert length_of("weekday", 2) == "2 working days"


def test_hdf5_has_texts_of_dates(tmp_path):
    import h5py

    def read(time):
        with h5py.File(tmp_path / "f.h5", "w") as file:
            file["trajectories"] = np.zeros((2, 3, 1))
            file["time"] = time
        return read_dataset(tmp_path / "f.h5", InputSettings())

    months = np.array([["2020-01", "2020-02", "2020-03"], ["2021-05", "2021-06", ""]], dtype="S")
    dataset = read(months)
    assert dataset.calendar is not None
    assert [dataset.calendar.texts(s.time) for s in dataset] == [
        ["2020-01", "2020-02", "2020-03"],
        ["2021-05", "2021-06"],
    ]
    for wrong in (["x", "y", "z"], ["2020-01", "", "2020-03"], ["2020-01" + " " * 60] * 3):
        with pytest.raises(DataError, match=r"f\.h5"):
            read(np.array(wrong, dtype="S"))


def test_parquet_has_dates_timestamps_zones_and_texts(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    days = np.array(["2020-01-01", "2020-02-01", "2020-03-01"], dtype="datetime64[D]")
    stamps = pyarrow.array(days.astype("datetime64[us]"))
    columns = {
        "date32": pyarrow.array(days),
        "date64": pyarrow.array(days).cast(pyarrow.date64()),
        "timestamp": stamps,
        "nanoseconds": stamps.cast(pyarrow.timestamp("ns")),
        "utc": stamps.cast(pyarrow.timestamp("us", "UTC")),
        "text": pyarrow.array([str(d) for d in days]),
    }
    for name, column in columns.items():
        path = tmp_path / f"{name}.parquet"
        parquet.write_table(pyarrow.table({"date": column, "x": [1.0, 2.0, 3.0]}), path)
        output = read_dataset(path, InputSettings())
        assert output.calendar is not None, name
        assert (output.calendar.dates(output.series[0].time) == days).all(), name
    parquet.write_table(pyarrow.table({"when": stamps, "x": [1.0, 2.0, 3.0]}), tmp_path / "w.pq")
    with pytest.raises(DataError, match="column 'when'") as caught:
        read_dataset(tmp_path / "w.pq", InputSettings())
    assert "time_column when" in caught.value.hint
    assert read_dataset(tmp_path / "w.pq", InputSettings(time_column="when")).calendar is not None
