"""Names that look like formulas, made harmless and read back."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvlora.data.dataset import Dataset, Series
from lvlora.data.files.csv import armed, disarmed, open_csv, write_csv
from lvlora.data.files.tables import read_table
from lvlora.settings.shared import InputSettings


@given(st.text(st.sampled_from("'=+-@\t1.5ex#"), max_size=8))
def test_every_text_comes_back(text):
    assert armed(disarmed(text)) == text


@pytest.mark.parametrize("text", ["=1+1", "@SUM(A1)", "+cmd|' /C calc'!A0", "-x", "-1+1", "'=x"])
def test_formulas_are_disarmed(text):
    assert disarmed(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "x", "-5", "+0.5e-3", "-.5", "a=b", "'quoted'"])
def test_numbers_and_words_stay(text):
    assert disarmed(text) == text


def test_a_data_set_reads_back_equal():
    time = np.arange(3.0)
    names = ("=a", "'=a", "-5", "x", "@b,c")
    series = tuple(Series(n, time, np.full((3, 2), i + 0.5)) for i, n in enumerate(names))
    dataset = Dataset(series, ("=1+1", "-y"))
    stream = io.BytesIO()
    write_csv(dataset, stream)
    text = stream.getvalue().decode()
    assert "\n=" not in text
    assert ",=" not in text
    stream.seek(0)
    assert read_table(open_csv(stream, "f"), InputSettings()).sha256() == dataset.sha256()
