"""The verbs: a data set's futures, the density of its next values, and what either would cost."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from lvlora import numbers, output_files
from lvlora.errors import SettingsError
from lvlora.flops.budget import NOTHING, Price
from lvlora.forecast import density, likelihood
from lvlora.forecast.answers import (
    ForecastDensity,
    ForecastPrice,
    Forecasts,
    ForecastTiming,
    Timing,
)
from lvlora.forecast.calibration.files import load_fitting
from lvlora.forecast.calibration.offsets import Calibration
from lvlora.forecast.dataset_forecast import DatasetDensity, DatasetForecast
from lvlora.forecast.estimate import of_forecasts, price_answer
from lvlora.forecast.even_steps import interpolated, times_ahead
from lvlora.forecast.files import check_samples, write
from lvlora.forecast.forecaster import Forecaster, zero_shot
from lvlora.forecast.holdout import Truth, hold_out, scores
from lvlora.forecast.open_model import open_forecaster, warn_of_seen
from lvlora.forecast.plan import DEFAULT_DECIMALS, Plan
from lvlora.forecast.reading import how_cut, loss_of_text
from lvlora.forecast.sampling import Sampling
from lvlora.forecast.usage import reserved
from lvlora.model import devices
from lvlora.model.choice import Choice, choose
from lvlora.model.loading import has_weights, outline
from lvlora.narrator import Narrator
from lvlora.series.dataset import Dataset, FloatArray, Series
from lvlora.series.known import known_ahead
from lvlora.series.splits import split_of
from lvlora.settings.data import SplitSettings
from lvlora.settings.forecasting import ForecastSettings


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
    asked = _ask(settings, read, narrator)
    settings = asked.settings
    opened = _open(asked, settings, narrator)
    forecaster, calibration = opened.forecaster, opened.calibration
    dataset, futures, sampling = asked.histories, asked.futures, Sampling.of(settings)
    histories, at_most = list(dataset), _at_most(forecaster.plan, asked, settings)
    all_together = settings.forecaster == "auto"
    if all_together:
        from lvlora.forecast import together  # and with it all rivals
    n_parts = len(histories) + (together.n_parts(histories) if all_together else 0)
    past: FloatArray | None = None
    begin = time.perf_counter()
    truth = None
    with (
        reserved(settings, forecaster, at_most, command="forecast"),
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
            settings.season,
        )
        seconds = time.perf_counter() - begin
    if calibration is not None:
        forecasts = [
            calibration.apply(f, h, settings.quantiles)
            for f, h in zip(forecasts, histories, strict=True)
        ]
    made = DatasetForecast(dataset, forecasts, settings.quantiles, truth)
    # these are in the answer only where they were asked for
    more: dict[str, Any] = {"forecaster": together.NAME} if all_together else {}
    if truth is not None:
        more["scores"] = scores(histories, truth, forecasts, settings.quantiles, settings.season)
    if calibration is not None:
        more["calibration"] = dict(calibration.facts)
    return Forecasts(
        series=made.answers(weights),
        model=forecaster.facts(),
        horizon=settings.n_steps,
        samples=sampling.n_futures,
        **more,
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
    settings, _, dataset, futures = _data(settings, read)
    from lvlora.forecast import together

    rival = together.rival_for(settings.forecaster, dataset, settings.season)
    if dataset.known and not rival.uses_known:
        narrator.warning(
            f"{rival.name} has no use for known columns ({', '.join(dataset.known)}): they are "
            "left out."
        )
    n_samples = 0 if settings.greedy else settings.samples
    seen = together.recent(dataset, settings.context)
    begin = time.perf_counter()
    with narrator.counted("Forecasting", len(dataset)) as advance:
        times = [times_ahead(h, settings.n_steps) for h in seen]
        predictions = together.of_rival(rival, list(seen), times, n_samples, advance)
    seconds = time.perf_counter() - begin
    forecasts = [
        together.as_forecast(h, p, t) for h, p, t in zip(seen, predictions, times, strict=True)
    ]
    truth = Truth(futures) if futures else None
    made = DatasetForecast(dataset, forecasts, settings.quantiles, truth)
    more: dict[str, Any] = {}
    if truth is not None:
        more["scores"] = scores(
            list(dataset), truth, forecasts, settings.quantiles, settings.season
        )
    return Forecasts(
        series=made.answers(),
        model=None,
        forecaster=rival.name,
        horizon=settings.n_steps,
        samples=max(n_samples, 1),
        **more,
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
    asked = _ask(settings, read, narrator)
    settings = asked.settings
    opened = _open(asked, settings, narrator)
    forecaster, dataset = opened.forecaster, asked.histories
    histories, calls = list(dataset), settings.density_calls
    at_most = _at_most(forecaster.plan, asked, settings)
    n_values = len(histories) * len(dataset.variables)
    narrator.note(
        f"At most {calls:,} calls of the model for each of {n_values:,} values, "
        f"{numbers.flops(at_most.executed)} FLOPs in all."
    )
    begin = time.perf_counter()
    found: list[list[density.Density]] = []
    with (
        reserved(settings, forecaster, at_most, command="forecast"),
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
        series=made.answers(settings.quantiles),
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

    The price follows from the model's outline. The time is found by the first steps of a few
    forecasts; there is none without weights, nor of a density, of whose calls nobody knows the
    number before.

    Args:
        began: when the command did, by `time.perf_counter`; default: now.

    Raises:
        As `forecast`, but for a budget.
    """
    began = time.perf_counter() if began is None else began
    page = settings.plot is not None
    if settings.forecaster not in ("lm", "auto"):
        check(settings)
        _, _, dataset, _ = _data(settings, read)
        from lvlora.forecast import together

        together.rival_for(settings.forecaster, dataset, settings.season)
        return price_answer({}, None, 0.0, page=page).of(len(dataset))
    asked = _ask(settings, read, narrator)
    settings = asked.settings
    n_series = len(asked.histories)
    if asked.choice.info is None and not has_weights(asked.choice.source):
        narrator.note("The weights are not here, so time and memory were not measured.")
        plan = Plan(
            outline(asked.choice.source, devices.choose(settings.device, settings.dtype)),
            decimals=DEFAULT_DECIMALS if settings.decimals is None else settings.decimals,
            number_format=settings.number_format or "point",
            missing=settings.missing,
            max_memory=settings.max_memory,
        )
        prices = {zero_shot(plan.base.name): _at_most(plan, asked, settings)}
        return price_answer(prices, None, 0.0, page=page).of(n_series)
    forecaster, estimate = _open(asked, settings, narrator).forecaster, None
    prices = {forecaster.name: _at_most(forecaster.plan, asked, settings)}
    started = time.perf_counter() - began
    if not settings.density:
        estimate = of_forecasts(
            forecaster,
            list(asked.histories),
            settings.n_steps,
            Sampling.of(settings),
            context=settings.context,
        )
    return price_answer(prices, estimate, started, page=page).of(n_series)


@dataclass(frozen=True)
class _Asked:
    """What is to be gone on from, and by which model; no weights are there yet.

    Attributes:
        settings: with the steps that the data ask for.
        whole: the data set; histories: the series of it that were chosen, without what is held out
            of them.
        futures: what is held out, a series each; none if nothing is.
    """

    settings: ForecastSettings
    whole: Dataset
    histories: Dataset
    futures: list[Series]
    choice: Choice


@dataclass(frozen=True)
class _Opened:
    """A model, and what its intervals are corrected by, where that was asked for.

    Attributes:
        load_seconds: until the model was there.
    """

    forecaster: Forecaster
    calibration: Calibration | None
    load_seconds: float


def _ask(settings: ForecastSettings, read: Callable[[], Dataset], narrator: Narrator) -> _Asked:
    """Data and model, after all that can be refused before."""
    check(settings)
    settings, whole, histories, futures = _data(settings, read)
    devices.set_threads(settings.threads)
    choice = choose(settings, settings.runs, whole, narrator.note)
    return _Asked(settings, whole, histories, futures, choice)


def _data(
    settings: ForecastSettings, read: Callable[[], Dataset]
) -> tuple[ForecastSettings, Dataset, Dataset, list[Series]]:
    """Settings with a horizon; all of the data; the histories that were chosen, and their futures.

    Of known columns the horizon is as far as every one of them is known, unless it was said.
    """
    whole = read()
    histories = whole if settings.series is None else whole.named(settings.series)
    if settings.holdout is not None:
        return settings, whole, *hold_out(histories, settings.holdout, settings.n_steps)
    if whole.known:
        n_ahead = min(s.n_ahead for s in histories)
        if settings.horizon is None and not settings.density and n_ahead:
            settings = settings.model_copy(update={"horizon": n_ahead})
        for series in histories:
            known_ahead(series, settings.n_steps, whole.known)
    return settings, whole, histories, []


def _open(asked: _Asked, settings: ForecastSettings, narrator: Narrator) -> _Opened:
    """Load the model; what may surprise is said."""
    begin = time.perf_counter()
    forecaster = open_forecaster(
        asked.choice,
        settings,
        settings.decimals,
        settings.number_format,
        max_memory=settings.max_memory,
        missing=settings.missing,
        as_drawn=settings.as_drawn,
    )
    seconds = time.perf_counter() - begin
    dataset, histories = asked.histories, list(asked.histories)
    lost = loss_of_text(
        histories, forecaster.scale, forecaster.decimals, dataset.variables, settings.context
    )
    unlike = forecaster.unlike_known(dataset.known)
    plan, read = forecaster.plan, (settings.n_steps, settings.context)
    planned = plan.readings(histories, *read)
    cut = how_cut(histories, planned, plan.base.max_positions, settings.context)
    for warning in (forecaster.unlike_made, unlike, lost, *cut):
        if warning:
            narrator.warning(warning)
    for note in interpolated(histories, *read, fill=not settings.missing):
        narrator.note(note)
    if asked.futures and asked.choice.info is not None:
        ids, split = [s.id for s in dataset], split_of(asked.whole, SplitSettings())
        warn_of_seen([asked.choice.info], asked.whole.sha256(), split, ids, narrator)
    sampling, calibration = Sampling.of(settings), None
    if forecaster.widths is not None and sampling.n_futures > 1:
        if not forecaster.widths.serves(sampling):
            narrator.note(
                "The widths that the model's folder brings are for temperature 1 and top-p 1: "
                "futures stay as drawn."
            )
    if settings.calibrated:
        calibration = load_fitting(
            forecaster,
            asked.choice.info,
            settings.runs,
            sampling=sampling,
            quantiles=settings.quantiles,
            horizon=settings.n_steps,
            variables=dataset.variables,
            histories=histories,
            narrator=narrator,
        )
    return _Opened(forecaster, calibration, seconds)


def _at_most(plan: Plan, asked: _Asked, settings: ForecastSettings) -> Price:
    """The most that it can cost."""
    histories, sampling, context = list(asked.histories), Sampling.of(settings), settings.context
    if settings.density:
        return density.at_most(
            plan,
            histories,
            threshold=settings.density_floor,
            calls=settings.density_calls,
            context=context,
        )
    price = plan.at_most(histories, settings.n_steps, sampling, context)
    if settings.forecaster == "auto":
        from lvlora.forecast import together

        price += together.past_at_most(plan, histories, sampling, context=context)
    elif asked.futures:
        price += likelihood.price(plan, histories, asked.futures, context=context)
    return price


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
        "--as-drawn": settings.as_drawn and settings.forecaster != "auto",
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
        "--as-drawn": settings.as_drawn,
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
