"""The verbs for Python that no room offers under the same name: data, models, forecasts, scores.

`lvlora` passes them on. Each checks its arguments and calls the verb that the command calls; heavy
rooms are imported inside. `fine_tune` is in `train.fine_tune`.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack, get_args

from lvlora.errors import SettingsError, meant
from lvlora.narrator import Silent
from lvlora.settings.base import Convention, Split
from lvlora.settings.checked import check_count, check_levels, checked
from lvlora.settings.data import FlopsSettings, InputSettings, SimulateSettings
from lvlora.settings.spoken import for_programs

if TYPE_CHECKING:
    from lvlora.evaluation.answers import Evaluation
    from lvlora.flops.answers import FlopsAccount
    from lvlora.flops.budget import Price
    from lvlora.forecast.answers import Forecasts
    from lvlora.forecast.forecaster import Forecaster
    from lvlora.forecast.sampling import Sampling
    from lvlora.model.adapters.files import AdapterInfo
    from lvlora.narrator import Narrator
    from lvlora.series.dataset import Dataset
    from lvlora.series.disturbance import Disturbance
    from lvlora.settings.keywords import (
        FlopsKeywords,
        ForecastKeywords,
        SimulateKeywords,
        SweepKeywords,
    )
    from lvlora.sweep.answers import Sweep
    from lvlora.sweep.narrator import SweepNarrator


@for_programs()
def simulate(**settings: Unpack[SimulateKeywords]) -> Dataset:
    """Simulate a data set of predator-prey trajectories, as ``lvlora simulate`` writes one.

    >>> len(simulate(n_series=2, n_steps=10, duration=20))
    2

    Args:
        settings: system, n_series, n_steps, duration, noise, gaps, seed; the same seed gives the
            same data.

    Raises:
        SettingsError: a setting does not exist, or has an impossible value.
    """
    from lvlora.series.simulate import simulate as simulated

    return simulated(checked(SimulateSettings, settings))


@for_programs()
def read(
    file: str | Path,
    *,
    format: str = "auto",
    id_column: str | None = None,
    time_column: str | None = None,
    date_format: str | None = None,
    columns: Sequence[str] | None = None,
) -> Dataset:
    """Read the trajectories of a CSV, HDF5 or Parquet file; its ``notes`` say what was changed.

    Args:
        file: its path.
        format: csv, hdf5, parquet, or auto.
        id_column, time_column: of a table; default: the usual names.
        date_format: how dates are written, such as ``%d.%m.%Y``; default: ISO.
        columns: the variables, in this order; default: all others.

    Raises:
        DataError: the file cannot be used; the message names row and column.
    """
    from lvlora.series.files.readers import read_dataset

    path = Path(file)
    options = {
        "data": path,
        "format": format,
        "id_column": id_column,
        "time_column": time_column,
        "date_format": date_format,
        "columns": None if columns is None else tuple(columns),
    }
    return read_dataset(path, checked(InputSettings, options))


@for_programs()
def write(dataset: Dataset, file: str | Path, *, overwrite: bool = False) -> None:
    """Write trajectories as .csv (a long table), .h5 or .parquet.

    Raises:
        DataError: the file exists, or its suffix names no format.
    """
    from lvlora.series.files.writers import write_dataset

    write_dataset(dataset, Path(file), overwrite)


@for_programs()
def count_flops(model: str = "bundled", **settings: Unpack[FlopsKeywords]) -> FlopsAccount:
    """Count what a training step and a forecast of a model cost, itemised in both conventions.

    >>> count_flops("qwen2.5-0.5b", rank=4).trainable_parameters
    270336

    Args:
        model: bundled, a short name, or a folder with a config.json.
        settings: rank, targets, batch_size, seq_len, loss, train_head, context, new_tokens, budget.

    Returns:
        The object that ``lvlora flops --json`` prints. Neither torch nor weights are needed.

    Raises:
        ModelError: the shape of that model is not known.
    """
    from lvlora.flops.account import account
    from lvlora.model.shapes import shape_of

    return account(checked(FlopsSettings, {"model": model, **settings}), shape_of(model))


@for_programs()
def read_adapter(name: str | Path, runs: str | Path = "runs") -> AdapterInfo:
    """Read an adapter's files: PEFT's configuration and lvlora's own facts, without weights.

    Args:
        name: a run, its folder, an adapter's folder, or ``latest``.
        runs: where runs are looked for by name.

    Raises:
        ModelError: there is no such adapter, or lvlora cannot honour its configuration.
    """
    from lvlora.model.adapters.files import read_info
    from lvlora.model.adapters.search import find_adapter

    folder = find_adapter(str(name), Path(runs))
    if folder is None:
        raise SettingsError("none is no adapter.", "Name a run or a folder.")
    return read_info(folder)


_OF_THE_COMMAND = {"output", "samples_out", "plot", "overwrite", "density"}
"""Options of ``lvlora forecast`` that `predict` does not take."""


class _AsWarnings(Silent):
    """Pass a verb's warnings on as Python's, and nothing else."""

    def warning(self, message: str) -> None:
        """Warn the caller of `predict`."""
        warnings.warn(message, UserWarning, stacklevel=2)


@for_programs()
def predict(
    data: Any,
    horizon: int | None = None,
    *,
    narrator: Narrator | None = None,
    **settings: Unpack[ForecastKeywords],
) -> Forecasts:
    """Forecast trajectories as ``lvlora forecast`` does: the same model, views and corrections.

    The forecast is charged to the ledger among the runs. Each call opens the model anew: to
    forecast often, open it once with `open_model` and call its ``predict``.

    Args:
        data: a data frame, a column of one, an array (T,), (T, V) or (n, T, V), a `Series` or
            several, a `Dataset`, or the path of a file.
        horizon: time steps; default: 20, those of ``holdout``, or as far as known columns go.
        narrator: told what the command prints; None passes warnings on as Python's.
        settings: the options of ``lvlora forecast`` with underscores: holdout, samples, adapter,
            forecaster, id_column, time_column, columns, known, quantiles, …

    Returns:
        The object that ``lvlora forecast --json`` prints. It is a sequence of `Forecast`, one a
        series; ``to_frame()`` is a table of them, ``plot()`` a figure.

    Raises:
        SettingsError: a setting does not exist, or has an impossible value.
        DataError: the data cannot be forecast.
        BudgetError: ``max_flops`` or ``budget`` would be passed; nothing was spent.
    """
    from lvlora.forecast import verb
    from lvlora.series.frames import to_dataset
    from lvlora.series.known import read_known
    from lvlora.settings.forecasting import ForecastSettings
    from lvlora.train.process import undisturbed

    for name in sorted(_OF_THE_COMMAND & settings.keys()):
        raise SettingsError(
            f"{name}: is an option of the command alone.",
            "Use to_frame(), plot() and the samples of the answer; next_step() gives a density.",
        )
    named = isinstance(data, str | Path)
    source = data if named else "data"
    chosen = checked(ForecastSettings, {"data": source, "horizon": horizon, **settings})

    def load() -> Dataset:
        return read_known(Path(data) if named else to_dataset(data, chosen), chosen)

    with undisturbed():
        return verb.forecast(chosen, load, narrator or _AsWarnings())


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
    from lvlora.forecast.usage import reserved
    from lvlora.settings.training import BudgetSettings

    if not isinstance(at_most, Price):
        raise SettingsError(
            f"at_most: should be a Price, got {at_most!r}",
            "forecaster.at_most(…) says how much it can be.",
        )
    limits = {"max_flops": max_flops, "budget": budget, "convention": convention, "runs": runs}
    with (
        for_programs(),
        reserved(checked(BudgetSettings, limits), forecaster, at_most, command=command),
    ):
        yield


@for_programs()
def search(
    data: Dataset | str | Path,
    *,
    space: Mapping[str, Any] | str | Path | None = None,
    narrator: SweepNarrator | None = None,
    **settings: Unpack[SweepKeywords],
) -> Sweep:
    """Search the best settings that a FLOP budget can buy, as ``lvlora sweep`` does.

    Each trial is a run in a folder of its own, charged to the ledger among the runs;
    ``found.best`` is the best of them, and its adapter opens by
    ``open_model(adapter=found.best.folder)``. The same call again goes on with the study ``study``
    where it was stopped, and gives it back at once when it is finished.

    Args:
        data: the trajectories, or their file.
        space: what is searched: setting → a list of values or a range, like
            ``{"rank": [2, 8], "learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}}``; or a
            TOML file that says so. Default: learning rate by rank, or what ``preset`` says.
        narrator: told the plan and of each trial; see `lvlora.sweep.narrator`. None tells nobody.
        settings: the options of ``lvlora sweep`` with underscores: max_flops, trials, study, …

    Returns:
        The object that ``lvlora sweep --json`` prints. Its ``refusal`` says so if a limit ended the
        search before its plan was done.

    Raises:
        SettingsError: a setting is none, or has an impossible value, or the study is about
            something else.
        BudgetError: the plan does not fit into ``max_flops`` or ``budget``; nothing was spent.
        RunStopped: a signal came; everything is saved.
    """
    from lvlora.series.dataset import Dataset
    from lvlora.series.known import read_known
    from lvlora.settings.training import SweepSettings
    from lvlora.sweep.narrator import Silent
    from lvlora.sweep.search import run_search
    from lvlora.sweep.space_file import space_of
    from lvlora.train.process import undisturbed

    given: dict[str, Any] = dict(settings)
    named = isinstance(data, str | Path)
    if named:
        given["data"] = data
    if isinstance(space, str | Path):
        given["space"] = space
    chosen = checked(SweepSettings, given)
    if chosen.workers > 1 and not (named and (space is None or chosen.space)):
        raise SettingsError(
            "--workers: several processes can share only what is in a file.",
            "Write the data (and the space) to a file, and give its name.",
        )

    def read() -> Dataset:
        return read_known(data if isinstance(data, Dataset) else Path(data), chosen)

    with undisturbed():
        return run_search(
            chosen,
            read,
            sources={
                name: "python" if name in given else "default"
                for name in SweepSettings.model_fields
            },
            narrator=narrator or Silent(),
            space=space_of(space, "--space") if isinstance(space, Mapping) else None,
            named=named,
        )


@for_programs()
def evaluate(
    data: Dataset,
    forecasters: Sequence[Forecaster] | Forecaster = (),
    *,
    part: Split = "validation",
    context: int = 50,
    horizon: int = 50,
    limit: int | None = None,
    sampling: Sampling | None = None,
    rivals: bool = True,
    split_seed: int = 0,
    stratify: bool = False,
    quantiles: Sequence[float] = (0.1, 0.5, 0.9),
    seed: int = 0,
    disturbance: Disturbance | None = None,
) -> Evaluation:
    """Forecasters side by side: the same histories, the same truth, the same metrics.

    The answer is what ``lvlora evaluate --json`` prints, and a sequence of entries. Each has
    ``name``, ``kind`` (model, rival or floor), ``scores`` (mae, rmse, crps, coverage, dynamics, …),
    ``point`` (n, H, V), ``samples``, ``against`` (differences with their 95 % intervals), ``skill``
    against seasonal naive and ``win_rate``. What models spend is in their ``usage`` and, inside
    `charged`, in the ledger. Nothing is written.

    Args:
        data: the whole data set; it is split by its series' names as in every command, and rivals
            that learn do so from the training part, of series that are scored from the histories.
        forecasters: what `open_model` gives.
        part: which part is scored. Look at ``test`` once, and choose nothing by it.
        context, horizon: steps given, steps asked for.
        limit: series at most.
        sampling: of the models, rivals give as many futures; default: as the command draws.
        rivals: score the rivals and the rounding floor, too.
        split_seed, stratify: of the split.
        quantiles: levels, of which pairs give coverage.
        seed: of the bootstrap.
        disturbance: what forecasters see is noisier, shorter or less complete by so much; what is
            scored is not.

    Raises:
        DataError: no series is long enough.
    """
    from lvlora.evaluation.evaluate import finish, score_rivals
    from lvlora.evaluation.job import prepare
    from lvlora.evaluation.scores import score_floor, score_model
    from lvlora.forecast.forecaster import Forecaster
    from lvlora.forecast.plan import DEFAULT_DECIMALS
    from lvlora.forecast.sampling import Sampling
    from lvlora.series.disturbance import NO_DISTURBANCE
    from lvlora.settings.forecasting import LONGEST_HORIZON
    from lvlora.settings.scoring import EvaluateSettings

    models = [forecasters] if isinstance(forecasters, Forecaster) else list(forecasters)
    if not models and not rivals:
        raise SettingsError(
            "without models and rivals there is nothing to score.", "Leave one of them in."
        )
    check_count("context", context)
    check_count("horizon", horizon, at_most=LONGEST_HORIZON)
    check_count("limit", limit, optional=True)
    check_levels(quantiles)
    if part not in get_args(Split):
        raise SettingsError(
            f"part: should be one of {', '.join(get_args(Split))}, got {part!r}",
            meant(str(part), get_args(Split)).strip() or "validation is the usual one.",
        )
    drawn, seen = sampling or Sampling(), disturbance or NO_DISTURBANCE
    settings = checked(
        EvaluateSettings,
        {
            "split": part,
            "context": context,
            "horizon": horizon,
            "limit": limit,
            "with_model": bool(models),
            "rivals": rivals,
            "split_seed": split_seed,
            "stratify": stratify,
            "quantiles": tuple(quantiles),
            "seed": seed,
            "samples": drawn.samples,
            "greedy": drawn.greedy,
            "temperature": drawn.temperature,
            "top_p": drawn.top_p,
            "views": drawn.views,
            "history_noise": seen.noise,
            "history_gaps": seen.gaps,
            "history_steps": seen.steps,
            "hide": seen.hidden or None,
        },
    )
    job = prepare(settings, data, Silent(), sampling=drawn, disturbance=seen, has_folder=False)
    entries = [score_model(model, job.task, drawn, settings.quantiles) for model in models]
    if rivals:
        entries += score_rivals(job, 1, Silent())
        decimals, scale = (
            (models[0].decimals, models[0].scale) if models else (DEFAULT_DECIMALS, None)
        )
        entries.append(score_floor(job.task, decimals, settings.quantiles, scale))
    return finish(job, entries)
