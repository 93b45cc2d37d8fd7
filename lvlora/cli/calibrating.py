"""What --calibrate and --calibrated do in baseline and evaluate.

Knows: settings, what to say. Does not know: offsets, files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lvlora.cli import numbers
from lvlora.cli.output import Output
from lvlora.errors import SettingsError
from lvlora.settings import BaselineSettings, EvaluateSettings

if TYPE_CHECKING:
    from lvlora.cli.contenders import Contender
    from lvlora.forecast.calibration import Calibration
    from lvlora.forecast.evaluation import Entry, Task
    from lvlora.forecast.forecaster import Forecaster

ScoringSettings = EvaluateSettings | BaselineSettings


def check_part(settings: ScoringSettings) -> None:
    """Refuse, before any work, what cannot or must not be calibrated."""
    for option, wanted in (
        ("--calibrate", settings.calibrate), ("--calibrated", settings.calibrated),
    ):  # fmt: skip
        if wanted and not settings.with_model:
            raise SettingsError(
                f"{option}: there is no model with --no-model.", "Leave one of the two out."
            )
        if wanted and (settings.greedy or settings.samples < 2):
            raise SettingsError(f"{option}: one future has no intervals.", "Draw some --samples.")
    if settings.calibrate and settings.split in ("train", "test"):
        why = "the model has seen" if settings.split == "train" else "is for the final table"
        raise SettingsError(
            f"--calibrate: the {settings.split} part {why}",
            "Use --split validation, or a file of its own with --split all.",
        )


def calibration_for(
    contender: Contender, forecaster: Forecaster, settings: ScoringSettings
) -> Calibration | None:
    """The calibration that --calibrated asks for, before anything is spent.

    Raises:
        ModelError: there is none for this model.
    """
    if not settings.calibrated:
        return None
    from lvlora.forecast import calibration_files

    found = calibration_files.load(forecaster.base, contender.choice.info, settings.runs)
    found.check(settings.quantiles, settings.steps[1])
    return found


def calibrate(
    entry: Entry,
    contender: Contender,
    forecaster: Forecaster,
    *,
    given: Task,
    settings: ScoringSettings,
    calibration: Calibration | None,
    output: Output,
) -> None:
    """Set the coverage of calibrated intervals; make and keep a new calibration."""
    from lvlora.forecast import calibration_files
    from lvlora.forecast.covering import calibrate_entry, coverage

    if calibration is not None:
        entry.calibrated_coverage = coverage(
            entry, given, forecaster, calibration, settings.quantiles
        )
    if not settings.calibrate:
        return
    facts = {
        "split": settings.split,
        "series": len(given.ids),
        "context": given.protocol.context,
        "horizon": given.protocol.horizon,
        "variables": list(given.variables),
        "samples": settings.samples,
        "temperature": settings.temperature,
        "top_p": settings.top_p,
        "views": settings.views,
        "decimals": forecaster.decimals,
        "number_format": forecaster.number_format,
        "scale": "history" if forecaster.scale is None else "dataset",
        "coverage_before": {f"{x:g}": c for x, c in entry.scores.coverage.items()},
    }
    made = calibrate_entry(entry, given, forecaster, settings.quantiles, facts)
    path = calibration_files.place_of(forecaster.base, contender.choice.info, settings.runs)
    calibration_files.save(path, made, forecaster.base, contender.choice.info)
    covered = ", ".join(
        f"{100 * level:g} % intervals covered {numbers.share(share)}"
        for level, share in entry.scores.coverage.items()
    )
    output.note(f"{entry.name}: {covered}; calibrated by {len(given.ids)} series: {path}")
