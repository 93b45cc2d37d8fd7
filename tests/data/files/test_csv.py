"""CSV: what is accepted and how, and every bad file refused with its row and column."""

import io
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvlora.data.dataset import Dataset, Series
from lvlora.data.files.csv import armed, disarmed, read_csv, table_text
from lvlora.errors import DataError
from lvlora.settings.shared import InputSettings


def read(text: str | bytes, **settings: object) -> Dataset:
    raw = text.encode() if isinstance(text, str) else text
    return read_csv(io.BytesIO(raw), "f.csv", InputSettings(**settings))


WIDE = "time,prey,predator\n0,1.5,0.5\n1,1.6,\n2,1.7,0.7\n"


def test_wide_table():
    dataset = read(WIDE)
    assert dataset.variables == ("prey", "predator")
    assert dataset.time_name == "time"
    (series,) = dataset.series
    assert series.id == "0"
    assert series.time.tolist() == [0, 1, 2]
    assert np.array_equal(series.values, [[1.5, 0.5], [1.6, np.nan], [1.7, 0.7]], equal_nan=True)
    assert dataset.notes == ()


def test_long_table_may_interleave_its_series():
    dataset = read("id,time,x\nb,0,1\na,5,2\nb,1,3\na,6,4\n")
    assert [s.id for s in dataset] == ["b", "a"]
    assert [s.values[:, 0].tolist() for s in dataset] == [[1, 3], [2, 4]]
    assert dataset.series[1].time.tolist() == [5, 6]


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + WIDE,
        WIDE.replace(",", ";"),
        WIDE.replace(",", ";").replace(".", ","),
        WIDE.replace(",", "\t"),
        WIDE.replace(",", "\t").replace(".", ","),
        WIDE.replace("\n", "\r\n"),
        WIDE.removesuffix("\n"),
        "\n\n" + WIDE.replace("\n", "\n\n"),
        WIDE.replace(",", " , "),
        '"time","prey","predator"\n"0","1.5","0.5"\n"1","1.6","NA"\n2,1.7,0.7\n',
        "# " + WIDE,
        WIDE.replace("1.6,", "1.6,NaN"),
        WIDE.replace("1.6,", "+16e-1,null"),
        "time,prey,predator\n2,1.7,0.7\n0,1.5,0.5\n1,1.6,N/A\n",
    ],
)
def test_dialects_give_the_same_data(text):
    assert read(text).sha256() == read(WIDE).sha256()


def test_rows_out_of_order_are_sorted_with_a_note():
    dataset = read("id,t,x\na,1,10\na,0,20\nb,0,1\nb,1,2\n")
    assert dataset.series[0].values[:, 0].tolist() == [20, 10]
    assert any("sorted" in note for note in dataset.notes)


def test_no_time_column_means_steps_with_a_note():
    dataset = read("x,y,z\n1,2,3\n4,5,6\n")
    assert dataset.variables == ("x", "y", "z")
    assert dataset.series[0].time.tolist() == [0, 1]
    assert any("steps" in note for note in dataset.notes)
    assert read("x\n1\n2\n").series[0].values.tolist() == [[1], [2]]


def test_columns_are_chosen_and_ordered_even_if_they_sound_like_time():
    dataset = read("when,a,word,b\n0,1,x,2\n1,3,y,4\n", columns="b,a", time_column="when")
    assert dataset.variables == ("b", "a")
    assert dataset.series[0].values.tolist() == [[2, 1], [4, 3]]
    assert dataset.time_name == "when"
    dataset = read("time,year,x\n0,1900,1\n1,1901,2\n", columns="year,x")
    assert dataset.variables == ("year", "x")


def test_an_unnamed_first_column_is_row_numbers():
    dataset = read(",time,x\n0,0,1\n1,1,2\n")
    assert dataset.variables == ("x",)
    assert any("no name" in note for note in dataset.notes)


@pytest.mark.parametrize(
    ("settings", "expected", "hint"),
    [
        ({"columns": "pray"}, "columns", "Did you mean prey"),
        ({"columns": "prey,prey"}, "twice", "once"),
        ({"time_column": "tme"}, "time_column", "time"),
        ({"id_column": "xyz"}, "id_column", "It has: time, prey, predator"),
        ({"columns": "time,prey", "time_column": "time"}, "at once", "columns"),
        ({"time_column": "time", "id_column": "time"}, "at once", "id_column"),
    ],
)
def test_bad_options(settings, expected, hint):
    with pytest.raises(DataError) as caught:
        read(WIDE, **settings)
    assert expected in caught.value.message
    assert hint in caught.value.hint


def test_writing_one_series_is_wide_and_exact_and_several_long(two_series):
    first = two_series.series[0]
    lone = Dataset((replace(first, id="0"),), two_series.variables)
    assert list(table_text(lone)) == ["time,prey,predator\n", "0,1,2\n", "1,,0.1\n", "2.5,3,4\n"]
    assert read("".join(table_text(lone))).sha256() == lone.sha256()
    text = "".join(table_text(two_series))
    assert text.startswith("id,time,prey,predator\na,0,1,2\n")
    assert read(text).sha256() == two_series.sha256()


def test_names_that_would_be_misread_are_not_written(two_series):
    with pytest.raises(DataError, match="cannot be told"):
        list(table_text(Dataset(two_series.series, ("id", "time"))))


@given(st.text(st.sampled_from("'=+-@\t1.5ex#"), max_size=8))
def test_every_text_comes_back(text):
    assert armed(disarmed(text)) == text


def test_formulas_are_disarmed_numbers_and_words_stay():
    formulas = ["=1+1", "@SUM(A1)", "+cmd|' /C calc'!A0", "-x", "-1+1", "'=x"]
    assert [disarmed(text) for text in formulas] == [f"'{text}" for text in formulas]
    others = ["", "x", "-5", "+0.5e-3", "-.5", "a=b", "'quoted'"]
    assert [disarmed(text) for text in others] == others


def test_names_like_formulas_read_back_equal():
    names = ("=a", "'=a", "-5", "x", "@b,c")
    series = (Series(n, np.arange(3.0), np.full((3, 2), i + 0.5)) for i, n in enumerate(names))
    dataset = Dataset(tuple(series), ("=1+1", "-y"))
    text = "".join(table_text(dataset))
    assert "\n=" not in text
    assert ",=" not in text
    assert read(text).sha256() == dataset.sha256()
