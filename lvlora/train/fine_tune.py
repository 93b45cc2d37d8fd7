"""A run from its new folder to its result, which leaves nothing where it was refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from lvlora import durable
from lvlora.errors import BudgetError
from lvlora.flops.ledger import Ledger
from lvlora.model.devices import set_threads
from lvlora.report.run.page import draw_run
from lvlora.settings.toml_text import to_toml
from lvlora.train.loaded import Loaded
from lvlora.train.observer import Observer
from lvlora.train.plan import Plan
from lvlora.train.progress import Result
from lvlora.train.ranks import ALONE, Ranks
from lvlora.train.run import Run
from lvlora.train.run_folder import RunFolder, create
from lvlora.train.trackers.tracked import tracked
from lvlora.train.validation_file import add_rivals


@dataclass(frozen=True)
class Finished:
    """A run that made all the steps that it could.

    Attributes:
        folder: where it is now.
        payload: what ``lvlora train --json`` prints and result.json keeps.
        note: what a person should know about where it is; may be empty.
    """

    result: Result
    folder: RunFolder
    payload: dict[str, Any]
    note: str


def begin(
    loaded: Loaded, sources: Mapping[str, str], observer: Observer, ranks: Ranks = ALONE
) -> Run:
    """A run in a new folder that says all that is needed to repeat it.

    The folder is this process's before anything is written into it.

    Args:
        sources: name of a setting -> where its value came from.
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
    folder.write_environment(str(placement.device), set_threads(None), dtype)


def carry_out(run: Run) -> Finished:
    """Train to the end, compare with rivals, draw the page, and keep the result.

    A run that replaces another takes its place when all of that is done.

    Raises:
        BudgetError: a limit would be passed; nothing was spent, and a new run's folder is gone.
        LvloraError: as `Run.train`; the run can go on.
    """
    plan, folder = run.plan, run.folder
    settings = plan.settings
    try:
        result = run.train()
    except BudgetError:
        if not run.resumed:
            folder.remove_if_nothing_was_done()
        raise
    if plan.part is not None:
        learning = plan.dataset.select(plan.split.train)
        add_rivals(folder.validation, plan.part.scored, learning)
    written = draw_run(folder.path)
    if result.stopped_by_limit:
        folder.make_latest(settings.runs)
        return Finished(result, folder, payload_of(result, folder, written), "")
    target, obstacle = folder.target(settings)
    here = folder.path
    result = replace(result, adapter=str(target.adapter))
    payload = payload_of(result, target, [target.path / f.relative_to(here) for f in written])
    folder.write_result(payload)
    if target != folder:
        folder.take_place_of(target)
    target.make_latest(settings.runs)
    return Finished(result, target, payload, obstacle)


def payload_of(result: Result, folder: RunFolder, written: list[Path]) -> dict[str, Any]:
    """A finished run as JSON."""
    return {
        **asdict(result),
        "folder": str(folder.path),
        "files": [str(path) for path in written],
    }
