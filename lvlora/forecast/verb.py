"""The verbs: a data set's futures, the density of its next values, and what either would cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lvlora import numbers, output_files
from lvlora.errors import SettingsError
from lvlora.flops.budget import NOTHING, Price
from lvlora.forecast import density, likelihood, together
from lvlora.forecast.answers import (
    DensitySeries,
    Distribution,
    ForecastDensity,
    ForecastPrice,
    Forecasts,
    ForecastSeries,
    ForecastTiming,
    Future,
    Scale,
    Timing,
)
from lvlora.forecast.calibration import Calibration
from lvlora.forecast.calibration_files import load_fitting
from lvlora.forecast.estimate import of_forecasts, price_answer
from lvlora.forecast.files import (
    DatasetDensity,
    DatasetForecast,
    check_samples,
    write,
)
from lvlora.forecast.forecast import Forecast
from lvlora.forecast.forecaster import Forecaster
from lvlora.forecast.holdout import Truth, hold_out, scores
from lvlora.forecast.open_model import open_forecaster, warn_of_seen
from lvlora.forecast.reading import cut_note, loss_of_text
from lvlora.forecast.sampling import Sampling
from lvlora.forecast.spending import charged
from lvlora.model.choice import Choice, choose
from lvlora.model.devices import set_threads
from lvlora.narrator import Narrator
from lvlora.series.dataset import Dataset, FloatArray, Series
from lvlora.series.dates import written
from lvlora.series.splits import split_of
from lvlora.settings import ForecastSettings, SplitSettings


def forecast(
    settings: ForecastSettings, read: Callable[[], Dataset], narrator: Narrator
) -> Forecasts:
    """Forecast a data set's series, charge it to the ledger, and write the files asked for.

    Args:
        read: gives the data; asked once, after all that can be refused without them was.

    Raises:
        SettingsError: options contradict each other.
        DataError: a series cannot be read, or is too short for what is held out.
        ModelError: model, adapter or calibration are not there, or are not for each other.
        BudgetError: a limit would be passed; nothing was spent.
        NumericalError: the model gives no finite numbers.
    """
    if settings.forecaster not in ("lm", "auto"):
        return _rivals_forecast(settings, read, narrator)
    opened = _open(settings, read, narrator)
    forecaster, dataset, futures = opened.forecaster, opened.histories, opened.futures
    histories, sampling = list(dataset), Sampling.of(settings)
    calibration = _calibration(opened, settings, narrator)
    all_together = settings.forecaster == "auto"
    n_parts = len(histories) + (together.n_parts(histories) if all_together else 0)
    past: FloatArray | None = None
    begin = time.perf_counter()
    truth = None
    with (
        charged(settings, forecaster, _at_most(opened, settings), command="forecast"),
        narrator.counted("Forecasting", n_parts * sampling.n_futures) as advance,
    ):
        forecasts = forecaster.predict(
            histories, settings.n_steps, sampling, context=settings.context, progress=advance
        )
        if all_together:
            past = together.past_of_model(
                forecaster, histories, sampling, advance, context=settings.context
            )
            truth = Truth(futures) if futures else None
        elif futures:
            nll = likelihood.negative_log_likelihood(
                forecaster, histories, futures, context=settings.context
            )
            truth = Truth(futures, nll)
    seconds = time.perf_counter() - begin
    used = [f.context for f in forecasts]
    note = cut_note(histories, used, forecaster.base.max_positions, settings.context)
    if note:
        narrator.note(note)
    if futures:
        forecasts = [replace(f, time=t.time) for f, t in zip(forecasts, futures, strict=True)]
    weights: list[dict[str, float]] = []
    if past is not None:
        forecasts, weights = together.of_all(
            forecaster.name,
            forecasts,
            past,
            together.recent(dataset, settings.context),
            0 if sampling.greedy else sampling.n_futures,
            narrator,
        )
        seconds = time.perf_counter() - begin
    if calibration is not None:
        forecasts = [
            calibration.apply(f, h, settings.quantiles)
            for f, h in zip(forecasts, histories, strict=True)
        ]
    made = DatasetForecast(dataset, forecasts, settings.quantiles, truth)
    # what was asked for alone is in the answer
    asked: dict[str, Any] = {"forecaster": together.NAME} if all_together else {}
    if truth is not None:
        asked["scores"] = scores(histories, truth, forecasts, settings.quantiles)
    if calibration is not None:
        asked["calibration"] = dict(calibration.facts)
    return Forecasts(
        series=[
            _series_answer(made, i, weights[i] if weights else None) for i in range(len(forecasts))
        ],
        model=forecaster.facts(),
        horizon=settings.n_steps,
        samples=sampling.n_futures,
        **asked,
        flops=forecaster.usage.price.as_answer(),
        timing=ForecastTiming(
            load_seconds=opened.load_seconds,
            prefill_seconds=forecaster.usage.trace.prefill_seconds,
            decode_seconds=seconds,
        ),
        files=[str(path) for path in write(settings, made)],
    ).of(made)


def _rivals_forecast(
    settings: ForecastSettings, read: Callable[[], Dataset], narrator: Narrator
) -> Forecasts:
    """One rival's: no model is loaded and nothing is spent."""
    check(settings)
    _, dataset, futures = _data(settings, read)
    rival = together.rival_called(settings.forecaster, dataset)
    n_samples = 0 if settings.greedy else settings.samples
    seen = together.recent(dataset, settings.context)
    begin = time.perf_counter()
    with narrator.counted("Forecasting", len(dataset)) as advance:
        times = [f.time for f in futures] or together.times_after(seen, settings.n_steps)
        predictions = together.of_rival(rival, list(seen), times, n_samples, advance)
    seconds = time.perf_counter() - begin
    forecasts = [
        together.as_forecast(h, p, t) for h, p, t in zip(seen, predictions, times, strict=True)
    ]
    truth = Truth(futures) if futures else None
    made = DatasetForecast(dataset, forecasts, settings.quantiles, truth)
    asked: dict[str, Any] = {}
    if truth is not None:
        asked["scores"] = scores(list(dataset), truth, forecasts, settings.quantiles)
    return Forecasts(
        series=[_series_answer(made, i) for i in range(len(forecasts))],
        model=None,
        forecaster=rival.name,
        horizon=settings.n_steps,
        samples=max(n_samples, 1),
        **asked,
        flops=NOTHING.as_answer(),
        timing=ForecastTiming(load_seconds=0.0, prefill_seconds=0.0, decode_seconds=seconds),
        files=[str(path) for path in write(settings, made)],
    ).of(made)


def next_step_density(
    settings: ForecastSettings, read: Callable[[], Dataset], narrator: Narrator
) -> ForecastDensity:
    """The exact distribution of each series' next values, charged and written as `forecast` does.

    Raises:
        As `forecast`.
    """
    opened = _open(settings, read, narrator)
    forecaster, dataset = opened.forecaster, opened.histories
    histories, calls = list(dataset), settings.density_calls
    at_most = _at_most(opened, settings)
    n_values = len(histories) * len(dataset.variables)
    narrator.note(
        f"At most {calls:,} calls of the model for each of {n_values:,} values, "
        f"{numbers.flops(at_most.executed)} FLOPs in all."
    )
    begin = time.perf_counter()
    found: list[list[density.Density]] = []
    with (
        charged(settings, forecaster, at_most, command="forecast"),
        narrator.counted("Walking the digits", len(histories)) as advance,
    ):
        for history in histories:
            found += density.next_step(
                forecaster,
                [history],
                threshold=settings.density_floor,
                calls=calls,
                context=settings.context,
            )
            advance(1)
    seconds = time.perf_counter() - begin
    made = DatasetDensity(dataset, found)
    cut = [one for densities in found for one in densities if one.cut > 0]
    if cut:
        worst = max(cut, key=lambda one: one.cut)
        narrator.warning(
            f"{len(cut)} of {n_values} distributions were not walked to their end: of "
            f"{worst.series}, {dataset.variables[worst.variable]}, {numbers.share(worst.cut)} of "
            f"the mass lies behind what {calls:,} calls reached (--density-calls)."
        )
    files = []
    if settings.output is not None and settings.output != output_files.STANDARD_OUTPUT:
        output_files.write_text(settings.output, made.as_csv())
        files.append(str(settings.output))
    return ForecastDensity(
        series=[_density_answer(made, i, settings) for i in range(len(found))],
        model=forecaster.facts(),
        density_floor=settings.density_floor,
        density_calls=calls,
        flops=forecaster.usage.price.as_answer(),
        timing=Timing(load_seconds=opened.load_seconds, decode_seconds=seconds),
        files=files,
    ).of(made)


def price(
    settings: ForecastSettings,
    read: Callable[[], Dataset],
    narrator: Narrator,
    *,
    began: float | None = None,
) -> ForecastPrice:
    """What `forecast` or `next_step_density` would cost at most, and how long it would take here.

    The time is found by the first steps of a few forecasts. How many calls a density takes nobody
    knows before, so it has none.

    Args:
        began: when the command did, by `time.perf_counter`; default: now.

    Raises:
        As `forecast`, but for a budget.
    """
    began = time.perf_counter() if began is None else began
    if settings.forecaster not in ("lm", "auto"):
        check(settings)
        _, dataset, _ = _data(settings, read)
        together.rival_called(settings.forecaster, dataset)
        started = time.perf_counter() - began
        return price_answer({}, None, started, page=settings.plot is not None).of(len(dataset))
    opened = _open(settings, read, narrator)
    forecaster, estimate = opened.forecaster, None
    _calibration(opened, settings, narrator)  # is there one?
    at_most = _at_most(opened, settings)
    started = time.perf_counter() - began
    if not settings.density:
        estimate = of_forecasts(
            forecaster,
            list(opened.histories),
            settings.n_steps,
            Sampling.of(settings),
            context=settings.context,
        )
    prices = {forecaster.name: at_most}
    return price_answer(prices, estimate, started, page=settings.plot is not None).of(
        len(opened.histories)
    )


@dataclass(frozen=True)
class _Opened:
    """A model, and what it is to go on from.

    Attributes:
        histories: the series that were chosen, without what is held out of them.
        futures: what is held out, a series each; none if nothing is.
        load_seconds: until the model was there.
    """

    histories: Dataset
    futures: list[Series]
    choice: Choice
    forecaster: Forecaster
    load_seconds: float


def _open(settings: ForecastSettings, read: Callable[[], Dataset], narrator: Narrator) -> _Opened:
    """Data and model, after all that can be refused before; what may surprise is said."""
    check(settings)
    whole, histories, futures = _data(settings, read)
    set_threads(settings.threads)
    begin = time.perf_counter()
    choice = choose(settings, settings.runs, narrator.note)
    forecaster = open_forecaster(
        choice,
        settings,
        settings.decimals,
        settings.number_format,
        max_memory=settings.max_memory,
        missing=settings.missing,
    )
    seconds = time.perf_counter() - begin
    lost = loss_of_text(
        list(histories),
        forecaster.scale,
        forecaster.decimals,
        histories.variables,
        settings.context,
    )
    for warning in (forecaster.unlike_made, lost):
        if warning:
            narrator.warning(warning)
    if futures and choice.info is not None:
        ids = [s.id for s in histories]
        split = split_of(whole, SplitSettings())
        warn_of_seen([choice.info], whole.sha256(), split, ids, narrator)
    return _Opened(histories, futures, choice, forecaster, seconds)


def _data(
    settings: ForecastSettings, read: Callable[[], Dataset]
) -> tuple[Dataset, Dataset, list[Series]]:
    """All of it; the histories of the series that were chosen, and what is held out of them."""
    whole = read()
    histories = whole if settings.series is None else whole.named(settings.series)
    if settings.holdout is None:
        return whole, histories, []
    return whole, *hold_out(histories, settings.holdout, settings.n_steps)


def _calibration(
    opened: _Opened, settings: ForecastSettings, narrator: Narrator
) -> Calibration | None:
    """What --calibrated asks for; ModelError, SettingsError or DataError where none serves."""
    if not settings.calibrated:
        return None
    return load_fitting(
        opened.forecaster,
        opened.choice.info,
        settings.runs,
        sampling=Sampling.of(settings),
        quantiles=settings.quantiles,
        horizon=settings.n_steps,
        variables=opened.histories.variables,
        histories=list(opened.histories),
        narrator=narrator,
    )


def _at_most(opened: _Opened, settings: ForecastSettings) -> Price:
    """The most that it can cost."""
    forecaster, histories = opened.forecaster, list(opened.histories)
    if settings.density:
        return density.at_most(
            forecaster,
            histories,
            threshold=settings.density_floor,
            calls=settings.density_calls,
            context=settings.context,
        )
    most = forecaster.at_most(
        histories, settings.n_steps, Sampling.of(settings), context=settings.context
    )
    if settings.forecaster == "auto":
        most += together.past_at_most(
            forecaster, histories, Sampling.of(settings), context=settings.context
        )
    elif opened.futures:
        most += likelihood.price(forecaster, histories, opened.futures, context=settings.context)
    return most


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
    asked = {
        "--density": settings.density,
        "--missing": settings.missing,
        "--calibrated": settings.calibrated,
    }
    for option, given in asked.items():
        if given:
            raise SettingsError(
                f"--forecaster {settings.forecaster} and {option}: that is of the language model "
                "alone.",
                "Leave one of them out.",
            )


def _check_density(settings: ForecastSettings) -> None:
    """Refuse options that ask for futures, which are not drawn for a density."""
    asked = {
        "--horizon": settings.horizon not in (None, 1),
        "--holdout": settings.holdout is not None,
        "--calibrated": settings.calibrated,
        "--samples-out": settings.samples_out is not None,
        "--plot": settings.plot is not None,
        "--greedy": settings.greedy,
    }
    for option, given in asked.items():
        if given:
            raise SettingsError(
                f"--density and {option}: the distribution is of the next step, and no future is "
                "drawn.",
                "Leave one of them out.",
            )


def _series_answer(
    made: DatasetForecast, which: int, weights: Mapping[str, float] | None = None
) -> ForecastSeries:
    """One series of the answer; gaps, truth and weights where there are any."""
    f, variables = made.forecasts[which], made.histories.variables
    known = {} if made.truth is None else made.truth.columns[which]
    told: dict[str, Any] = {} if weights is None else {"weights": dict(weights)}
    return ForecastSeries(
        id=f.series,
        time=written(f.calendar, f.time),
        scale=(
            None
            if f.scale is None
            else Scale(
                divisors=list(f.scale.divisors), rule=f.scale.rule, offsets=list(f.scale.offsets)
            )
        ),
        context=f.context,
        variables=dict(zip(variables, _futures(f, made.levels), strict=True)),
        **told,
        **{
            name: {variable: values[:, v].tolist() for v, variable in enumerate(variables)}
            for name, values in known.items()
        },
    )


def _futures(f: Forecast, levels: Sequence[float]) -> list[Future]:
    """The answer about each variable."""
    median, mean, missing = f.median, f.mean, f.missing_share
    quantiles = {f"{q:g}": f.quantile(q) for q in levels}
    return [
        Future(
            median=median[:, v].tolist(),
            mean=mean[:, v].tolist(),
            quantiles={q: values[:, v].tolist() for q, values in quantiles.items()},
            **({"missing": missing[:, v].tolist()} if missing.any() else {}),
        )
        for v in range(median.shape[1])
    ]


def _density_answer(made: DatasetDensity, which: int, settings: ForecastSettings) -> DensitySeries:
    """One series of the answer."""
    found, dataset = made.densities[which], made.histories
    calendar, time_ = dataset.calendar, found[0].time
    return DensitySeries(
        id=found[0].series,
        time=time_ if calendar is None else calendar.text(time_),
        variables={
            name: Distribution(
                given=dict(zip(dataset.variables, one.given, strict=False)),
                mode=one.mode,
                mean=one.mean,
                quantiles={f"{q:g}": one.quantile(q) for q in settings.quantiles},
                width=one.width,
                values=one.values.tolist(),
                probabilities=one.probabilities.tolist(),
                densities=one.densities.tolist(),
                missing=one.missing,
                remainder=one.remainder,
                cut=one.cut,
            )
            for name, one in zip(dataset.variables, found, strict=True)
        },
    )
