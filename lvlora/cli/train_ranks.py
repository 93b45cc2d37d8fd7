"""One run of several processes, as the command line sees it: the same settings, the same data.

Knows: what all processes must agree on before the first step. Does not know: steps.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lvlora import durable
from lvlora.cli.program.inputs import load_dataset
from lvlora.cli.terminal.output import Output
from lvlora.errors import DataError, SettingsError
from lvlora.settings import TrainSettings

if TYPE_CHECKING:
    from lvlora.train.loaded import Loaded
    from lvlora.train.ranks import Ranks


def said_settings(settings: TrainSettings, ranks: Ranks) -> dict[str, Any]:
    """The settings for the other processes, as JSON.

    Raises:
        SettingsError: the data come from standard input, which only one process can read.
    """
    if ranks.size == 1:
        return {}
    from lvlora.model import devices

    if settings.data == Path("-"):
        raise SettingsError(
            f"DATA -: {ranks.size} processes cannot read one standard input.", "Name a file."
        )
    said = settings.model_dump(mode="json")
    if settings.dtype == "auto":  # a matter of timing, which must not differ
        placement = devices.choose(settings.device, settings.dtype)
        said["dtype"] = str(placement.dtype).removeprefix("torch.")
    return said


def prepare_together(settings: TrainSettings, output: Output, ranks: Ranks) -> Loaded:
    """Prepare the run in every process, or in none.

    Raises:
        FailedElsewhere: another process could not, and says why.
        DataError: this one sees other data or weights than the first.
    """
    from lvlora.train.loaded import load_run
    from lvlora.train.plan import plan_run

    with ranks.together():
        loaded = load_run(plan_run(settings, load_dataset(settings, output)))
        ranks.check(settings.batch_size * settings.accumulation)
    if ranks.size == 1:
        return loaded
    identity = loaded.identity() | {"settings": None}
    mine = durable.sha256_of_json(identity)
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
