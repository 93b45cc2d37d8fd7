"""Python's doors to the verbs: each takes the options of its command as keyword arguments.

An option is a field of the command's settings, so pydantic checks it and names what is wrong.
`lvlora` passes these functions on; heavy rooms are imported inside. `fine_tune` is in
`train.fine_tune`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lvlora.data.settings import SimulateSettings
from lvlora.errors import SettingsError
from lvlora.flops.settings import FlopsSettings
from lvlora.narrator import AsWarnings
from lvlora.settings.fields import checked
from lvlora.settings.shared import InputSettings, KnownSettings

if TYPE_CHECKING:
    from lvlora.answers import Price
    from lvlora.data.dataset import Dataset
    from lvlora.evaluation.answers import Evaluation
    from lvlora.flops.answers import FlopsAccount
    from lvlora.forecast.dataset_forecast import DatasetForecast
    from lvlora.forecast.language_model import LanguageModel
    from lvlora.model.adapters import AdapterInfo
    from lvlora.narrator import Narrator
    from lvlora.sweep.record import Sweep


def simulate(**options: Any) -> Dataset:
    """Simulate a data set of predator-prey trajectories, by the options of ``lvlora simulate``.

    >>> len(simulate(n_series=2, n_steps=10, duration=20))
    2
    """
    from lvlora.data.simulate import simulate as simulated

    return simulated(checked(SimulateSettings, options))


def read(file: str | Path, **options: Any) -> Dataset:
    """Read the trajectories of a CSV, HDF5 or Parquet file; its ``notes`` say what was changed.

    Args:
        options: id_column, time_column, date_format, columns.

    Raises:
        DataError: the file cannot be used; the message names row and column.
    """
    from lvlora.data.files import read_dataset

    return read_dataset(Path(file), checked(InputSettings, {"data": file, **options}))


def write(dataset: Dataset, file: str | Path, *, overwrite: bool = False) -> None:
    """Write trajectories as .csv (a long table), .h5 or .parquet.

    Raises:
        SettingsError: the file exists.
        DataError: its suffix names no format.
    """
    from lvlora.data.files import write_dataset

    write_dataset(dataset, Path(file), overwrite)


def count_flops(model: str = "bundled", **options: Any) -> FlopsAccount:
    """Count what a training step and a forecast cost: the object of ``lvlora flops --json``.

    >>> count_flops("qwen2.5-0.5b", rank=4).trainable_parameters
    270336

    Args:
        model: bundled, a short name, or a folder with a config.json; no weights are needed.
        options: those of ``lvlora flops``, fields of `FlopsSettings`.

    Raises:
        ModelError: the shape of that model is not known.
    """
    from lvlora.flops.account import account
    from lvlora.model.catalogue import shape_of

    return account(checked(FlopsSettings, {"model": model, **options}), shape_of(model))


def read_adapter(name: str | Path, runs: str | Path = "runs") -> AdapterInfo:
    """Read an adapter's files: PEFT's configuration and lvlora's own facts, without weights.

    Args:
        name: a run among ``runs``, its folder, an adapter's folder, or ``latest``.

    Raises:
        ModelError: there is no such adapter, or lvlora cannot honour its configuration.
    """
    from lvlora.model.adapters import read_info
    from lvlora.model.catalogue import find_adapter

    folder = find_adapter(str(name), Path(runs))
    if folder is None:
        raise SettingsError("none is no adapter.", "Name a run or a folder.")
    return read_info(folder)


def predict(
    data: Any, horizon: int | None = None, *, narrator: Narrator | None = None, **options: Any
) -> DatasetForecast:
    """Forecast trajectories as ``lvlora forecast`` does, charged to the ledger among the runs.

    Each call opens the model anew: to forecast often, open it once with `open_model`.

    Args:
        data: a data frame, a column of one, an array (T,), (T, V) or (n, T, V), a `Series` or
            several, a `Dataset`, or the path of a file.
        horizon: time steps; default: 20, those of ``holdout``, or as far as known columns go.
        narrator: gets what the command prints; None passes warnings on as Python's.
        options: those of ``lvlora forecast``, fields of `ForecastSettings`.

    Returns:
        A `Forecast` of each series; ``record`` is the object of ``lvlora forecast --json``.

    Raises:
        DataError: the data cannot be forecast.
        BudgetError: ``max_flops`` or ``budget`` would be passed; nothing was spent.
    """
    from lvlora.forecast import verb
    from lvlora.forecast.settings import ForecastSettings
    from lvlora.train.process import undisturbed

    settings = checked(
        ForecastSettings,
        {"data": _place(data), "horizon": horizon, **options},
        refused=("output", "samples_out", "plot", "overwrite"),
    )
    with undisturbed():
        return verb.forecast(settings, _reader(data, settings), narrator or AsWarnings())


def _place(data: Any) -> str | Path:
    """Return the file that was named, or a word for data that are in none."""
    return data if isinstance(data, str | Path) else "data"


def _reader(data: Any, settings: KnownSettings) -> Callable[[], Dataset]:
    """Return a function that gives the data a caller has, known columns set apart."""
    from lvlora.data.frames import to_dataset
    from lvlora.data.known import read_known

    named = isinstance(data, str | Path)
    return lambda: read_known(Path(data) if named else to_dataset(data, settings), settings)


@contextlib.contextmanager
def charged(
    forecaster: LanguageModel, at_most: Price, *, command: str = "python", **limits: Any
) -> Iterator[None]:
    """Charge what a forecaster does inside the block to the ledger among the runs.

    A block of a forecaster ends before another begins.

    Args:
        at_most: the price bound, as ``forecaster.at_most(…)`` of the same arguments gives it. It is
            reserved before, and what was really spent is settled after. A forecast inside the block
            that would cost more than is left of it is refused.
        command: the name in the ledger.
        limits: runs, max_flops (of this block), budget (of all runs together; "none" lifts it),
            convention.

    Raises:
        BudgetError: a limit would be passed; nothing was spent.
    """
    from lvlora.answers import Price
    from lvlora.forecast.pricing import reserved
    from lvlora.settings.shared import BudgetSettings

    if not isinstance(at_most, Price):
        raise SettingsError(
            f"at_most: should be a Price, got {at_most!r}",
            "forecaster.at_most(…) says how much it can be.",
        )
    with reserved(checked(BudgetSettings, limits), forecaster, at_most, command=command):
        yield


def search(
    data: Dataset | str | Path,
    *,
    space: Mapping[str, Any] | str | Path | None = None,
    narrator: Narrator | None = None,
    **options: Any,
) -> Sweep:
    """Search the best settings that a FLOP budget can buy, as ``lvlora sweep`` does.

    Each trial is a run, charged to the ledger; ``open_model(adapter=result.best.folder)`` opens the
    best. The same call again goes on with the study ``study`` where it was stopped.

    Args:
        data: the trajectories, or their file.
        space: setting → a list of values or a range, like
            ``{"rank": [2, 8], "learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}}``; or a
            TOML file that says so. Default: learning rate by rank, or what ``preset`` says.
        narrator: gets each trial and its result; None passes warnings on as Python's.
        options: those of ``lvlora sweep``, fields of `SweepSettings`.

    Returns:
        The object of ``lvlora sweep --json``; ``stopped_by`` names the limit that ended it early.

    Raises:
        SettingsError: an option is wrong, or the study is about something else.
        BudgetError: the plan does not fit into ``max_flops`` or ``budget``; nothing was spent.
        RunStopped: a signal came; everything is saved.
    """
    from lvlora.sweep.search import run_search
    from lvlora.sweep.settings import SweepSettings
    from lvlora.sweep.space import space_of
    from lvlora.train.process import undisturbed

    files = {"data": data, "space": space}
    values = options | {name: f for name, f in files.items() if isinstance(f, str | Path)}
    settings = checked(SweepSettings, values, refused=("status",))
    fields = SweepSettings.model_fields
    with undisturbed():
        return run_search(
            settings,
            _reader(data, settings),
            sources={name: "python" if name in values else "default" for name in fields},
            narrator=narrator or AsWarnings(),
            space=space_of(space, "--space") if isinstance(space, Mapping) else None,
            in_file="data" in values,
        )


_OF_THE_LOADED = ("model", "adapter", "out", "together", "calibrate", "calibrated", "forecasts")
"""Options of `evaluate` for models that it loads itself."""


def evaluate(
    data: Any,
    forecasters: Sequence[LanguageModel] | LanguageModel = (),
    *,
    narrator: Narrator | None = None,
    **options: Any,
) -> Evaluation:
    """Score forecasters on the same histories, as ``lvlora evaluate`` does.

    Without open forecasters it is the command: it loads ``model`` and ``adapter``, charges the
    ledger and keeps a folder among the runs. With them nothing is written; what they spend is in
    their ``usage`` and, inside `charged`, in the ledger.

    Args:
        data: the whole data set, or its file; it is split by its series' names as in every command.
        forecasters: from `open_model`.
        narrator: gets what the command prints; None passes warnings on as Python's.
        options: those of ``lvlora evaluate``, fields of `EvaluateSettings`.

    Returns:
        The object of ``lvlora evaluate --json``, and a sequence of its forecasters' rows.

    Raises:
        DataError: no series is long enough.
    """
    from lvlora.evaluation import evaluate as verb
    from lvlora.evaluation.settings import EvaluateSettings
    from lvlora.forecast.language_model import LanguageModel
    from lvlora.train.process import undisturbed

    models = [forecasters] if isinstance(forecasters, LanguageModel) else list(forecasters)
    settings = checked(
        EvaluateSettings,
        {"data": _place(data), "workers": 1, **options},
        refused=("output", "overwrite", *(_OF_THE_LOADED if models else ())),
    )
    read, narrator = _reader(data, settings), narrator or AsWarnings()
    if models:
        return verb.evaluate_open(settings, read(), models, narrator)
    with undisturbed():
        return verb.evaluate(settings, read, narrator)
