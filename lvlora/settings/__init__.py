"""The frozen, validated settings of every command: one field is one option, one TOML key."""

from lvlora.settings.data import (
    AnalyzeSettings,
    FlopsSettings,
    InputSettings,
    ModelSettings,
    SimulateSettings,
    SplitSettings,
    TokenizeSettings,
)
from lvlora.settings.forecasting import (
    BaselineSettings,
    EvaluateSettings,
    ExportSettings,
    ForecastSettings,
)
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
