"""The way in: formats told apart, missing things named, standard input, the shared file."""

import io
import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from lvlora.data.files import read_dataset
from lvlora.errors import DataError
from lvlora.settings.shared import InputSettings

CSV = "time,x\n0,1\n1,2\n"
AUTO = InputSettings()
SHARED = Path(__file__).parents[4] / "shared" / "data" / "lotka_volterra_trainval.h5"


@pytest.mark.parametrize("path", [None, Path("-")])
def test_standard_input(path):
    dataset = read_dataset(path, AUTO, io.BytesIO(CSV.encode()))
    assert dataset.source == "standard input"
    assert dataset.series[0].values.tolist() == [[1], [2]]


@pytest.mark.parametrize("name", ["f.csv", "f.CSV", "f.txt", "f.dat", "f"])
def test_text_is_csv_whatever_its_name(tmp_path, name):
    (tmp_path / name).write_text(CSV)
    assert len(read_dataset(tmp_path / name, AUTO)) == 1


@pytest.mark.parametrize("name", ["f.h5", "f.csv", "f"])
def test_hdf5_is_known_by_content(tmp_path, name):
    with h5py.File(tmp_path / name, "w") as file:
        file["trajectories"] = np.zeros((1, 3, 2))
    assert len(read_dataset(tmp_path / name, AUTO)) == 1


@pytest.mark.parametrize("content", [b"", b"time,x\n", b"\0" * 100, b"PK\x03\x04\0\0\0"])
def test_other_content_is_refused(tmp_path, content):
    path = tmp_path / "f.h5"
    path.write_bytes(content)
    with pytest.raises(DataError):
        read_dataset(path, AUTO)


def test_missing_file_with_a_near_name(tmp_path):
    (tmp_path / "trajectory.csv").write_text(CSV)
    with pytest.raises(DataError, match="no such file") as caught:
        read_dataset(tmp_path / "trajectry.csv", AUTO)
    assert "trajectory.csv" in caught.value.hint
    with pytest.raises(DataError, match="no such file"):
        read_dataset(tmp_path / "trajectory.csv" / "x.csv", AUTO)
    with pytest.raises(DataError, match="no such file"):
        read_dataset(tmp_path / "none" / "x.csv", AUTO)


def test_folder_device_and_odd_paths(tmp_path):
    with pytest.raises(DataError, match="folder"):
        read_dataset(tmp_path, AUTO)
    with pytest.raises(DataError, match="/dev/null"):
        read_dataset(Path("/dev/null"), AUTO)
    with pytest.raises(DataError, match="cannot be read"):
        read_dataset(Path("x" * 5000), AUTO)
    with pytest.raises(DataError, match="cannot be read"):
        read_dataset(Path("a\0b"), AUTO)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file(tmp_path):
    path = tmp_path / "f.csv"
    path.write_text(CSV)
    path.chmod(0)
    with pytest.raises(DataError, match="permission"):
        read_dataset(path, AUTO)


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
