"""The verbs: a data set's futures, and what they would cost."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

from lvlora.answers import NOTHING, Price
from lvlora.data.dataset import Dataset, Series
from lvlora.data.known import known_ahead
from lvlora.data.splits import split_of
from lvlora.errors import BudgetError, SettingsError
from lvlora.flops.ledger import check_limits, entries
from lvlora.forecast import likelihood, widths
from lvlora.forecast.answers import ForecastPrice, Forecasts, ForecastTiming
from lvlora.forecast.dataset_forecast import (
    CHEAP,
    DatasetForecast,
    Hindcast,
    Truth,
    hold_out,
    named_files,
    scores,
    series_records,
)
from lvlora.forecast.estimate import Benchmark, benchmark_forecasts, price_answer
from lvlora.forecast.forecaster import Forecaster, in_order
from lvlora.forecast.language_model import (
    LanguageModel,
    open_forecaster,
    warn_of_reading,
    warn_of_seen,
)
from lvlora.forecast.plan import DEFAULT_DECIMALS, OutlinedModel
from lvlora.forecast.pricing import reserved
from lvlora.forecast.sampling import Sampling
from lvlora.forecast.settings import ForecastSettings
from lvlora.forecast.workers import processes
from lvlora.model import devices
from lvlora.model.choice import Choice, choose
from lvlora.model.loading import has_weights, outline
from lvlora.narrator import Narrator
from lvlora.output_files import STANDARD_OUTPUT
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
    plan = ForecastPlan(settings, read, narrator)
    settings, data, hindcast = plan.settings, plan.data, plan.hindcast
    model = plan.model if isinstance(plan.model, LanguageModel) else None
    n_units = plan.forecasts.n_units + (0 if hindcast is None else hindcast.planned.n_units)
    begin, nll = time.perf_counter(), None
    with contextlib.ExitStack() as stack:
        if model is not None:
            stack.enter_context(reserved(settings, model, plan.price_bound, command="forecast"))
        if plan.forecaster is not model:  # slow rivals share their series among processes
            stack.enter_context(processes(devices.cores()))
        advance = stack.enter_context(narrator.counted("Forecasting", n_units))
        parts = list(plan.forecasts.parts(advance))
        if plan.futures and model is not None and model is plan.forecaster:
            nll = likelihood.negative_log_likelihood(
                model, data.series, plan.futures, context=settings.context
            )
        seconds = time.perf_counter() - begin
        past_parts = [] if hindcast is None else list(hindcast.planned.parts(advance))
    forecasts = [one.named(data) for one in in_order(parts)]
    truth = Truth(plan.futures, nll) if plan.futures else None
    # these are in the answer only where the command asks for them
    more: dict[str, Any] = {}
    if plan.calibration is not None:
        forecasts = [plan.calibration.apply(one) for one in forecasts]
        more["calibration"] = plan.calibration.facts
    if plan.forecaster is not model:
        more["forecaster"] = plan.forecaster.name
    if members := [member for part in parts for member in part.members]:
        more["members"] = members
    if truth is not None:
        more["scores"] = scores(data, truth, forecasts, settings.quantiles, settings.season)
    if hindcast is not None:
        past = in_order(past_parts)
        more["hindcast"] = hindcast.scored(past, settings.quantiles, settings.season)
    files = [path for path in named_files(settings).values() if path not in (None, STANDARD_OUTPUT)]
    record = Forecasts(
        series=series_records(data, forecasts, settings.quantiles, truth),
        model=None if model is None else model.facts(),
        horizon=settings.n_steps,
        samples=plan.sampling.n_futures,
        **more,
        flops=NOTHING if model is None else model.usage.price,
        timing=ForecastTiming(
            load_seconds=plan.load_seconds,
            prefill_seconds=0.0 if model is None else model.usage.trace.prefill_seconds,
            decode_seconds=seconds,
        ),
        files=[str(path) for path in files],
    )
    result = DatasetForecast(record, data, forecasts, settings.quantiles, truth)
    result.write(settings)
    return result


def price(
    settings: ForecastSettings,
    read: Callable[[], Dataset],
    narrator: Narrator,
    *,
    began: float | None = None,
) -> ForecastPrice:
    """Return the price bound of `forecast`, and an estimate of its time where the weights are here.

    Args:
        began: when the command did, by `time.perf_counter`; default: now.

    Raises:
        As `forecast`, but for a budget.
    """
    began = time.perf_counter() if began is None else began
    plan = ForecastPlan(settings, read, narrator, weights=False)
    settings, model, started = plan.settings, plan.model, time.perf_counter() - began
    benchmarks: dict[str, Benchmark] | None = None
    if isinstance(model, LanguageModel):
        speed = benchmark_forecasts(
            model,
            plan.data.series,
            settings.n_steps,
            plan.sampling,
            context=settings.context,
            entries=entries(settings.runs),
        )
        benchmarks = {model.name: speed}
    elif model is not None:
        narrator.note("The weights are not here, so time and memory were not measured.")
    prices = {} if model is None else {model.name: plan.price_bound}
    draws = settings.plot is not None
    return price_answer(prices, benchmarks, started, n_series=len(plan.data), draws=draws)


class ForecastPlan:
    """Histories, who forecasts them, and the price; what may surprise is warned of.

    Args:
        weights: a model without them is an error.

    Attributes:
        settings: with the steps that the data ask for.
        data: the series to forecast, without what is held out of them.
        futures: what is held out, a series each; none if nothing is.
        model: the language model, if there is one; an outline where its weights are not here.
        hindcast: of the history's own last steps, where that is cheap.
        price_bound: of all that the model will do.
        calibration: of the intervals, where the settings ask for it.

    Raises:
        As `forecast`, but for a budget.
    """

    def __init__(
        self,
        settings: ForecastSettings,
        read: Callable[[], Dataset],
        narrator: Narrator,
        *,
        weights: bool = True,
    ) -> None:
        check(settings)
        all_data = read()
        self.data = all_data if settings.series is None else all_data.named(settings.series)
        self.futures: list[Series] = []
        self.settings = settings = self._cut(settings)
        begin = time.perf_counter()
        choice: Choice | None = None
        self.model: OutlinedModel | None = None
        if settings.forecaster in ("lm", "auto"):
            devices.set_threads(settings.threads)
            choice = choose(settings, settings.runs, all_data, narrator.note)
            self.model = _opened(choice, settings, weights=weights)
        self.load_seconds = time.perf_counter() - begin
        self.forecaster = self._forecaster(narrator)
        self.sampling = Sampling.of(settings)
        data, horizons = self.data, [settings.n_steps] * len(self.data)
        self.forecasts = self.forecaster.planned(
            data.series, horizons, self.sampling, context=settings.context
        )
        self.price_bound: Price = self.forecasts.price_bound
        self.hindcast: Hindcast | None = None
        info = None if choice is None else choice.info
        if self.model is not None and self.model is self.forecaster:
            if self.futures:
                self.price_bound += likelihood.price(
                    self.model, data.series, self.futures, context=settings.context
                )
            # an adapter that was trained on the data knows its last steps already
            elif info is None or info.facts.get("data_sha256") != all_data.sha256():
                self._plan_hindcast(self.model)
        self.calibration: widths.Widths | None = None
        if isinstance(self.model, LanguageModel):
            self._warn(self.model, narrator)
            if self.futures and info is not None:
                ids, split = [s.id for s in data], split_of(all_data, SplitSettings())
                warn_of_seen([info], all_data.sha256(), split, ids, narrator)
            if settings.calibrated:
                self.calibration, facts = widths.calibration_of(
                    self.model, info, settings.runs, data.variables
                )
                facts.note_to(narrator, self.sampling, settings.n_steps)

    def _cut(self, settings: ForecastSettings) -> ForecastSettings:
        """Hold steps out; return the settings, with a horizon as far as all columns are known."""
        if settings.holdout is not None:
            self.data, self.futures = hold_out(self.data, settings.holdout, settings.n_steps)
        elif self.data.known:
            n_ahead = min(s.n_ahead for s in self.data)
            if settings.horizon is None and n_ahead:
                settings = settings.model_copy(update={"horizon": n_ahead})
            for series in self.data:
                known_ahead(series, settings.n_steps, self.data.known)
        return settings

    def _forecaster(self, narrator: Narrator) -> Forecaster:
        """Return the forecaster that the settings name."""
        settings, model, data = self.settings, self.model, self.data
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

    def _plan_hindcast(self, model: OutlinedModel) -> None:
        """Plan the hindcast, unless it is not possible, dearer than the forecasts or `CHEAP`, or
        beyond a limit that the forecasts alone are within.
        """
        settings, bound = self.settings, self.price_bound
        if settings.no_hindcast:
            return
        hindcast = Hindcast.plan(
            model, self.data, settings.n_steps, self.sampling, settings.context
        )
        if hindcast is None:
            return
        price = hindcast.planned.price_bound
        if price.executed > min(CHEAP, bound.executed):
            return
        with contextlib.suppress(BudgetError):
            check_limits(settings, bound + price, max_flops=settings.max_flops)
            self.hindcast, self.price_bound = hindcast, bound + price

    def _warn(self, model: LanguageModel, narrator: Narrator) -> None:
        settings, sampling = self.settings, self.sampling
        readings = self.forecasts.readings
        warn_of_reading(
            model, self.data, readings, settings.n_steps, narrator, context=settings.context
        )
        if model.widths is not None and sampling.n_futures > 1:
            if not model.widths.serves(sampling):
                narrator.note(
                    "The widths that the model's folder brings are for temperature 1 and top-p 1: "
                    "futures stay as drawn."
                )


def _opened(choice: Choice, settings: ForecastSettings, *, weights: bool) -> OutlinedModel:
    """Return the chosen model; its outline where its weights are not here, and need not be."""
    placement = devices.choose(settings.device, settings.dtype)
    if weights or choice.info is not None or has_weights(choice.source):
        return open_forecaster(choice, placement, settings)
    base = outline(choice.source, placement)
    return OutlinedModel(
        base,
        decimals=DEFAULT_DECIMALS if settings.decimals is None else settings.decimals,
        number_format=base.number_format,
        max_memory=settings.max_memory,
    )


def check(settings: ForecastSettings) -> None:
    """Refuse options that contradict each other.

    Raises:
        SettingsError: they do.
    """
    samples_out = settings.samples_out
    if samples_out is not None and samples_out.suffix.lower() != ".csv":
        raise SettingsError(f"--samples-out {samples_out}: is a table", "Name a .csv file.")
    if settings.plot is not None:
        from lvlora.report.drawing.style import check_suffix

        check_suffix(settings.plot)
    as_drawn = settings.as_drawn and settings.forecaster != "auto"
    for option, is_set in (("calibrated", settings.calibrated), ("as-drawn", as_drawn)):
        if is_set and settings.forecaster != "lm":
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
