"""A simulated data set as a file: what `lvlora simulate` writes."""

from __future__ import annotations

from lvlora import output_files
from lvlora.errors import DataError
from lvlora.narrator import Narrator
from lvlora.output_files import STANDARD_OUTPUT
from lvlora.series.answers import Simulate
from lvlora.series.files.readers import FORMATS
from lvlora.series.files.writers import write_dataset
from lvlora.series.simulate import SYSTEMS, simulate
from lvlora.settings.data import SimulateSettings


def check_output(settings: SimulateSettings, *, json: bool = False) -> None:
    """Before the work: whether ``output`` can be written.

    Args:
        json: standard output is needed for an answer.

    Raises:
        DataError: no format has its suffix, or it is there already.
        SettingsError: it can't be written.
    """
    file = settings.output
    if file != STANDARD_OUTPUT and file.suffix.lower() not in FORMATS:
        raise DataError(
            f"{file}: no format is called {file.suffix!r}", f"Use one of {', '.join(FORMATS)}."
        )
    if file.exists() and not settings.overwrite:
        raise DataError(f"{file}: already there", "Use another name, or --overwrite.")
    if file == STANDARD_OUTPUT or file.exists():
        output_files.check("FILE", file, output_files.ANYTHING, dash=True, json=json)


def write_simulated(settings: SimulateSettings, narrator: Narrator) -> Simulate:
    """Simulate, and write the file.

    Raises:
        DataError, SettingsError: as `check_output` does, and of sizes beyond the limits.
    """
    check_output(settings)
    with narrator.counted("Simulating", settings.n_series) as advance:
        dataset = simulate(settings, lambda made: advance(1))
    write_dataset(dataset, settings.output, settings.overwrite)
    return Simulate(
        file=str(settings.output),
        series=len(dataset),
        steps=settings.n_steps,
        variables=list(dataset.variables),
        system=settings.system,
        equations=SYSTEMS[settings.system].equations,
        duration=settings.duration,
        seed=settings.seed,
        bytes=settings.output.stat().st_size,
        sha256=dataset.sha256(),
    )
