"""HDF5: the layout and its options, and every unsafe or broken file refused before it costs."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lvlora.errors import DataError
from lvlora.series.dataset import Dataset, Series
from lvlora.series.files.hdf5.layout import read_hdf5, write_hdf5
from lvlora.settings.data import InputSettings

DATA = np.arange(24, dtype=np.float32).reshape(3, 4, 2)


def read(path, **options):
    return read_hdf5(path, InputSettings(**options), "f.h5")


def make(path, **datasets):
    with h5py.File(path, "w") as file:
        for name, data in datasets.items():
            file[name] = data
    return path


def test_plain_layout(tmp_path):
    path = make(tmp_path / "f.h5", trajectories=DATA, time=np.array([0, 2, 4, 6]))
    dataset = read(path)
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


@pytest.mark.parametrize("names", [np.array(["hare", "lynx"], dtype="S"), ["hare", "lynx"]])
@pytest.mark.parametrize("on_file", [True, False])
def test_names_of_variables(tmp_path, names, on_file):
    path = make(tmp_path / "f.h5", trajectories=DATA)
    with h5py.File(path, "a") as file:
        (file if on_file else file["trajectories"]).attrs["variables"] = names
    assert read(path).variables == ("hare", "lynx")
    assert read(path, columns="lynx").variables == ("lynx",)
    assert np.array_equal(read(path, columns="lynx,hare").series[0].values, DATA[0, :, ::-1])


@pytest.mark.parametrize("name", ["id", "system_id"])
@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (np.array([5, 3, 9]), ["5", "3", "9"]),
        (np.array(["x", "yy ", "é".encode()], dtype="S"), ["x", "yy", "é"]),
        (["x", "y", "z"], ["x", "y", "z"]),
    ],
)
def test_ids(tmp_path, name, stored, expected):
    if isinstance(stored, np.ndarray) and stored.dtype.kind == "U":
        stored = np.char.encode(stored, "utf-8")
    path = make(tmp_path / "f.h5", trajectories=DATA, **{name: stored})
    assert [s.id for s in read(path)] == expected


def test_unsorted_times_are_sorted_with_a_note(tmp_path):
    path = make(tmp_path / "f.h5", trajectories=DATA, time=np.array([3.0, 1, 2, 0]))
    dataset = read(path)
    assert dataset.series[0].time.tolist() == [0, 1, 2, 3]
    assert np.array_equal(dataset.series[1].values, DATA[1, [3, 1, 2, 0]])
    assert "sorted" in dataset.notes[0]


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


def _soft(file):
    file["elsewhere"] = DATA
    file["trajectories"] = h5py.SoftLink("/elsewhere")


def _dangling(file):
    file["trajectories"] = h5py.SoftLink("/nowhere")


def _external_link(file):
    file["trajectories"] = h5py.ExternalLink("/etc/passwd", "/x")


def _external_storage(file):
    file.create_dataset("trajectories", (3, 4, 2), "f8", external=[("/etc/passwd", 0, 192)])


def _virtual(file):
    layout = h5py.VirtualLayout(shape=(3, 4, 2), dtype="f8")
    layout[...] = h5py.VirtualSource("other.h5", "trajectories", shape=(3, 4, 2))
    file.create_virtual_dataset("trajectories", layout)


def _declared_only(file):
    file.create_dataset("trajectories", (2**40, 2**9, 2), "f8", chunks=(1, 512, 2))


def _declared_only_below_the_cap(file):
    file.create_dataset("trajectories", (10_000, 1000, 2), "f8")


def _declared_only_compressed(file):
    file.create_dataset("trajectories", (10_000, 1000, 2), "f8", chunks=True, compression=9)


def _huge_chunk(file):
    file.create_dataset(
        "trajectories", (3, 4, 2), "f8", chunks=(2**14, 2**13, 2), maxshape=(None, None, None)
    )


def _infinity(file):
    data = DATA.astype(float)
    data[1, 2, 0] = np.inf
    file["trajectories"] = data


def _group(file):
    file.create_group("trajectories")


def _with(**datasets):
    def write(file):
        file["trajectories"] = DATA
        for name, data in datasets.items():
            file[name] = data

    return write


def _as(data):
    def write(file):
        file["trajectories"] = data

    return write


def _named(names):
    def write(file):
        file["trajectories"] = DATA
        file["trajectories"].attrs["variables"] = names

    return write


def _other_layout(file):
    file["data/x"] = DATA
    file["y"] = np.zeros(3)
    file["link"] = h5py.SoftLink("/y")


BAD = {
    "soft link": (_soft, "soft or external link"),
    "dangling link": (_dangling, "soft or external link"),
    "external link": (_external_link, "soft or external link"),
    "external storage": (_external_storage, "in other files"),
    "virtual": (_virtual, "in other files"),
    "8 PiB": (_declared_only, "declares 1,125,899,906,842,624 values"),
    "declared only": (_declared_only_below_the_cap, "stores 0"),
    "declared only, compressed": (_declared_only_compressed, "stores 0"),
    "huge chunk": (_huge_chunk, "declares 268,435,456 values"),
    "infinity": (_infinity, "series 1, step 2, variable 0: the value is infinite"),
    "group": (_group, "not a dataset"),
    "rank 2": (_as(DATA[0]), "2 dimensions"),
    "scalar": (_as(np.float64(3)), "0 dimensions"),
    "empty dataspace": (_as(h5py.Empty("f8")), "no dimensions"),
    "text": (_as(np.full((3, 4, 2), b"x")), "not real numbers"),
    "complex": (_as(DATA + 1j), "not real numbers"),
    "compound": (_as(np.zeros((3, 4, 2), dtype=[("a", "f8")])), "not real numbers"),
    "no series": (_as(np.zeros((0, 4, 2))), "shape"),
    "one step": (_as(DATA[:, :1]), "(3, 1, 2)"),
    "no variable": (_as(DATA[:, :, :0]), "shape"),
    "too many variables": (_as(np.zeros((1, 2, 1001))), "1,001 variables"),
    "other layout": (_other_layout, "no /trajectories; it has /data/, /link (link), /y (3,)"),
    "nothing": (lambda file: None, "it has nothing"),
    "times of another length": (_with(time=np.arange(5)), "shape (5,)"),
    "time twice": (_with(time=[0.0, 1, 1, 2]), "a time twice"),
    "missing time": (_with(time=[0.0, np.nan, 1, 2]), "missing, infinite"),
    "infinite time": (_with(time=[0.0, 1, 2, np.inf]), "missing, infinite"),
    "text as time": (_with(time=np.array([b"a", b"b", b"c", b"d"])), "not real numbers"),
    "ids of another length": (_with(id=[1, 2]), "2 ids for 3 series"),
    "id twice": (_with(id=[1, 2, 1]), "the id '1'"),
    "empty id": (_with(id=np.array([b"a", b"", b"c"])), "series 1 is empty"),
    "control characters in an id": (_with(id=np.array([b"a", b"\x1b[0m", b"c"])), "unprintable"),
    "floats as ids": (_with(id=[1.0, 2.0, 3.0]), "type float64"),
    "ids by link": (_with(id=h5py.SoftLink("/x")), "soft or external link"),
    "one name for two": (_named(["a"]), "does not name 2"),
    "the same name twice": (_named(["a", "a"]), "the same name"),
    "empty name": (_named(["a", ""]), "is empty"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused(tmp_path, name):
    write, expected = BAD[name]
    with h5py.File(tmp_path / "f.h5", "w") as file:
        write(file)
    with pytest.raises(DataError) as caught:
        read(tmp_path / "f.h5")
    assert expected in caught.value.message
    assert caught.value.message.isprintable()
    assert caught.value.hint


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"columns": "pray"}, "--columns"),
        ({"columns": "prey,prey"}, "twice"),
        ({"time_column": "tme"}, "--time-column"),
        ({"id_column": "idd"}, "--id-column"),
    ],
)
def test_bad_options(tmp_path, options, expected):
    path = make(tmp_path / "f.h5", trajectories=DATA, time=np.arange(4), id=np.arange(3))
    with pytest.raises(DataError, match=expected):
        read(path, **options)


def test_truncated_file(tmp_path):
    path = make(tmp_path / "f.h5", trajectories=np.random.default_rng(0).random((50, 50, 2)))
    raw = path.read_bytes()
    for size in (10, 500, 2000, len(raw) // 2, len(raw) - 1):
        path.write_bytes(raw[:size])
        with pytest.raises(DataError):
            read(path)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, 2047), value=st.integers(0, 255))
def test_a_changed_byte_gives_data_or_one_error(tmp_path, position, value):
    path = make(tmp_path / "f.h5", trajectories=DATA, time=np.arange(4.0), id=[1, 2, 3])
    raw = bytearray(path.read_bytes())
    raw[position % len(raw)] = value
    path.write_bytes(raw)
    try:
        dataset = read(path)
    except DataError as error:
        message = error.message
    else:
        message = "fine"
        assert all(len(s) >= 2 for s in dataset)
    assert message.isprintable()


def test_written_file_is_the_same_every_time_and_reads_back(tmp_path, two_series):
    write_hdf5(two_series, tmp_path / "a.h5")
    write_hdf5(two_series, tmp_path / "b.h5")
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    assert read(tmp_path / "a.h5").sha256() == two_series.sha256()


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
