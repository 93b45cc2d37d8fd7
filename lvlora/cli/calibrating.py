"""What --calibrate and --calibrated do in baseline, evaluate and forecast.

Knows: settings, what to say. Does not know: offsets, files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lvlora import numbers
from lvlora.cli.terminal.output import Output
from lvlora.errors import SettingsError
from lvlora.settings import BaselineSettings, EvaluateSettings

if TYPE_CHECKING:
    from lvlora.cli.contenders import Contender
    from lvlora.evaluation.protocol import Task
    from lvlora.evaluation.scoring import Entry
    from lvlora.forecast.calibration import Calibration
    from lvlora.forecast.forecaster import Forecaster

ScoringSettings = EvaluateSettings | BaselineSettings


def check_part(settings: ScoringSettings) -> None:
    """Refuse, before any work, what cannot or must not be calibrated."""
    from lvlora.series.disturbance import Disturbance

    for option, wanted in (
        ("--calibrate", settings.calibrate),
        ("--calibrated", settings.calibrated),
    ):
        if wanted and not settings.with_model:
            raise SettingsError(
                f"{option}: there is no model with --no-model.", "Leave one of the two out."
            )
        if wanted and (settings.greedy or settings.samples < 2):
            raise SettingsError(f"{option}: one future has no intervals.", "Draw some --samples.")
    if settings.calibrate and Disturbance.asked(settings):
        raise SettingsError(
            "--calibrate: intervals are calibrated on histories as they are.",
            "Leave out --history-noise, --history-gaps, --history-steps and --hide.",
        )
    if settings.calibrate and settings.split in ("train", "test"):
        why = "the model has seen" if settings.split == "train" else "is for the final table"
        raise SettingsError(
            f"--calibrate: the {settings.split} part {why}",
            "Use --split validation, or a file of its own with --split all.",
        )


def calibration_for(
    contender: Contender,
    forecaster: Forecaster,
    given: Task,
    data_sha256: str,
    settings: ScoringSettings,
    output: Output,
) -> Calibration | None:
    """The calibration that --calibrated asks for, before anything is spent.

    Raises:
        ModelError: there is none for this model.
        SettingsError, DataError: it is for other intervals, steps, formats or data.
    """
    if not settings.calibrated:
        return None
    from lvlora.cli.terminal.progress import Narration
    from lvlora.forecast.calibration_files import load_fitting
    from lvlora.forecast.sampling import Sampling

    found = load_fitting(
        forecaster,
        contender.choice.info,
        settings.runs,
        sampling=Sampling.of(settings),
        quantiles=settings.quantiles,
        horizon=given.protocol.horizon,
        variables=given.variables,
        histories=given.histories,
        narrator=Narration(output),
    )
    if found.facts.get("data_sha256") == data_sha256 and (
        found.facts.get("split") == given.protocol.part
    ):
        output.note("It was made on the series that are scored: of others it may cover less.")
    return found


def calibrate(
    entry: Entry,
    contender: Contender,
    forecaster: Forecaster,
    *,
    given: Task,
    source: str,
    data_sha256: str,
    settings: ScoringSettings,
    calibration: Calibration | None,
    output: Output,
) -> None:
    """Set the coverage of calibrated intervals; make and keep a new calibration."""
    from lvlora.evaluation.coverage import calibrate_entry, coverage
    from lvlora.forecast import calibration_files
    from lvlora.forecast.sampling import Sampling

    if calibration is not None:
        entry.calibrated_coverage = coverage(
            entry, given, forecaster, calibration, settings.quantiles
        )
    if not settings.calibrate:
        return
    made = calibrate_entry(
        entry,
        given,
        forecaster,
        Sampling.of(settings),
        settings.quantiles,
        source=source,
        data_sha256=data_sha256,
        coverage_before={f"{x:g}": c for x, c in entry.scores.coverage.items()},
    )
    info = contender.choice.info
    path = calibration_files.place_of(forecaster.base, info, settings.runs, given.variables)
    calibration_files.save(path, made, forecaster.base, info)
    covered = ", ".join(
        f"{100 * level:g} % intervals covered {numbers.share(share)}"
        for level, share in entry.scores.coverage.items()
    )
    output.note(f"{entry.name}: {covered}; calibrated by {len(given.ids)} series: {path}")
