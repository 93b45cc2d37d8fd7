"""The frozen, validated settings of every command: one field is one option, one TOML key.

Begin with `base.option`: a field says its type, limits, help, panel, and what it affects, from
which identities of runs, studies and charges derive. `data`, `training`, `forecasting` and
`scoring` are the settings themselves; `configuration` finds their values (flag, environment, file,
default), `complaints` says what is wrong with them, `spoken` says it in Python's words. Knows no
typer, models or data.
"""

from lvlora.settings.data import (
    AnalyzeSettings,
    FlopsSettings,
    InputSettings,
    ModelSettings,
    SimulateSettings,
    SplitSettings,
    TokenizeSettings,
)
from lvlora.settings.forecasting import ExportSettings, ForecastSettings
from lvlora.settings.scoring import BaselineSettings, EvaluateSettings
from lvlora.settings.training import SweepSettings, TrainSettings

__all__ = [
    "AnalyzeSettings",
    "BaselineSettings",
    "EvaluateSettings",
    "ExportSettings",
    "FlopsSettings",
    "ForecastSettings",
    "InputSettings",
    "ModelSettings",
    "SimulateSettings",
    "SplitSettings",
    "SweepSettings",
    "TokenizeSettings",
    "TrainSettings",
]
