"""The trajectories that settings ask for: a file, standard input, or simulated on the spot."""

from __future__ import annotations

import sys
from pathlib import Path

from lvlora.errors import SettingsError
from lvlora.narrator import Narrator
from lvlora.series.dataset import Dataset
from lvlora.series.files.readers import read_dataset
from lvlora.series.known import read_known
from lvlora.series.simulate import simulate
from lvlora.settings.data import InputSettings, KnownSettings, SimulateSettings


def given_dataset(settings: InputSettings, narrator: Narrator) -> Dataset:
    """The data set of ``data``; the narrator is told what the reader had to say.

    Raises:
        DataError: the file cannot be used.
        SettingsError: standard input is a terminal, where nobody would know to type.
    """
    if settings.data is None:
        return _simulated(narrator)
    if settings.data == Path("-") and sys.stdin.isatty():
        raise SettingsError(
            "standard input is a terminal; there is no CSV to read.",
            "Pipe a file in (… < data.csv), or give its name.",
        )
    if isinstance(settings, KnownSettings):
        dataset = read_known(settings.data, settings)
    else:
        dataset = read_dataset(settings.data, settings)
    for note in dataset.notes:
        narrator.note(note)
    for warning in dataset.warnings:
        narrator.warning(warning)
    return dataset


def _simulated(narrator: Narrator) -> Dataset:
    settings = SimulateSettings()
    narrator.note(
        f"No data given: simulating {settings.n_series} trajectories "
        "(lvlora simulate writes them to a file)."
    )
    with narrator.counted("Simulating", settings.n_series) as advance:
        return simulate(settings, lambda made: advance(1))
