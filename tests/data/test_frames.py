"""Data in memory becomes the data set that its file would."""

import io

import numpy as np
import pytest

from lvlora.data.files.csv import read_csv
from lvlora.data.frames import from_arrays, from_frame
from lvlora.errors import DataError
from lvlora.settings.shared import InputSettings

COLUMNS = {
    "unique_id": ["b", "b", "a", "a", "a"],
    "ds": [1, 0, 0, 1, 2],
    "hare": [2.0, 1.0, 5.0, None, 7.0],
    "lynx": [0.2, 0.1, 0.5, 0.6, 0.7],
}


TEXT = "unique_id,ds,hare,lynx\nb,1,2,0.2\nb,0,1,0.1\na,0,5,0.5\na,1,,0.6\na,2,7,0.7\n"


def of_file(text):
    return read_csv(io.BytesIO(text.encode()), "F", InputSettings())


@pytest.mark.parametrize("library", ["dict", "pandas", "polars", "pyarrow"])
def test_a_frame_is_the_same_data_as_its_file(library):
    if library == "dict":
        frame = COLUMNS
    elif library == "pyarrow":
        frame = pytest.importorskip("pyarrow").table(COLUMNS)
    else:
        frame = pytest.importorskip(library).DataFrame(COLUMNS)
    data = from_frame(frame)
    assert data.sha256() == of_file(TEXT).sha256()
    assert [s.id for s in data] == ["b", "a"]
    assert data.time_name == "ds"
    assert any("sorted" in note for note in data.notes)
    assert from_frame(frame, columns=["lynx"]).variables == ("lynx",)


@pytest.mark.parametrize("kind", ["datetime64[h]", "datetime64[ns]", "text", "object", "date"])
def test_dates_stay_dates(kind):
    texts = ["2024-03-01", "2024-02-28", "2024-02-29"]
    dates = np.array(texts, dtype="datetime64[D]")
    column = {"text": texts, "object": dates.tolist(), "date": np.array(dates.tolist())}.get(kind)
    data = from_frame({"date": dates.astype(kind) if column is None else column, "x": [3, 1, 2]})
    assert data.calendar is not None
    assert data.calendar.texts(data.series[0].time) == sorted(texts)
    assert data.series[0].values.ravel().tolist() == [1.0, 2.0, 3.0]
    text = "date,x\n2024-03-01,3\n2024-02-28,1\n2024-02-29,2\n"
    assert data.sha256() == of_file(text).sha256()


def test_a_date_index_of_a_data_frame_is_its_time():
    pandas = pytest.importorskip("pandas")
    index = pandas.date_range("2020-01-31", periods=4, freq="ME")
    plain = pandas.DataFrame({"x": [1.0, 2.0, 3.0, 4.0]}, index=index)
    for frame in (
        plain,
        plain.rename_axis("when"),
        plain.to_period("M"),
        plain.tz_localize("Europe/Berlin"),
    ):
        data = from_frame(frame)
        assert data.calendar is not None
        assert data.calendar.unit == "month"
        assert data.variables == ("x",)
    assert from_frame(plain.rename_axis("when")).time_name == "when"
    numbered = pandas.DataFrame({"x": [1.0, 2.0]}, index=[5, 6])
    assert from_frame(numbered).series[0].time.tolist() == [0, 1]
    assert from_frame(numbered.rename_axis("year")).series[0].time.tolist() == [5, 6]
    both = plain.assign(item=list("aabb")).set_index("item", append=True)
    assert [s.id for s in from_frame(both, id_column="item")] == ["a", "b"]


def test_times_of_arrays_may_be_dates_and_none_may_be_missing():
    data = from_arrays([1.0, 2.0, 3.0], time=["2020-01", "2020-02", "2020-03"])
    assert data.calendar is not None
    assert data.calendar.texts(data.series[0].time) == ["2020-01", "2020-02", "2020-03"]
    missing = np.array(["2024-03-01", "NaT"], dtype="datetime64[D]")
    for times in (missing, ["2024-03-01", None]):
        with pytest.raises(DataError, match="row 2, column 'date': the time is missing"):
            from_frame({"date": times, "x": [3.0, 1.0]})
    with pytest.raises(DataError, match="'01/02/2024' is not an ISO date"):
        from_frame({"date": ["01/02/2024", "02/02/2024"], "x": [3.0, 1.0]})
    with pytest.raises(DataError, match="column 'when'") as caught:
        from_frame({"when": missing[:1].repeat(2), "x": [3.0, 1.0]})
    assert "time_column when" in caught.value.hint


def test_arrays_of_one_two_and_three_dimensions():
    cube = np.arange(24.0).reshape(2, 4, 3)
    data = from_arrays(cube, time=[0, 1, 2, 4], variables="abc", ids=("p", "q"))
    assert [s.id for s in data] == ["p", "q"]
    assert data.variables == ("a", "b", "c")
    assert data.series[1].time.tolist() == [0, 1, 2, 4]
    assert (data.series[1].values == cube[1]).all()
    assert (from_arrays(cube[0]).series[0].values == cube[0]).all()
    line = from_arrays([1.0, float("nan"), 3.0])
    assert line.variables == ("x1",)
    assert line.series[0].values.shape == (3, 1)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: from_arrays(np.zeros((2, 2, 2, 2))), r"the shape \(2, 2, 2, 2\)"),
        (lambda: from_arrays([1.0]), "only 1 row"),
        (lambda: from_arrays(np.zeros((0, 3, 1))), "the shape"),
        (lambda: from_arrays([1.0, np.inf]), "the value is infinite"),
        (lambda: from_arrays([1.0, 2.0], time=[1, 1]), "times should be 2 different"),
        (lambda: from_arrays([1.0, 2.0], time=[1, 2, 3]), "times should be 2 different"),
        (lambda: from_arrays([1.0, 2.0], variables=("a", "b")), "variables should be 1 different"),
        (lambda: from_arrays([[1.0, 2.0]] * 2, variables=("a", "a")), "2 different ones"),
        (lambda: from_arrays(["a", "b"]), "row 1, column 'x1': 'a' is not a number"),
        (lambda: from_arrays([1 + 2j, 3]), "something else than numbers"),
        (lambda: from_frame({"t": [0, 1], "x": ["a", "b"]}), "row 1, column 'x'"),
        (lambda: from_frame({"t": [0, 1], "x": [1.0, 2.0, 3.0]}), "different lengths"),
        (lambda: from_frame({"id": ["a", None], "x": [1.0, 2.0]}), "row 2, column 'id': an id is"),
        (lambda: from_frame({"t": [0, 0], "x": [1.0, 2.0]}), "is already in row 1"),
        (lambda: from_frame({"t": [0, 1], "x": [1, 2]}, columns=["y"]), "no column 'y'"),
    ],
)
def test_what_cannot_be_used_is_said(make, says):
    with pytest.raises(DataError, match=says):
        make()
