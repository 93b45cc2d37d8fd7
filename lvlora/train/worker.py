"""Several processes make one run: all plan and load the same, and help the first with each step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.torch import load

from lvlora import durable
from lvlora.errors import EXIT_STOPPED, DataError, NumericalError, SettingsError
from lvlora.model import devices
from lvlora.series.dataset import Dataset
from lvlora.settings.training import TrainSettings
from lvlora.train import checkpoint, loop
from lvlora.train.loop import Loaded, load_run
from lvlora.train.plan import Plan, plan_run
from lvlora.train.process import StopRequest
from lvlora.train.ranks import FailedElsewhere, Ranks

Read = Callable[[TrainSettings], Dataset]
"""Gives the data of a run's settings; asked once, after all that can be refused without them."""


def for_others(settings: TrainSettings, ranks: Ranks) -> dict[str, Any]:
    """The settings for the other processes, as JSON."""
    if ranks.size == 1:
        return {}
    if settings.data == Path("-"):
        raise SettingsError(
            f"DATA -: {ranks.size} processes cannot read one standard input.", "Name a file."
        )
    said = settings.model_dump(mode="json")
    if settings.dtype == "auto":  # a matter of timing, which must not differ
        placement = devices.choose(settings.device, settings.dtype)
        said["dtype"] = str(placement.dtype).removeprefix("torch.")
    return said


def load_together(
    settings: TrainSettings,
    read: Read,
    ranks: Ranks,
    look: Callable[[Plan], None] = lambda plan: None,
) -> Loaded:
    """Plan and load the run in every process, or in none.

    Args:
        look: sees the plan before weights are loaded, and may refuse it.

    Raises:
        FailedElsewhere: another process could not, and says why.
        DataError: this one sees other data or weights than the first.
    """
    with ranks.together():
        plan = plan_run(settings, read(settings))
        ranks.check(settings.batch_size * settings.accumulation)
        look(plan)
        loaded = load_run(plan)
    if ranks.size == 1:
        return loaded
    mine = durable.sha256_of_json(loaded.identity() | {"settings": None})
    if ranks.is_first:
        ranks.say({"identity": mine})
        with ranks.together():
            return loaded
    told, _ = ranks.hear()
    with ranks.together():
        if told["identity"] != mine:
            raise DataError(
                f"process {ranks.rank}: has other data, weights or another device than the first",
                "Every process needs the same files, of the same content.",
            )
    return loaded


def follow(loaded: Loaded, ranks: Ranks) -> None:
    """Make the share of every step that falls to a process that is not the first, and nothing else.

    Raises:
        FailedElsewhere: the run was stopped, or a loss was not finite; the first process says so.
        ProcessLost: another process is gone.
    """
    plan = loaded.plan
    told, content = ranks.hear()
    checkpoint.put_back(load(content), "the first process", loaded.parameters, loaded.optimizers)
    done = loop.steps(
        list(loaded.parameters.values()),
        loaded.optimizers,
        loaded.objective.loss_sum,
        plan.windows,
        plan.learning_rate,
        first=told["step"],
        last=told["last"],
        accumulation=plan.settings.accumulation,
        clip_norm=plan.settings.clip_norm,
        seed=plan.dropout_seed,
        ranks=ranks,
    )
    with StopRequest() as stop:
        while True:
            over, stopped = ranks.agreed(False, stop.requested)
            if over:
                return
            if stopped:
                ranks.wait()  # until all is saved
                raise FailedElsewhere(0, EXIT_STOPPED)
            try:
                next(done)
            except NumericalError as error:
                raise FailedElsewhere(0, error.exit_code) from None
