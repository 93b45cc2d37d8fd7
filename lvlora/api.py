"""The verbs of the package for programs: what the commands do, without a terminal.

Knows: which rooms make a data set, a run, an evaluation, a price. Does not know: how. `lvlora`
itself gives these names lazily, so that ``import lvlora`` costs nothing. None of them may be called
as a room is (train, flops): importing the room would take the name away.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack

from lvlora.errors import SettingsError
from lvlora.settings import InputSettings, SimulateSettings, TrainSettings
from lvlora.settings.base import Convention
from lvlora.settings.checked import checked
from lvlora.settings.spoken import for_programs
from lvlora.settings.training import BudgetSettings

if TYPE_CHECKING:
    from lvlora.flops.budget import Price
    from lvlora.forecast.forecaster import Forecaster
    from lvlora.model.adapters.files import AdapterInfo
    from lvlora.series.dataset import Dataset
    from lvlora.settings.keywords import SimulateKeywords, TrainKeywords
    from lvlora.train.observer import Observer
    from lvlora.train.progress import Result


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
    from lvlora.series.simulate import simulate as make

    return make(checked(SimulateSettings, settings))


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
    from lvlora.series.files.readers import read_dataset

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
    from lvlora.series.files.writers import write_dataset

    write_dataset(dataset, Path(file), overwrite)


@for_programs()
def fine_tune(
    data: Dataset | str | Path,
    *,
    observer: Observer | None = None,
    **settings: Unpack[TrainKeywords],
) -> Result:
    """Fine-tune a base model with LoRA, as ``lvlora train`` does: one run in a folder of its own.

    The run is charged to the ledger among the runs, and its adapter opens by
    ``open_model(adapter=result.adapter)``. A stopped run goes on by ``lvlora train --resume``; with
    data that are in no file it cannot, so write them first. Random states and the number of threads
    of the program are afterwards what they were, and runs in several threads give what each would
    give alone.

    Args:
        data: the trajectories, or their file.
        observer: told of every step and validation; None tells nobody.
        settings: the options of ``lvlora train`` with underscores: rank, max_steps, model, runs, …

    Raises:
        SettingsError: a setting is none, or has an impossible value.
        BudgetError: the run would pass ``max_flops`` or ``budget``; nothing was spent.
        RunStopped: a signal came; the state is saved.
    """
    from lvlora.train.fine_tune import begin, carry_out
    from lvlora.train.loaded import load_run
    from lvlora.train.observer import Silent
    from lvlora.train.plan import plan_run
    from lvlora.train.trackers.tracked import check_installed
    from lvlora.train.undisturbed import undisturbed

    given: dict[str, Any] = dict(settings)
    if given.get("resume") is not None:
        raise SettingsError(
            "resume: a program can't go on with a run.", "lvlora train --resume RUN"
        )
    if isinstance(data, str | Path):
        given["data"] = data
    chosen = checked(TrainSettings, given)
    check_installed(chosen.tracker)
    if isinstance(data, str | Path):
        from lvlora.series.files.readers import read_dataset

        data = read_dataset(chosen.data, chosen)
    sources = {
        name: "python" if name in given else "default" for name in TrainSettings.model_fields
    }
    with undisturbed():
        loaded = load_run(plan_run(chosen, data))
        return carry_out(begin(loaded, sources, observer or Silent())).result


@contextlib.contextmanager
def charged(
    forecaster: Forecaster,
    at_most: Price,
    *,
    runs: str | Path = "runs",
    max_flops: int | None = None,
    budget: int | Literal["none"] | None = None,
    convention: Convention = "executed",
    command: str = "python",
) -> Iterator[None]:
    """Charge what a forecaster does inside the block to the ledger among the runs.

    Args:
        at_most: the most that it can be; ``forecaster.at_most(…)`` of the same arguments says it.
            It is reserved before, and what was really spent is settled after. A forecast inside the
            block that would cost more than is left of it is refused.
        max_flops: of this block; budget: of all runs together, "none" to lift it.
        command: what the ledger calls it.

    Blocks of one forecaster may stand in one another; each is charged what was done in it, outside
    of those inside it.

    Raises:
        BudgetError: a limit would be passed; nothing was spent.
    """
    from lvlora.flops.budget import Price
    from lvlora.forecast import spending

    if not isinstance(at_most, Price):
        raise SettingsError(
            f"at_most: should be a Price, got {at_most!r}",
            "forecaster.at_most(…) says how much it can be.",
        )
    limits = {"max_flops": max_flops, "budget": budget, "convention": convention, "runs": runs}
    with (
        for_programs(),
        spending.charged(checked(BudgetSettings, limits), forecaster, at_most, command=command),
    ):
        yield


@for_programs()
def read_adapter(name: str | Path, runs: str | Path = "runs") -> AdapterInfo:
    """What an adapter's files say: PEFT's configuration and lvlora's own facts; no weights.

    Args:
        name: a run, its folder, an adapter's folder, or ``latest``.
        runs: where runs are looked for by name.

    Raises:
        ModelError: there is none, or lvlora cannot honour what it says.
    """
    from lvlora.model.adapters.files import read_info
    from lvlora.model.adapters.search import find_adapter

    folder = find_adapter(str(name), Path(runs))
    if folder is None:
        raise SettingsError("none is no adapter.", "Name a run or a folder.")
    return read_info(folder)
