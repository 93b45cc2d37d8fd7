"""A new run's folder, and a stopped run's settings: where a run begins, or goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from lvlora import durable
from lvlora.errors import DataError, SettingsError
from lvlora.flops.ledger import FILE_NAME, Ledger
from lvlora.model import devices
from lvlora.runs import NEWEST, find_run
from lvlora.settings.configuration import resolve
from lvlora.settings.toml_text import to_toml
from lvlora.settings.training import TrainSettings
from lvlora.train.loop import Loaded
from lvlora.train.observer import Observer
from lvlora.train.plan import Plan
from lvlora.train.ranks import ALONE, Ranks
from lvlora.train.run import Run
from lvlora.train.run_folder import RunFolder, create, newest_unfinished
from lvlora.train.trackers.tracked import tracked

_FIXED = TrainSettings.affecting("result", "placement", "limit", "output") - {"max_flops"}
"""What can't be said anew when a run goes on. Data and model can: they are known by content."""


def new_run(
    loaded: Loaded, sources: Mapping[str, str], observer: Observer, ranks: Ranks = ALONE
) -> Run:
    """A run in a new folder that says all that is needed to repeat it.

    The folder is this process's before anything is written into it.

    Args:
        sources: setting → where its value came from.
        observer: who watches, besides the settings' trackers.

    Raises:
        SettingsError: the folder is taken.
        LvloraError: it cannot be written, or another process works on it; nothing is left.
    """
    plan, settings = loaded.plan, loaded.plan.settings
    with Ledger.for_runs(settings.runs) as ledger:
        taken = {row.run for row in ledger.rows()}
    folder, replaces = create(settings, f"{plan.source.name}-r{settings.rank}")
    with ExitStack() as held:
        held.enter_context(folder.held())
        folder.check_unused()
        try:
            folder.mark()
            if replaces is not None:
                folder.shall_replace(replaces)
            folder.take_name((settings.out or folder.path).name, taken)
            write_settings(folder, plan, sources)
            watcher = tracked(observer, loaded, folder)
            return Run(loaded, folder, watcher, ranks=ranks, held=held.pop_all())
        except BaseException:
            folder.remove_if_nothing_was_done()
            raise


def write_settings(folder: RunFolder, plan: Plan, sources: Mapping[str, str]) -> None:
    """config.toml, sources.json, data.json, split.json and environment.json."""
    durable.write_text(folder.config, to_toml("train", plan.settings))
    durable.write_text(folder.sources, json.dumps(dict(sources), indent=1) + "\n")
    data = {
        "source": plan.dataset.source,
        "series": len(plan.dataset),
        "variables": list(plan.dataset.variables),
        "sha256": plan.dataset.sha256(),
        "split": plan.split.sha256,
    }
    durable.write_text(folder.path / "data.json", json.dumps(data, indent=1) + "\n")
    durable.write_text(folder.path / "split.json", plan.split.to_json())
    placement = plan.model.placement
    dtype = str(placement.dtype).removeprefix("torch.")
    folder.write_environment(str(placement.device), devices.set_threads(None), dtype)


def stopped_run(settings: TrainSettings) -> Path:
    """The run that --resume means."""
    if settings.resume != NEWEST:
        return find_run(settings.resume, settings.runs, "--resume")
    path = newest_unfinished(settings.runs)
    if path is None:
        raise SettingsError(
            f"--resume: there is no stopped run in {settings.runs}",
            "Name one: lvlora train --resume RUN.",
        )
    return path


def stored_settings(
    folder: RunFolder, given: TrainSettings, sources: Mapping[str, str]
) -> TrainSettings:
    """The run's own settings; what decides its result can't be changed half-way."""
    resolved = resolve(
        "train", TrainSettings, flags={}, environment={}, config=str(folder.config), commands={}
    )
    stored = resolved.settings
    said = {name for name, source in sources.items() if source != "default"}
    for name in said & _FIXED:
        asked, was = getattr(given, name), getattr(stored, name)
        if asked != was:
            raise SettingsError(
                f"--{name.replace('_', '-')}: a run goes on with its own settings "
                f"({was}, not {asked})",
                "Leave the option out, or start a new run.",
            )
    # the limit is no setting of a run that goes on: its steps were laid out for the first one
    update = {name: getattr(given, name) for name in said - _FIXED - {"max_flops"}}
    if "budget" not in said:  # what the project may spend has its place in the ledger
        update["budget"] = None
    if "runs" not in said:
        # found from any working directory
        beside = folder.path.resolve().parent
        update["runs"] = beside if (beside / FILE_NAME).is_file() else stored.runs
    if stored.dtype == "auto":  # what was chosen then, not what this moment's probe says
        dtype = folder.read_environment().get("dtype")
        update["dtype"] = dtype if dtype in ("float32", "bfloat16") else "auto"
    if stored.data == Path("-") and "data" not in said:
        raise DataError(
            f"{folder.path}: its data came from standard input, which is gone",
            "Pipe it in again: lvlora train - --resume RUN < FILE.",
        )
    return stored.model_copy(update=update)
