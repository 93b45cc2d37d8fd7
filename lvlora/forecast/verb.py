"""The verbs: a data set's futures, the density of its next values, and what either would cost."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lvlora import numbers
from lvlora.answers import NOTHING, Price
from lvlora.data.dataset import Dataset, Series
from lvlora.data.known import known_ahead
from lvlora.data.splits import split_of
from lvlora.errors import SettingsError
from lvlora.flops.ledger import entries
from lvlora.forecast import density, likelihood
from lvlora.forecast.answers import (
    ForecastDensity,
    ForecastPrice,
    Forecasts,
    ForecastTiming,
    Timing,
)
from lvlora.forecast.calibration import own
from lvlora.forecast.calibration.widths import Widths
from lvlora.forecast.dataset_forecast import (
    DatasetDensity,
    DatasetForecast,
    density_records,
    series_records,
)
from lvlora.forecast.estimate import (
    FORECASTING,
    Benchmark,
    benchmark_forecasts,
    ledger_rate,
    price_answer,
)
from lvlora.forecast.files import check_samples, paths, write
from lvlora.forecast.forecaster import Forecaster, PlannedForecasts, in_order
from lvlora.forecast.holdout import Truth, hold_out, scores
from lvlora.forecast.language_model import LanguageModel, OutlinedModel
from lvlora.forecast.open_model import open_forecaster, warn_of_reading, warn_of_seen
from lvlora.forecast.plan import DEFAULT_DECIMALS, Plan
from lvlora.forecast.sampling import Sampling
from lvlora.forecast.settings import ForecastSettings
from lvlora.forecast.usage import reserved
from lvlora.model import devices
from lvlora.model.choice import Choice, choose
from lvlora.model.loading import has_weights, outline
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
    with contextlib.ExitStack() as stack:
        opened = _open(_request(settings, read, narrator), narrator, stack)
        request, model, planned = opened.request, opened.model, opened.planned
        settings, dataset, futures = request.settings, request.histories, request.futures
        histories, sampling = list(dataset), Sampling.of(settings)
        begin = time.perf_counter()
        nll = None
        with (
            _reserved(opened),
            narrator.counted("Forecasting", planned.n_units) as advance,
        ):
            parts = list(planned.parts(advance))
            forecasts = in_order(parts)
            if futures and model is not None and model is opened.forecaster:
                nll = likelihood.negative_log_likelihood(
                    model, histories, futures, context=settings.context
                )
        seconds = time.perf_counter() - begin
    truth = Truth(futures, nll) if futures else None
    if opened.calibration is not None:
        forecasts = [opened.calibration.apply(f) for f in forecasts]
    forecasts = [forecast.named(dataset) for forecast in forecasts]
    # these are in the answer only where the command asks for them
    more: dict[str, Any] = {}
    if opened.forecaster is not model:
        more["forecaster"] = opened.forecaster.name
    if members := [member for part in parts for member in part.members]:
        more["members"] = members
    if truth is not None:
        more["scores"] = scores(histories, truth, forecasts, settings.quantiles, settings.season)
    if opened.calibration is not None:
        more["calibration"] = opened.calibration.facts
    record = Forecasts(
        series=series_records(dataset, forecasts, settings.quantiles, truth),
        model=None if model is None else model.facts(),
        horizon=settings.n_steps,
        samples=sampling.n_futures,
        **more,
        flops=(NOTHING if model is None else model.usage.price),
        timing=ForecastTiming(
            load_seconds=opened.load_seconds,
            prefill_seconds=0.0 if model is None else model.usage.trace.prefill_seconds,
            decode_seconds=seconds,
        ),
        files=paths(settings),
    )
    result = DatasetForecast(record, dataset, forecasts, settings.quantiles, truth)
    write(settings, result)
    return result


def next_step_density(
    settings: ForecastSettings, read: Callable[[], Dataset], narrator: Narrator
) -> DatasetDensity:
    """The exact distribution of each series' next values, charged and written as `forecast` does.

    Raises:
        As `forecast`.
    """
    opened = _open(_request(settings, read, narrator), narrator, contextlib.ExitStack())
    settings, dataset = opened.request.settings, opened.request.histories
    forecaster = opened.model
    assert forecaster is not None  # nobody else has a density
    histories, calls = list(dataset), settings.density_calls
    at_most = opened.price_bound
    n_values = len(histories) * len(dataset.variables)
    narrator.note(
        f"At most {calls:,} calls of the model for each of {n_values:,} values, "
        f"{numbers.flops(at_most.executed)} FLOPs in all."
    )
    begin = time.perf_counter()
    densities: list[list[density.Density]] = []
    with (
        _reserved(opened),
        narrator.counted("Walking the digits", len(histories)) as advance,
    ):
        for history in histories:
            densities += density.next_step(
                forecaster,
                [history],
                threshold=settings.density_floor,
                calls=calls,
                context=settings.context,
            )
            advance(1)
    seconds = time.perf_counter() - begin
    cut = [one for of_series in densities for one in of_series if one.cut > 0]
    if cut:
        worst = max(cut, key=lambda one: one.cut)
        narrator.warning(
            f"{len(cut)} of {n_values} distributions were not walked to their end: of "
            f"{worst.series}, {dataset.variables[worst.variable]}, {numbers.share(worst.cut)} of "
            f"the mass lies behind what {calls:,} calls reached (--density-calls)."
        )
    record = ForecastDensity(
        series=density_records(dataset, densities, settings.quantiles),
        model=forecaster.facts(),
        density_floor=settings.density_floor,
        density_calls=calls,
        flops=forecaster.usage.price,
        timing=Timing(load_seconds=opened.load_seconds, decode_seconds=seconds),
        files=paths(settings),
    )
    result = DatasetDensity(record, dataset, densities)
    write(settings, result)
    return result


def price(
    settings: ForecastSettings,
    read: Callable[[], Dataset],
    narrator: Narrator,
    *,
    began: float | None = None,
) -> ForecastPrice:
    """Return the price bound of `forecast` or `next_step_density`, and an estimate of its time.

    The price follows from the model's outline. There is no time without weights, nor of a density,
    of whose calls nobody knows the number before.

    Args:
        began: when the command did, by `time.perf_counter`; default: now.

    Raises:
        As `forecast`, but for a budget.
    """
    began = time.perf_counter() if began is None else began
    request = _request(settings, read, narrator)
    opened = _open(request, narrator, contextlib.ExitStack(), weights=False)
    settings, histories = request.settings, list(request.histories)
    draws, started = settings.plot is not None, time.perf_counter() - began
    prices: dict[str, Price] = {}
    benchmarks: dict[str, Benchmark] | None = None
    if opened.outlined is not None:
        prices[opened.outlined.name] = opened.price_bound
        if opened.model is None:
            narrator.note("The weights are not here, so time and memory were not measured.")
        elif not settings.density:
            rate = ledger_rate(entries(settings.runs), FORECASTING, opened.model.base)
            measured = benchmark_forecasts(
                opened.model,
                histories,
                settings.n_steps,
                Sampling.of(settings),
                context=settings.context,
                rate=rate,
            )
            benchmarks = {opened.outlined.name: measured}
    return price_answer(prices, benchmarks, started, n_series=len(histories), draws=draws)


@dataclass(frozen=True)
class _Request:
    """Histories and who forecasts them; no weights are there yet.

    Attributes:
        settings: with the steps that the data ask for.
        whole: the data set; histories: the series of it that were chosen, without what is held out
            of them.
        futures: what is held out, a series each; none if nothing is.
        choice: of a model; None where a rival forecasts.
    """

    settings: ForecastSettings
    whole: Dataset
    histories: Dataset
    futures: list[Series]
    choice: Choice | None


@dataclass(frozen=True)
class _Opened:
    """A forecaster and its plan.

    Attributes:
        outlined: the language model, if there is one; model: the same where its weights are here.
        planned: the forecasts; of a density none are.
        price_bound: of all that the model will do.
        calibration: of the intervals, where the settings ask for it.
        load_seconds: until the model was there.
    """

    request: _Request
    forecaster: Forecaster
    outlined: OutlinedModel | None
    planned: PlannedForecasts
    price_bound: Price
    calibration: Widths | None = None
    load_seconds: float = 0.0

    @property
    def model(self) -> LanguageModel | None:
        """The language model with its weights."""
        return self.outlined if isinstance(self.outlined, LanguageModel) else None


def _request(
    settings: ForecastSettings, read: Callable[[], Dataset], narrator: Narrator
) -> _Request:
    """Data and model, after all that can be refused before.

    Of known columns the horizon is as far as every one of them is known, unless it was said.
    """
    check(settings)
    whole = read()
    histories = whole if settings.series is None else whole.named(settings.series)
    futures: list[Series] = []
    if settings.holdout is not None:
        histories, futures = hold_out(histories, settings.holdout, settings.n_steps)
    elif whole.known:
        n_ahead = min(s.n_ahead for s in histories)
        if settings.horizon is None and not settings.density and n_ahead:
            settings = settings.model_copy(update={"horizon": n_ahead})
        for series in histories:
            known_ahead(series, settings.n_steps, whole.known)
    choice = None
    if settings.forecaster in ("lm", "auto"):
        devices.set_threads(settings.threads)
        choice = choose(settings, settings.runs, whole, narrator.note)
    return _Request(settings, whole, histories, futures, choice)


def _open(
    request: _Request,
    narrator: Narrator,
    stack: contextlib.ExitStack,
    *,
    weights: bool = True,
) -> _Opened:
    """Open the forecaster, plan its forecasts, and tell what may surprise.

    Args:
        stack: ends the processes that it starts.
        weights: a model without them is an error.
    """
    settings, data, choice = request.settings, request.histories, request.choice
    begin = time.perf_counter()
    outlined = None if choice is None else _model(choice, settings, weights)
    seconds = time.perf_counter() - begin
    forecaster = _forecaster(settings, data, outlined, narrator, stack)
    histories, sampling = list(data), Sampling.of(settings)
    planned = forecaster.planned(
        histories, [settings.n_steps] * len(histories), sampling, context=settings.context
    )
    bound = _price_bound(request, outlined, planned)
    calibration = None
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
        if request.futures and choice.info is not None:
            ids, split = [s.id for s in data], split_of(request.whole, SplitSettings())
            warn_of_seen([choice.info], request.whole.sha256(), split, ids, narrator)
        if outlined.widths is not None and sampling.n_futures > 1:
            if not outlined.widths.serves(sampling):
                narrator.note(
                    "The widths that the model's folder brings are for temperature 1 and top-p 1: "
                    "futures stay as drawn."
                )
        if settings.calibrated:
            calibration, facts = own.load(outlined, choice.info, settings.runs, data.variables)
            facts.note_to(narrator, sampling, settings.n_steps)
    return _Opened(request, forecaster, outlined, planned, bound, calibration, seconds)


def _model(choice: Choice, settings: ForecastSettings, weights: bool) -> OutlinedModel:
    """The language model, without its weights where they are neither here nor needed."""
    if weights or choice.info is not None or has_weights(choice.source):
        return open_forecaster(
            choice,
            settings,
            settings.decimals,
            max_memory=settings.max_memory,
            missing=settings.missing,
            as_drawn=settings.as_drawn,
        )
    base = outline(choice.source, devices.choose(settings.device, settings.dtype))
    return OutlinedModel(
        Plan(
            base,
            decimals=DEFAULT_DECIMALS if settings.decimals is None else settings.decimals,
            number_format=base.number_format,
            missing=settings.missing,
            max_memory=settings.max_memory,
        )
    )


def _forecaster(
    settings: ForecastSettings,
    data: Dataset,
    model: OutlinedModel | None,
    narrator: Narrator,
    stack: contextlib.ExitStack,
) -> Forecaster:
    """Return the forecaster that the settings name."""
    if settings.forecaster == "lm" and model is not None:
        return model
    # and with them all rivals, which no other forecast waits for
    from lvlora.forecast import ensemble
    from lvlora.forecast.rivals.processes import RivalProcesses

    processes = stack.enter_context(RivalProcesses(devices.cores()))
    if model is not None:
        members = ensemble.members_for(data, settings.season, processes)
        return ensemble.Ensemble([model, *members], settings.patience)
    rival = ensemble.rival_for(settings.forecaster, data, settings.season, processes)
    if data.known and not rival.rival.uses_known:
        narrator.warning(
            f"{rival.name} has no use for known columns ({', '.join(data.known)}): they are "
            "left out."
        )
    return rival


def _price_bound(
    request: _Request, model: OutlinedModel | None, planned: PlannedForecasts
) -> Price:
    """The most that all of it can cost."""
    settings, histories = request.settings, list(request.histories)
    if model is None:
        return NOTHING
    if settings.density:
        return density.at_most(
            model.plan,
            histories,
            threshold=settings.density_floor,
            calls=settings.density_calls,
            context=settings.context,
        )
    if settings.forecaster == "auto" or not request.futures:
        return planned.price_bound
    futures = request.futures
    return planned.price_bound + likelihood.price(
        model.plan, histories, futures, context=settings.context
    )


def _reserved(opened: _Opened) -> contextlib.AbstractContextManager[object]:
    """Reserve what a model may spend; nobody else spends."""
    if opened.model is None:
        return contextlib.nullcontext()
    settings = opened.request.settings
    return reserved(settings, opened.model, opened.price_bound, command="forecast")


def check(settings: ForecastSettings) -> None:
    """Refuse what does not go together.

    Raises:
        SettingsError: it does not.
    """
    check_samples(settings.samples_out)
    if settings.forecaster != "lm":
        _check_forecaster(settings)
    if settings.density:
        _check_density(settings)
    if settings.holdout is not None and settings.n_steps > settings.holdout:
        raise SettingsError(
            f"--horizon {settings.n_steps}: only {settings.holdout} steps are held out",
            "Leave --horizon out, or hold more steps out.",
        )
    if settings.missing and (settings.holdout is not None or settings.calibrated):
        other = "--holdout" if settings.holdout is not None else "--calibrated"
        raise SettingsError(
            f"--missing and {other}: a missing value can be neither scored nor calibrated.",
            "Leave one of them out.",
        )
    if settings.calibrated and (settings.greedy or settings.samples < 2):
        raise SettingsError("--calibrated: one future has no intervals.", "Draw some --samples.")


def _check_forecaster(settings: ForecastSettings) -> None:
    """Refuse options that only a language model's text has an answer to."""
    request = {
        "--density": settings.density,
        "--missing": settings.missing,
        "--calibrated": settings.calibrated,
        "--as-drawn": settings.as_drawn and settings.forecaster != "auto",
    }
    for option, value in request.items():
        if value:
            raise SettingsError(
                f"--forecaster {settings.forecaster} and {option}: that is of the language model "
                "alone.",
                "Leave one of them out.",
            )


def _check_density(settings: ForecastSettings) -> None:
    """Refuse options that ask for futures, which are not drawn for a density."""
    request = {
        "--horizon": settings.horizon not in (None, 1),
        "--holdout": settings.holdout is not None,
        "--calibrated": settings.calibrated,
        "--as-drawn": settings.as_drawn,
        "--samples-out": settings.samples_out is not None,
        "--plot": settings.plot is not None,
        "--greedy": settings.greedy,
    }
    for option, value in request.items():
        if value:
            raise SettingsError(
                f"--density and {option}: the distribution is of the next step, and no future is "
                "drawn.",
                "Leave one of them out.",
            )
