"""The files of examples/: as the script writes them, and readable."""

from pathlib import Path

import programs
import pytest

from lvlora.data.files import read_dataset
from lvlora.settings.shared import InputSettings

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    folder = tmp_path_factory.mktemp("examples")
    programs.load("scripts/make_examples.py").main(folder)
    return folder


@pytest.mark.parametrize("name", ["trajectory.csv", "hare_lynx.csv", "monthly.csv"])
def test_tables_are_what_the_script_writes(fresh, name):
    assert (fresh / name).read_bytes() == (ROOT / "examples" / name).read_bytes()


def test_simulated_file_is_what_the_script_writes(fresh):
    output = read_dataset(fresh / "simulated.h5", InputSettings())
    saved = read_dataset(ROOT / "examples/simulated.h5", InputSettings())
    assert output.sha256() == saved.sha256()
    assert len(saved) == 24
    assert (ROOT / "examples/simulated.h5").stat().st_size < 50_000


def test_the_furs_are_the_record():
    dataset = read_dataset(ROOT / "examples/hare_lynx.csv", InputSettings())
    assert dataset.variables == ("hare", "lynx")
    assert dataset.time_name == "year"
    (series,) = dataset.series
    assert series.time.tolist() == list(range(1900, 1921))
    assert series.values.sum(axis=0).tolist() == pytest.approx([715.7, 423.5])
    assert dataset.notes == ()


@pytest.mark.parametrize(
    ("name", "n_series", "n_steps", "first", "last", "total"),
    [
        ("sea_surface.csv", 61, 12, 23.11, 22.07, 16903.8),
        ("sunspots.csv", 1, 309, 5, 2.9, 15373.4),
        ("nile.csv", 1, 100, 1120, 740, 91935),
    ],
)
def test_what_others_measured_is_whole(name, n_series, n_steps, first, last, total):
    """As many values as there were years and months, and their sum."""
    dataset = read_dataset(ROOT / "examples" / name, InputSettings())
    assert [len(s) for s in dataset] == [n_steps] * n_series
    assert (dataset[0].values[0, 0], dataset[-1].values[-1, 0]) == (first, last)
    assert sum(float(s.values.sum()) for s in dataset) == pytest.approx(total)
    assert dataset.notes == dataset.warnings == ()
