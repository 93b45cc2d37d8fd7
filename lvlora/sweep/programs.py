"""`lvlora.search`: the verb for programs, with data and a space of their own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Unpack

from lvlora.errors import SettingsError
from lvlora.series.dataset import Dataset
from lvlora.series.known import read_known
from lvlora.settings.checked import checked
from lvlora.settings.keywords import SweepKeywords
from lvlora.settings.spoken import for_programs
from lvlora.settings.training import SweepSettings
from lvlora.sweep import answers
from lvlora.sweep.narrator import Silent, SweepNarrator
from lvlora.sweep.search import run_search
from lvlora.sweep.space_file import space_of
from lvlora.train.process import undisturbed


@for_programs()
def search(
    data: Dataset | str | Path,
    *,
    space: Mapping[str, Any] | str | Path | None = None,
    narrator: SweepNarrator | None = None,
    **settings: Unpack[SweepKeywords],
) -> answers.Sweep:
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
