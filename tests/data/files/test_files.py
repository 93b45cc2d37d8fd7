"""The way in and the way out: formats told apart, refusals named, files read back equal."""

import errno
import io
import os
import re
import tempfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvlora.data import files
from lvlora.data.dataset import Dataset, Series
from lvlora.data.files import read_dataset, write_dataset
from lvlora.data.files.tables import ID_NAMES, TIME_NAMES
from lvlora.errors import DataError, LvloraError, SettingsError
from lvlora.settings.shared import InputSettings

CSV = "time,x\n0,1\n1,2\n"
AUTO = InputSettings()
SHARED = Path(__file__).parents[4] / "shared" / "data" / "lotka_volterra_trainval.h5"


def test_standard_input():
    dataset = read_dataset(Path("-"), AUTO, io.BytesIO(CSV.encode()))
    assert dataset.source == "standard input"
    assert dataset.series[0].values.tolist() == [[1], [2]]


@pytest.mark.parametrize("name", ["f.csv", "f.txt", "f.h5", "f"])
def test_a_format_is_known_by_content_not_by_name(tmp_path, name):
    (tmp_path / name).write_text(CSV)
    assert read_dataset(tmp_path / name, AUTO).variables == ("x",)
    with h5py.File(tmp_path / name, "w") as file:
        file["trajectories"] = np.zeros((1, 3, 2))
    assert len(read_dataset(tmp_path / name, AUTO).variables) == 2


@pytest.mark.parametrize(
    ("name", "problem", "hint"),
    [
        ("trajectry.csv", "no such file", "trajectory.csv"),
        ("trajectory.csv/x.csv", "no such file", "Check the path|There is no folder"),
        ("none/x.csv", "no such file", "There is no folder"),
        ("", "folder", "lvlora reads CSV"),
        ("/dev/null", "/dev/null", "regular file"),
        ("x" * 5000, "cannot be read", "regular file"),
        ("a\0b", "cannot be read", "regular file"),
        ("locked.csv", "permission", "owner"),
    ],
)
def test_what_cannot_be_opened(tmp_path, name, problem, hint):
    if name == "locked.csv" and os.geteuid() == 0:
        pytest.skip("root may read everything")
    for file in ("trajectory.csv", "locked.csv"):
        (tmp_path / file).write_text(CSV)
    (tmp_path / "locked.csv").chmod(0)
    with pytest.raises(DataError, match=problem) as caught:
        read_dataset(tmp_path / name, AUTO)
    assert re.search(hint, caught.value.hint)


def test_pipe(tmp_path):
    read_end, write_end = os.pipe()
    os.write(write_end, CSV.encode())
    os.close(write_end)
    try:
        assert len(read_dataset(Path(f"/dev/fd/{read_end}"), AUTO)) == 1
    finally:
        os.close(read_end)


@pytest.mark.skipif(not SHARED.exists(), reason="the coursework's data are not here")
def test_the_coursework_file():
    dataset = read_dataset(SHARED, AUTO)
    assert len(dataset) == 850
    assert dataset.variables == ("prey", "predator")
    assert dataset.series[0].time[-1] == 200
    assert dataset.series[1].id == "2"


SUFFIXES = (".h5", ".csv", ".parquet")
names = st.text(
    st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=8
).filter(lambda n: n.isprintable() and n.lower() not in (*ID_NAMES, *TIME_NAMES))
numbers = st.floats(-1e100, 1e100) | st.just(np.nan)


@st.composite
def datasets(draw):
    variables = draw(st.lists(names, min_size=1, max_size=3, unique=True))
    ids = draw(st.lists(names, min_size=1, max_size=3, unique=True))
    series = []
    for name in ids:
        times = sorted(draw(st.sets(st.floats(-1e100, 1e100), min_size=2, max_size=5)))
        values = draw(
            st.lists(
                st.lists(numbers, min_size=len(variables), max_size=len(variables)),
                min_size=len(times),
                max_size=len(times),
            )
        )
        series.append(Series(name, np.array(times), np.array(values)))
    return Dataset(tuple(series), tuple(variables))


@pytest.mark.parametrize("suffix", SUFFIXES)
@given(dataset=datasets())
def test_what_is_written_reads_back_equal(suffix, dataset):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"f{suffix}"
        write_dataset(dataset, path)
        again = read_dataset(path, InputSettings())
        assert [p.name for p in Path(folder).iterdir()] == [path.name]
    assert again.sha256() == dataset.sha256()
    assert [s.id for s in again] == [s.id for s in dataset]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_existing_files_are_kept_unless_told(tmp_path, two_series, suffix):
    path = tmp_path / f"f{suffix}"
    path.write_text("precious")
    with pytest.raises(SettingsError, match="already there"):
        write_dataset(two_series, path)
    assert path.read_text() == "precious"
    write_dataset(two_series, path, overwrite=True)
    assert read_dataset(path, InputSettings()).sha256() == two_series.sha256()
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_new_files_have_the_usual_permissions(tmp_path, two_series):
    write_dataset(two_series, tmp_path / "f.csv")
    (tmp_path / "usual").touch()
    assert (tmp_path / "f.csv").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_full_disk_leaves_the_old_file(tmp_path, two_series, monkeypatch):
    path = tmp_path / "f.csv"
    path.write_text("old")

    def full(dataset, path):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setitem(files.WRITERS, ".csv", full)
    with pytest.raises(LvloraError, match="No space left") as caught:
        write_dataset(two_series, path, overwrite=True)
    assert caught.value.exit_code == 1
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["f.csv"]


@pytest.mark.parametrize(
    ("name", "error", "problem"),
    [
        ("f.xlsx", DataError, "suffix"),
        ("none/f.csv", SettingsError, "the folder .*none is not there"),
        ("d.csv", SettingsError, "no file to write to"),
    ],
)
def test_refused_targets(tmp_path, two_series, name, error, problem):
    (tmp_path / "d.csv").mkdir()
    with pytest.raises(error, match=problem):
        write_dataset(two_series, tmp_path / name, overwrite=True)


@pytest.mark.parametrize(
    ("ids", "variables"),
    [(("a", "a"), ("x",)), ((" a",), ("x",)), (("a",), ("x\n",)), ((), ("x",)), (("a",), ())],
)
def test_names_that_cannot_be_kept(tmp_path, ids, variables):
    series = tuple(Series(i, np.arange(2.0), np.ones((2, len(variables)))) for i in ids)
    with pytest.raises(DataError):
        write_dataset(Dataset(series, variables), tmp_path / "f.h5")
    assert not list(tmp_path.iterdir())
