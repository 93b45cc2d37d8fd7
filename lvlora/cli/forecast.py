"""`lvlora forecast FILE`: the future of a file's trajectories."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lvlora.cli import forecast_density
from lvlora.cli.forecast_files import as_csv, as_json, check_samples, samples_kind, write_files
from lvlora.cli.forecast_show import show
from lvlora.cli.forecast_truth import Truth, hold_out
from lvlora.cli.program.context import CommandContext
from lvlora.cli.program.from_settings import examples, settings_command
from lvlora.cli.program.inputs import load_dataset, select_series
from lvlora.cli.program.results import DENSITY, FORECAST, check_results
from lvlora.cli.program.root import app
from lvlora.errors import SettingsError
from lvlora.settings import ForecastSettings, SplitSettings

if TYPE_CHECKING:
    from lvlora.flops.budget import Price
    from lvlora.forecast.forecast import Forecast
    from lvlora.forecast.forecaster import Forecaster
    from lvlora.forecast.sampling import Sampling
    from lvlora.series.dataset import Dataset

EXAMPLES = examples(
    ("lvlora forecast examples/trajectory.csv", "20 steps, by the newest run's adapter"),
    (
        "lvlora forecast examples/hare_lynx.csv --horizon 10 --plot hares.png",
        "with a picture; the file's own years go on",
    ),
    (
        "lvlora forecast examples/trajectory.csv --holdout 20",
        "the last 20 steps, which the file has: how near does it come?",
    ),
    (
        "lvlora forecast examples/trajectory.csv --density",
        "every value that the next step may have, with its probability",
    ),
    (
        "lvlora forecast - --greedy --output - < examples/trajectory.csv",
        "CSV in, CSV out, one likeliest future",
    ),
)


@settings_command(app, ForecastSettings, name="forecast", epilog=EXAMPLES)
def forecast(settings: ForecastSettings, context: CommandContext) -> None:
    """Forecast the future of a file's trajectories.

    Every future is a valid series of exactly the horizon: the model chooses digits, the grammar
    decides where digits may stand. Median and quantiles are of the drawn futures.
    """
    from lvlora.cli.terminal.progress import Narration
    from lvlora.forecast.calibration_files import load_fitting
    from lvlora.forecast.open_model import choose, open_forecaster, warn_of_seen
    from lvlora.forecast.reading import cut_note, loss_of_text
    from lvlora.forecast.sampling import Sampling
    from lvlora.model.devices import set_threads
    from lvlora.series.splits import split_of

    output = context.output
    _check_options(settings)
    _check_files(settings, context)
    whole = dataset = load_dataset(settings, output)
    if settings.series is not None:
        dataset = select_series(dataset, settings.series)
    truth = None
    if settings.holdout is not None:
        dataset, truth = hold_out(dataset, settings.holdout, settings.n_steps)
    set_threads(settings.threads)
    begin = time.perf_counter()
    choice = choose(settings, settings.runs, output.note)
    forecaster = open_forecaster(
        choice,
        settings,
        settings.decimals,
        settings.number_format,
        max_memory=settings.max_memory,
        missing=settings.missing,
    )
    loaded = time.perf_counter() - begin
    if forecaster.unlike_made:
        output.warning(forecaster.unlike_made)
    lost = loss_of_text(
        list(dataset),
        forecaster.scale,
        forecaster.decimals,
        dataset.variables,
        settings.context,
    )
    if lost:
        output.warning(lost)
    if truth is not None and choice.info is not None:
        warn_of_seen(
            [choice.info],
            whole.sha256(),
            split_of(whole, SplitSettings()),
            [s.id for s in dataset],
            Narration(output),
        )
    if settings.density and not context.dry_run:
        forecast_density.show_density(settings, context, dataset, forecaster, loaded)
        return
    calibration, sampling = None, Sampling.of(settings)
    if settings.calibrated:
        calibration = load_fitting(
            forecaster,
            choice.info,
            settings.runs,
            sampling=sampling,
            quantiles=settings.quantiles,
            horizon=settings.n_steps,
            variables=dataset.variables,
            histories=list(dataset),
            narrator=Narration(output),
        )
    most = _most(forecaster, dataset, settings, sampling, truth)
    if context.dry_run:
        _show_price(most, forecaster, dataset, settings, sampling, context)
        return
    begin = time.perf_counter()
    forecasts = _predict(forecaster, dataset, settings, sampling, truth, most, context)
    decoded = time.perf_counter() - begin
    used = [f.context for f in forecasts]
    note = cut_note(list(dataset), used, forecaster.base.max_positions, settings.context)
    if note:
        output.note(note)
    if calibration is not None:
        forecasts = [
            calibration.apply(f, h, settings.quantiles)
            for f, h in zip(forecasts, dataset, strict=True)
        ]
    if truth is not None:
        truth.score(dataset, forecasts, settings.quantiles)
    price = forecaster.usage.price
    written = write_files(settings, dataset, forecasts, truth)
    series = [as_json(f, dataset.variables, settings.quantiles) for f in forecasts]
    if truth is not None:
        series = [s | truth.as_json(i, dataset.variables) for i, s in enumerate(series)]
    payload = {
        "series": series,
        "model": forecaster.facts(),
        "horizon": settings.n_steps,
        "samples": sampling.n_futures,
        **({} if truth is None else {"scores": truth.scores}),
        **({} if calibration is None else {"calibration": calibration.facts}),
        "flops": price.to_dict(),
        "timing": {
            "load_seconds": loaded,
            "prefill_seconds": forecaster.usage.trace.prefill_seconds,
            "decode_seconds": decoded,
        },
        "files": [str(p) for p in written],
    }
    if settings.output == Path("-"):
        output.write(as_csv(dataset, forecasts, settings.quantiles, truth))
    else:
        output.report(
            payload, lambda: show(dataset, forecasts, forecaster, settings, truth, context)
        )
    for path in written:
        output.note(f"Written: {path}")
    if not settings.plot and settings.output != Path("-"):
        output.hint("Add --plot FILE.png for a picture, --output FILE.csv for the numbers.")


def _most(
    forecaster: Forecaster,
    dataset: Dataset,
    settings: ForecastSettings,
    sampling: Sampling,
    truth: Truth | None,
) -> Price:
    """The most that it can cost; nothing is spent."""
    from lvlora.forecast import density, likelihood

    histories = list(dataset)
    if settings.density:
        return density.at_most(
            forecaster,
            histories,
            threshold=settings.density_floor,
            calls=settings.density_calls,
            context=settings.context,
        )
    most = forecaster.at_most(histories, settings.n_steps, sampling, context=settings.context)
    if truth is not None:
        most += likelihood.price(forecaster, histories, truth.futures, context=settings.context)
    return most


def _predict(
    forecaster: Forecaster,
    dataset: Dataset,
    settings: ForecastSettings,
    sampling: Sampling,
    truth: Truth | None,
    most: Price,
    context: CommandContext,
) -> list[Forecast]:
    """Draw the futures; where the truth is known, ask how probable it was."""
    from lvlora.cli.terminal.progress import counted
    from lvlora.forecast.likelihood import negative_log_likelihood
    from lvlora.forecast.spending import charged

    histories = list(dataset)
    with (
        charged(settings, forecaster, most, command="forecast"),
        counted(context.output, "Forecasting", len(histories) * sampling.n_futures) as advance,
    ):
        forecasts = forecaster.predict(
            histories,
            settings.n_steps,
            sampling,
            context=settings.context,
            progress=lambda n: advance(n),
        )
        if truth is None:
            return forecasts
        truth.nll = negative_log_likelihood(
            forecaster, histories, truth.futures, context=settings.context
        )
    return [replace(f, time=t.time) for f, t in zip(forecasts, truth.futures, strict=True)]


def _check_options(settings: ForecastSettings) -> None:
    """What does not go together."""
    if settings.density:
        forecast_density.check(settings)
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


def _check_files(settings: ForecastSettings, context: CommandContext) -> None:
    """Before the work, not after it."""
    check_samples(settings.samples_out)
    table = DENSITY if settings.density else FORECAST
    check_results(
        settings,
        context,
        [
            ("--output", settings.output, table),
            ("--samples-out", settings.samples_out, samples_kind(settings.samples_out)),
            ("--plot", settings.plot, None),
        ],
    )


def _show_price(
    most: Price,
    forecaster: Forecaster,
    dataset: Dataset,
    settings: ForecastSettings,
    sampling: Sampling,
    context: CommandContext,
) -> None:
    """Price, time and memory; it takes the first steps of a few forecasts to know."""
    from lvlora.cli.terminal.plans import show_prices
    from lvlora.forecast.estimate import of_forecasts, price_answer

    histories, estimate = list(dataset), None
    started = time.perf_counter() - context.began
    if not settings.density:  # which follows probabilities: nobody knows how many
        estimate = of_forecasts(
            forecaster, histories, settings.n_steps, sampling, context=settings.context
        )
    drawn = settings.plot is not None
    answer = price_answer({forecaster.name: most}, estimate, started, page=drawn)
    show_prices(answer, len(histories), context)
