"""lvlora: LoRA fine-tuning of small language models for trajectories written as text.

What a program needs of the package is here by name; docs/python.md shows it. A name is loaded when
it is first used: ``import lvlora`` imports nothing heavy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from lvlora.errors import BudgetError as BudgetError
    from lvlora.errors import DataError as DataError
    from lvlora.errors import LvloraError as LvloraError
    from lvlora.errors import ModelError as ModelError
    from lvlora.errors import RunStopped as RunStopped
    from lvlora.errors import SettingsError as SettingsError
    from lvlora.evaluation.answers import Evaluation as Evaluation
    from lvlora.evaluation.scores import Entry as Entry
    from lvlora.flops.budget import Price as Price
    from lvlora.flops.ledger import spent as spent
    from lvlora.forecast.answers import Forecasts as Forecasts
    from lvlora.forecast.density import next_step as next_step
    from lvlora.forecast.forecast import Forecast as Forecast
    from lvlora.forecast.forecast import to_rows as to_rows
    from lvlora.forecast.forecaster import Forecaster as Forecaster
    from lvlora.forecast.likelihood import Score as Score
    from lvlora.forecast.likelihood import negative_log_likelihood as negative_log_likelihood
    from lvlora.forecast.open_model import open_model as open_model
    from lvlora.forecast.sampling import Sampling as Sampling
    from lvlora.model.adapters.files import AdapterInfo as AdapterInfo
    from lvlora.programs import charged as charged
    from lvlora.programs import count_flops as count_flops
    from lvlora.programs import evaluate as evaluate
    from lvlora.programs import predict as predict
    from lvlora.programs import read as read
    from lvlora.programs import read_adapter as read_adapter
    from lvlora.programs import search as search
    from lvlora.programs import simulate as simulate
    from lvlora.programs import write as write
    from lvlora.series.dataset import Dataset as Dataset
    from lvlora.series.dataset import Series as Series
    from lvlora.series.disturbance import Disturbance as Disturbance
    from lvlora.series.frames import from_arrays as from_arrays
    from lvlora.series.frames import from_frame as from_frame
    from lvlora.series.known import with_known as with_known
    from lvlora.settings.data import FlopsSettings as FlopsSettings
    from lvlora.settings.data import SimulateSettings as SimulateSettings
    from lvlora.settings.forecasting import ForecastSettings as ForecastSettings
    from lvlora.settings.keywords import FlopsKeywords as FlopsKeywords
    from lvlora.settings.keywords import ForecastKeywords as ForecastKeywords
    from lvlora.settings.keywords import SimulateKeywords as SimulateKeywords
    from lvlora.settings.keywords import SweepKeywords as SweepKeywords
    from lvlora.settings.keywords import TrainKeywords as TrainKeywords
    from lvlora.settings.training import SweepSettings as SweepSettings
    from lvlora.settings.training import TrainSettings as TrainSettings
    from lvlora.sweep.answers import Sweep as Sweep
    from lvlora.train.answers import Result as Result
    from lvlora.train.fine_tune import fine_tune as fine_tune
    from lvlora.train.observer import Observer as Observer
    from lvlora.train.observer import RunPlan as RunPlan
    from lvlora.train.observer import Silent as Silent
    from lvlora.train.observer import StepRecord as StepRecord
    from lvlora.train.observer import ValidationRecord as ValidationRecord

_HOMES = {
    "lvlora.errors": (
        "BudgetError",
        "DataError",
        "LvloraError",
        "ModelError",
        "RunStopped",
        "SettingsError",
    ),
    "lvlora.flops.budget": ("Price",),
    "lvlora.flops.ledger": ("spent",),
    "lvlora.forecast.answers": ("Forecasts",),
    "lvlora.forecast.sampling": ("Sampling",),
    "lvlora.forecast.density": ("next_step",),
    "lvlora.evaluation.answers": ("Evaluation",),
    "lvlora.evaluation.scores": ("Entry",),
    "lvlora.forecast.forecaster": ("Forecaster",),
    "lvlora.forecast.forecast": ("Forecast", "to_rows"),
    "lvlora.forecast.likelihood": ("Score", "negative_log_likelihood"),
    "lvlora.forecast.open_model": ("open_model",),
    "lvlora.model.adapters.files": ("AdapterInfo",),
    "lvlora.programs": (
        "charged",
        "count_flops",
        "evaluate",
        "predict",
        "read",
        "read_adapter",
        "search",
        "simulate",
        "write",
    ),
    "lvlora.series.dataset": ("Dataset", "Series"),
    "lvlora.series.disturbance": ("Disturbance",),
    "lvlora.series.known": ("with_known",),
    "lvlora.series.frames": ("from_arrays", "from_frame"),
    "lvlora.settings.data": ("FlopsSettings", "SimulateSettings"),
    "lvlora.settings.forecasting": ("ForecastSettings",),
    "lvlora.settings.training": ("SweepSettings", "TrainSettings"),
    "lvlora.settings.keywords": (
        "FlopsKeywords",
        "ForecastKeywords",
        "SimulateKeywords",
        "SweepKeywords",
        "TrainKeywords",
    ),
    "lvlora.sweep.answers": ("Sweep",),
    "lvlora.train.observer": ("Observer", "RunPlan", "Silent", "StepRecord", "ValidationRecord"),
    "lvlora.train.answers": ("Result",),
    "lvlora.train.fine_tune": ("fine_tune",),
}
"""Module → the public names that are at home there."""

_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = ["__version__", *sorted(_HOME_OF)]


def __getattr__(name: str) -> Any:
    """Load a public name's module when the name is first used."""
    from importlib import import_module

    if name not in _HOME_OF:
        raise AttributeError(f"module 'lvlora' has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
