"""`lvlora.simulate`, `lvlora.read` and `lvlora.write`: data sets for programs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from lvlora.series.dataset import Dataset
from lvlora.series.files.readers import read_dataset
from lvlora.series.files.writers import write_dataset
from lvlora.series.simulate import simulate as simulated
from lvlora.settings.checked import checked
from lvlora.settings.data import InputSettings, SimulateSettings
from lvlora.settings.spoken import for_programs

if TYPE_CHECKING:
    from lvlora.settings.keywords import SimulateKeywords


@for_programs()
def simulate(**settings: Unpack[SimulateKeywords]) -> Dataset:
    """A data set of predator-prey trajectories, as ``lvlora simulate`` writes one.

    >>> len(simulate(n_series=2, n_steps=10, duration=20))
    2

    Args:
        settings: system, n_series, n_steps, duration, noise, gaps, seed; the same seed gives the
            same data.

    Raises:
        SettingsError: a setting is none, or has an impossible value.
    """
    return simulated(checked(SimulateSettings, settings))


@for_programs()
def read(
    file: str | Path,
    *,
    format: str = "auto",
    id_column: str | None = None,
    time_column: str | None = None,
    columns: Sequence[str] | None = None,
) -> Dataset:
    """The trajectories of a CSV, HDF5 or Parquet file; ``notes`` of it says what was done to them.

    Args:
        file: its path.
        format: csv, hdf5, parquet, or auto.
        id_column, time_column: of a table; default: the usual names.
        columns: the variables, in this order; default: all others.

    Raises:
        DataError: the file cannot be used; the message names row and column.
    """
    given = {"format": format, "id_column": id_column, "time_column": time_column}
    chosen = None if columns is None else tuple(columns)
    path = Path(file)
    return read_dataset(path, checked(InputSettings, {"data": path, "columns": chosen, **given}))


@for_programs()
def write(dataset: Dataset, file: str | Path, *, overwrite: bool = False) -> None:
    """Write trajectories as .csv (a long table), .h5 or .parquet.

    Raises:
        DataError: the file is there, or its suffix names no format.
    """
    write_dataset(dataset, Path(file), overwrite)
