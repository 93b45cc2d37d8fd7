"""The public names and their homes: type checkers read them here, and `__init__` loads them."""

from .answers import Price as Price
from .data.dataset import Dataset as Dataset
from .data.dataset import Series as Series
from .data.frames import from_arrays as from_arrays
from .data.frames import from_frame as from_frame
from .data.known import with_known as with_known
from .data.settings import SimulateSettings as SimulateSettings
from .errors import BudgetError as BudgetError
from .errors import DataError as DataError
from .errors import LvloraError as LvloraError
from .errors import ModelError as ModelError
from .errors import RunStopped as RunStopped
from .errors import SettingsError as SettingsError
from .evaluation.answers import Evaluation as Evaluation
from .flops.ledger import spent as spent
from .flops.settings import FlopsSettings as FlopsSettings
from .forecast.dataset_forecast import DatasetForecast as DatasetForecast
from .forecast.forecaster import Forecast as Forecast
from .forecast.forecaster import Forecaster as Forecaster
from .forecast.language_model import open_model as open_model
from .forecast.likelihood import Score as Score
from .forecast.likelihood import negative_log_likelihood as negative_log_likelihood
from .forecast.sampling import Sampling as Sampling
from .forecast.settings import ForecastSettings as ForecastSettings
from .model.adapters import AdapterInfo as AdapterInfo
from .programs import charged as charged
from .programs import count_flops as count_flops
from .programs import evaluate as evaluate
from .programs import predict as predict
from .programs import read as read
from .programs import read_adapter as read_adapter
from .programs import search as search
from .programs import simulate as simulate
from .programs import write as write
from .sweep.record import Sweep as Sweep
from .sweep.settings import SweepSettings as SweepSettings
from .train.fine_tune import fine_tune as fine_tune
from .train.record import Observer as Observer
from .train.record import Result as Result
from .train.record import RunPlan as RunPlan
from .train.record import StepRecord as StepRecord
from .train.record import ValidationRecord as ValidationRecord
from .train.settings import TrainSettings as TrainSettings

__version__: str
