"""The trajectories that a command was given: a file, standard input, or simulated on the spot.

Knows: what the settings ask for and what to say about it. Does not know: formats, equations.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lvlora.cli.terminal.output import Output
from lvlora.errors import SettingsError
from lvlora.settings import InputSettings, SimulateSettings

if TYPE_CHECKING:
    from lvlora.series.dataset import Dataset


def load_dataset(settings: InputSettings, output: Output) -> Dataset:
    """The data set of ``data``; what the reader had to say is noted on stderr.

    Raises:
        DataError: the file cannot be used.
        SettingsError: standard input is a terminal, where nobody would know to type.
    """
    from lvlora.series.files.readers import read_dataset

    if settings.data is None:
        return _simulated(output)
    if settings.data == Path("-") and sys.stdin.isatty():
        raise SettingsError(
            "standard input is a terminal; there is no CSV to read.",
            "Pipe a file in (… < data.csv), or give its name.",
        )
    dataset = read_dataset(settings.data, settings)
    for note in dataset.notes:
        output.note(note)
    for warning in dataset.warnings:
        output.warning(warning)
    return dataset


def _simulated(output: Output) -> Dataset:
    from lvlora.cli.terminal.progress import counted
    from lvlora.series.simulate import simulate

    settings = SimulateSettings()
    output.note(
        f"No data given: simulating {settings.n_series} trajectories "
        "(lvlora simulate writes them to a file)."
    )
    with counted(output, "Simulating", settings.n_series) as advance:
        return simulate(settings, lambda made: advance(1))
