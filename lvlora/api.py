"""The verbs of the package for programs: what the commands do, without a terminal.

Knows: which rooms make a data set, a run, an evaluation, a price. Does not know: how. `lvlora`
itself gives these names lazily, so that ``import lvlora`` costs nothing. None of them may be called
as a room is (train, flops): importing the room would take the name away.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from lvlora.errors import SettingsError
from lvlora.settings import TrainSettings
from lvlora.settings.checked import checked
from lvlora.settings.spoken import for_programs

if TYPE_CHECKING:
    from lvlora.series.dataset import Dataset
    from lvlora.settings.keywords import TrainKeywords
    from lvlora.train.observer import Observer
    from lvlora.train.progress import Result


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
