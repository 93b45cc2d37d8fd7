"""The verbs: a data set's futures, and what they would cost."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lvlora.answers import NOTHING, Price
from lvlora.data.dataset import Dataset, Series
from lvlora.data.known import known_ahead
from lvlora.data.splits import split_of
from lvlora.errors import BudgetError, SettingsError
from lvlora.flops.ledger import check_limits, entries
from lvlora.forecast import likelihood
from lvlora.forecast.answers import ForecastPrice, Forecasts, ForecastTiming
from lvlora.forecast.calibration import own
from lvlora.forecast.calibration.widths import Widths
from lvlora.forecast.dataset_forecast import DatasetForecast, series_records
from lvlora.forecast.estimate import (
    FORECASTING,
    Benchmark,
    benchmark_forecasts,
    ledger_rate,
    price_answer,
)
from lvlora.forecast.files import check_samples, paths, write
from lvlora.forecast.forecaster import Forecaster, PlannedForecasts, in_order
from lvlora.forecast.holdout import CHEAP, Hindcast, Truth, hold_out, scores
from lvlora.forecast.language_model import LanguageModel
from lvlora.forecast.open_model import open_outlined, warn_of_reading, warn_of_seen
from lvlora.forecast.plan import OutlinedModel
from lvlora.forecast.sampling import Sampling
from lvlora.forecast.settings import ForecastSettings
from lvlora.forecast.usage import reserved
from lvlora.forecast.workers import processes
from lvlora.model import devices
from lvlora.model.choice import Choice, choose
from lvlora.narrator import Narrator
from lvlora.settings.shared import SplitSettings


def forecast(
    settings: ForecastSettings, read: Callable[[], Dataset], narrator: Narrator
) -> DatasetForecast:
    """Forecast a data set's series, charge it to the ledger, and write the files asked for.

    Args:
        read: gives the data; called once, after all that can be refused without them was.

    Raises:
        SettingsError: options contradict each other.
        DataError: a series cannot be read, or is too short for what is held out.
        ModelError: model, adapter or calibration are not there, or are not for each other.
        BudgetError: a limit would be passed; nothing was spent.
        NumericalError: the model gives no finite numbers.
    """
    job = _open(settings, read, narrator)
    settings, data, futures, model = job.settings, job.data, job.futures, job.model
    begin, nll = time.perf_counter(), None
    past, n_units = job.hindcast, job.planned.n_units
    n_units += 0 if past is None else past.planned.n_units
    with _reserved(job), _sharing(job), narrator.counted("Forecasting", n_units) as advance:
        parts = list(job.planned.parts(advance))
        if futures and model is not None and model is job.forecaster:
            nll = likelihood.negative_log_likelihood(
                model, data.series, futures, context=settings.context
            )
        seconds = time.perf_counter() - begin
        past_parts = [] if past is None else list(past.planned.parts(advance))
    forecasts = [one.named(data) for one in in_order(parts)]
    truth = Truth(futures, nll) if futures else None
    # these are in the answer only where the command asks for them
    more: dict[str, Any] = {}
    if job.calibration is not None:
        forecasts = [job.calibration.apply(one) for one in forecasts]
        more["calibration"] = job.calibration.facts
    if job.forecaster is not model:
        more["forecaster"] = job.forecaster.name
    if members := [member for part in parts for member in part.members]:
        more["members"] = members
    if truth is not None:
        more["scores"] = scores(data, truth, forecasts, settings.quantiles, settings.season)
    if past is not None:
        more["hindcast"] = past.scored(in_order(past_parts), settings.quantiles, settings.season)
    record = Forecasts(
        series=series_records(data, forecasts, settings.quantiles, truth),
        model=None if model is None else model.facts(),
        horizon=settings.n_steps,
        samples=Sampling.of(settings).n_futures,
        **more,
        flops=NOTHING if model is None else model.usage.price,
        timing=ForecastTiming(
            load_seconds=job.load_seconds,
            prefill_seconds=0.0 if model is None else model.usage.trace.prefill_seconds,
            decode_seconds=seconds,
        ),
        files=paths(settings),
    )
    result = DatasetForecast(record, data, forecasts, settings.quantiles, truth)
    write(settings, result)
    return result


def price(
    settings: ForecastSettings,
    read: Callable[[], Dataset],
    narrator: Narrator,
    *,
    began: float | None = None,
) -> ForecastPrice:
    """Return the price bound of `forecast`, and an estimate of its time.

    The price follows from the model's outline. There is no time without weights.

    Args:
        began: when the command did, by `time.perf_counter`; default: now.

    Raises:
        As `forecast`, but for a budget.
    """
    began = time.perf_counter() if began is None else began
    job = _open(settings, read, narrator, weights=False)
    settings, model, started = job.settings, job.model, time.perf_counter() - began
    prices: dict[str, Price] = {}
    benchmarks: dict[str, Benchmark] | None = None
    if job.outlined is not None:
        prices[job.outlined.name] = job.price_bound
        if model is None:
            narrator.note("The weights are not here, so time and memory were not measured.")
        else:
            benchmarks = {
                model.name: benchmark_forecasts(
                    model,
                    job.data.series,
                    settings.n_steps,
                    Sampling.of(settings),
                    context=settings.context,
                    rate=ledger_rate(entries(settings.runs), FORECASTING, model.base),
                )
            }
    draws = settings.plot is not None
    return price_answer(prices, benchmarks, started, n_series=len(job.data), draws=draws)


def price_bound(
    settings: ForecastSettings, read: Callable[[], Dataset], narrator: Narrator
) -> tuple[Price, int]:
    """Return the most that `forecast` can spend, and the number of series.

    Raises:
        As `forecast`, but for a budget.
    """
    job = _open(settings, read, narrator, weights=False)
    return job.price_bound, len(job.data)


@dataclass(frozen=True)
class _Job:
    """Histories, who forecasts them, and the plan.

    Attributes:
        settings: with the steps that the data ask for.
        data: the series that were chosen, without what is held out of them.
        futures: what is held out, a series each; none if nothing is.
        outlined: the language model, if there is one; model: the same where its weights are here.
        planned: the forecasts.
        hindcast: of the history's own last steps, where that is cheap.
        price_bound: of all that the model will do.
        calibration: of the intervals, where the settings ask for it.
        load_seconds: until the model was there.
    """

    settings: ForecastSettings
    data: Dataset
    futures: list[Series]
    forecaster: Forecaster
    outlined: OutlinedModel | None
    planned: PlannedForecasts
    hindcast: Hindcast | None
    price_bound: Price
    calibration: Widths | None
    load_seconds: float

    @property
    def model(self) -> LanguageModel | None:
        """The language model with its weights."""
        return self.outlined if isinstance(self.outlined, LanguageModel) else None


def _open(
    settings: ForecastSettings,
    read: Callable[[], Dataset],
    narrator: Narrator,
    *,
    weights: bool = True,
) -> _Job:
    """Read the data, open the forecaster, plan its forecasts, and tell what may surprise.

    Of known columns the horizon is as far as every one of them is known, unless it was said.

    Args:
        weights: a model without them is an error.
    """
    check(settings)
    whole = read()
    data = whole if settings.series is None else whole.named(settings.series)
    futures: list[Series] = []
    if settings.holdout is not None:
        data, futures = hold_out(data, settings.holdout, settings.n_steps)
    elif whole.known:
        n_ahead = min(s.n_ahead for s in data)
        if settings.horizon is None and n_ahead:
            settings = settings.model_copy(update={"horizon": n_ahead})
        for series in data:
            known_ahead(series, settings.n_steps, whole.known)
    choice: Choice | None = None
    outlined: OutlinedModel | None = None
    begin = time.perf_counter()
    if settings.forecaster in ("lm", "auto"):
        devices.set_threads(settings.threads)
        choice = choose(settings, settings.runs, whole, narrator.note)
        outlined = open_outlined(choice, settings, weights=weights)
    seconds = time.perf_counter() - begin
    forecaster = _forecaster(settings, data, outlined, narrator)
    histories, sampling = data.series, Sampling.of(settings)
    planned = forecaster.planned(
        histories, [settings.n_steps] * len(histories), sampling, context=settings.context
    )
    bound, calibration = planned.price_bound, None
    if outlined is not None and outlined is forecaster and futures:
        bound += likelihood.price(outlined, histories, futures, context=settings.context)
    hindcast = None
    if choice is not None and outlined is forecaster and not futures:
        hindcast = _hindcast(settings, whole, data, choice, forecaster, bound)
        bound += NOTHING if hindcast is None else hindcast.planned.price_bound
    if choice is not None and isinstance(outlined, LanguageModel):
        warn_of_reading(
            outlined,
            histories,
            planned.readings,
            settings.n_steps,
            narrator,
            variables=data.variables,
            known=data.known,
            context=settings.context,
        )
        if futures and choice.info is not None:
            ids, split = [s.id for s in data], split_of(whole, SplitSettings())
            warn_of_seen([choice.info], whole.sha256(), split, ids, narrator)
        several = sampling.n_futures > 1
        if outlined.widths is not None and several and not outlined.widths.serves(sampling):
            narrator.note(
                "The widths that the model's folder brings are for temperature 1 and top-p 1: "
                "futures stay as drawn."
            )
        if settings.calibrated:
            calibration, facts = own.load(outlined, choice.info, settings.runs, data.variables)
            facts.note_to(narrator, sampling, settings.n_steps)
    return _Job(
        settings,
        data,
        futures,
        forecaster,
        outlined,
        planned,
        hindcast,
        bound,
        calibration,
        seconds,
    )


def _hindcast(
    settings: ForecastSettings,
    whole: Dataset,
    data: Dataset,
    choice: Choice,
    model: Forecaster,
    bound: Price,
) -> Hindcast | None:
    """Plan the hindcast; None where it is not cheap, not possible, or says nothing.

    It costs at most as much as the forecasts and `CHEAP`, and no limit is passed for it. An adapter
    that was trained on the data knows the steps already.

    Args:
        bound: price bound of the forecasts.
    """
    seen = choice.info is not None and choice.info.facts.get("data_sha256") == whole.sha256()
    if settings.no_hindcast or seen:
        return None
    hindcast = Hindcast.plan(
        model, data, settings.n_steps, Sampling.of(settings), context=settings.context
    )
    if hindcast is None:
        return None
    price = hindcast.planned.price_bound
    if price.executed > min(CHEAP, bound.executed):
        return None
    try:
        check_limits(settings, bound + price, max_flops=settings.max_flops)
    except BudgetError:
        return None
    return hindcast


def _forecaster(
    settings: ForecastSettings,
    data: Dataset,
    model: OutlinedModel | None,
    narrator: Narrator,
) -> Forecaster:
    """Return the forecaster that the settings name."""
    if settings.forecaster == "lm" and model is not None:
        return model
    # and with them all rivals, which no other forecast waits for
    from lvlora.forecast import ensemble
    from lvlora.forecast.rivals import rival_for

    if model is not None:
        members = ensemble.members_for(data, settings.season)
        return ensemble.Ensemble([model, *members], settings.patience)
    rival = rival_for(settings.forecaster, data, settings.season)
    if data.known and not rival.uses_known:
        narrator.warning(
            f"{rival.name} has no use for known columns ({', '.join(data.known)}): they are "
            "left out."
        )
    return rival


def _reserved(job: _Job) -> contextlib.AbstractContextManager[object]:
    """Reserve what a model may spend; nobody else spends."""
    if job.model is None:
        return contextlib.nullcontext()
    return reserved(job.settings, job.model, job.price_bound, command="forecast")


def _sharing(job: _Job) -> contextlib.AbstractContextManager[object]:
    """Let slow rivals share their series among processes."""
    if job.forecaster is job.outlined:
        return contextlib.nullcontext()
    return processes(devices.cores())


def check(settings: ForecastSettings) -> None:
    """Refuse what does not go together.

    Raises:
        SettingsError: it does not.
    """
    check_samples(settings.samples_out)
    if settings.forecaster != "lm":
        as_drawn = settings.as_drawn and settings.forecaster != "auto"
        for option, is_set in (("calibrated", settings.calibrated), ("as-drawn", as_drawn)):
            if is_set:
                raise SettingsError(
                    f"--forecaster {settings.forecaster} and --{option}: that is of the language "
                    "model alone.",
                    "Leave one of them out.",
                )
    if settings.holdout is not None and settings.n_steps > settings.holdout:
        raise SettingsError(
            f"--horizon {settings.n_steps}: only {settings.holdout} steps are held out",
            "Leave --horizon out, or hold more steps out.",
        )
    if settings.calibrated and (settings.greedy or settings.samples < 2):
        raise SettingsError("--calibrated: one future has no intervals.", "Draw some --samples.")
