"""HDF5: the layout and its options, and every unsafe or broken file refused before it costs."""

import h5py
import numpy as np
import pytest

from lvlora.data.dataset import Dataset, Series
from lvlora.data.files.hdf5 import read_hdf5, write_hdf5
from lvlora.errors import DataError
from lvlora.settings.shared import InputSettings

DATA = np.arange(24, dtype=np.float32).reshape(3, 4, 2)


def read(path, **options):
    return read_hdf5(path, InputSettings(**options))


def make(path, **datasets):
    with h5py.File(path, "w") as file:
        for name, data in datasets.items():
            file[name] = data
    return path


def test_plain_layout(tmp_path):
    dataset = read(make(tmp_path / "f.h5", trajectories=DATA, time=np.array([0, 2, 4, 6])))
    assert dataset.variables == ("prey", "predator")
    assert [s.id for s in dataset] == ["0", "1", "2"]
    assert np.array_equal(np.stack([s.values for s in dataset]), DATA)
    assert dataset.series[2].time.tolist() == [0, 2, 4, 6]
    assert dataset.series[0].values.dtype == np.float64
    assert dataset.notes == ()


def test_missing_time_is_steps_with_a_note(tmp_path):
    dataset = read(make(tmp_path / "f.h5", trajectories=DATA[:, :, :1]))
    assert dataset.variables == ("v1",)
    assert dataset.series[0].time.tolist() == [0, 1, 2, 3]
    assert "steps" in dataset.notes[0]


@pytest.mark.parametrize("on_file", [True, False])
def test_names_of_variables(tmp_path, on_file):
    path = make(tmp_path / "f.h5", trajectories=DATA)
    with h5py.File(path, "a") as file:
        (file if on_file else file["trajectories"]).attrs["variables"] = np.array(
            ["hare", "lynx"], dtype="S"
        )
    assert read(path).variables == ("hare", "lynx")
    assert read(path, columns="lynx").variables == ("lynx",)
    assert np.array_equal(read(path, columns="lynx,hare").series[0].values, DATA[0, :, ::-1])


@pytest.mark.parametrize("name", ["id", "system_id"])
@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (np.array([5, 3, 9]), ["5", "3", "9"]),
        (np.array(["x", "yy ", "é".encode()], dtype="S"), ["x", "yy", "é"]),
    ],
)
def test_ids(tmp_path, name, stored, expected):
    path = make(tmp_path / "f.h5", trajectories=DATA, **{name: stored})
    assert [s.id for s in read(path)] == expected


def test_other_names_by_option(tmp_path):
    path = make(tmp_path / "f.h5", trajectories=DATA, when=np.arange(4) * 3.0, who=[7, 8, 9])
    dataset = read(path, time_column="when", id_column="who")
    assert dataset.time_name == "when"
    assert [s.id for s in dataset] == ["7", "8", "9"]
    assert dataset.series[0].time.tolist() == [0, 3, 6, 9]


def test_compressed_data_are_read(tmp_path):
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file.create_dataset("trajectories", data=np.zeros((50, 1000, 2)), compression="gzip")
    assert len(read(tmp_path / "f.h5")) == 50


@pytest.mark.parametrize("option", ["columns", "time_column", "id_column"])
def test_bad_options(tmp_path, option):
    path = make(tmp_path / "f.h5", trajectories=DATA)
    with pytest.raises(DataError, match=option):
        read(path, **{option: "pray"})


def test_written_file_is_the_same_every_time(tmp_path, two_series):
    write_hdf5(two_series, tmp_path / "a.h5")
    write_hdf5(two_series, tmp_path / "b.h5")
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_shared_times_are_stored_once(tmp_path):
    time = np.arange(3.0)
    dataset = Dataset(
        (Series("x", time, np.ones((3, 1))), Series("y", time, np.zeros((3, 1)))), ("n",)
    )
    write_hdf5(dataset, tmp_path / "f.h5", "float32")
    with h5py.File(tmp_path / "f.h5") as file:
        assert file["time"].shape == (3,)
        assert file["trajectories"].dtype == np.float32
    assert read(tmp_path / "f.h5").sha256() == dataset.sha256()
