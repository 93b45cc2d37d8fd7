"""Parquet: what is read, what is refused, and life without pyarrow."""

import sys

import numpy as np
import pytest

from lvlora.data.files.parquet import read_parquet, write_parquet
from lvlora.errors import SettingsError
from lvlora.settings.shared import InputSettings

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def read(path, **options):
    with path.open("rb") as stream:
        return read_parquet(stream, "f.parquet", InputSettings(**options))


def make(path, **columns):
    pq.write_table(pa.table(columns), path)
    return path


def test_long_table_with_nulls_and_integers(tmp_path):
    path = make(
        tmp_path / "f.parquet",
        unique_id=["b", "a", "b", "a"],
        time=[1, 0, 0, 1],
        x=[1.0, None, 3.0, 4.0],
        **{"y.z": [1, 2, 3, 4]},
    )
    dataset = read(path)
    assert dataset.variables == ("x", "y.z")
    assert [s.id for s in dataset] == ["b", "a"]
    assert np.array_equal(dataset.series[0].values, [[3, 3], [1, 1]])
    assert np.array_equal(dataset.series[1].values, [[np.nan, 2], [4, 4]], equal_nan=True)
    assert "sorted" in dataset.notes[0]


def test_dictionary_and_integer_ids(tmp_path):
    column = pa.array(["q", "q", "p", "p"]).dictionary_encode()
    dataset = read(make(tmp_path / "f.parquet", id=column, t=[0, 1, 0, 1], x=[1, 2, 3, 4]))
    assert [s.id for s in dataset] == ["q", "p"]
    dataset = read(make(tmp_path / "g.parquet", id=[7, 7, 3, 3], t=[0, 1, 0, 1], x=[1, 2, 3, 4]))
    assert [s.id for s in dataset] == ["7", "3"]


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch, two_series):
    path = make(tmp_path / "f.parquet", time=[0, 1], x=[1, 2])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(SettingsError) as caught:
        read(path)
    assert "pip install 'lvlora[parquet]'" in caught.value.hint
    with pytest.raises(SettingsError):
        write_parquet(two_series, tmp_path / "f.parquet")
