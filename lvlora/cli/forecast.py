"""`lvlora forecast FILE`: the future of a file's trajectories."""

from __future__ import annotations

from functools import partial

from lvlora.cli.program.context import CommandContext
from lvlora.cli.program.from_settings import examples, settings_command
from lvlora.cli.program.root import app
from lvlora.forecast.settings import ForecastSettings
from lvlora.output_files import STANDARD_OUTPUT

EXAMPLES = examples(
    ("lvlora forecast examples/trajectory.csv", "20 steps; by a run on it, if it is the newest"),
    (
        "lvlora forecast examples/hare_lynx.csv --horizon 10 --plot hares.png",
        "with a picture; the file's own years go on",
    ),
    (
        "lvlora forecast examples/trajectory.csv --holdout 20",
        "the last 20 steps, which the file has: how near does it come?",
    ),
    (
        "lvlora forecast examples/hare_lynx.csv --known hare --holdout 5",
        "the lynxes of five years of which the hares are known",
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
    from lvlora.data.known import read_data
    from lvlora.forecast import verb
    from lvlora.forecast.dataset_forecast import named_files
    from lvlora.forecast.document import forecasts_document, price_document
    from lvlora.forecast.panel import is_panel

    output = context.output
    if is_panel(settings):
        _forecast_panel(settings, context)
        return
    context.check_results(settings, named_files(settings))
    read = partial(read_data, settings, output)
    if context.dry_run:
        price = verb.price(settings, read, output, began=context.began)
        output.report(price, lambda: price_document(price))
        return
    forecasts = verb.forecast(settings, read, output)
    if settings.output == STANDARD_OUTPUT:
        output.write(forecasts.as_csv())
    else:
        output.report(forecasts.record, lambda: forecasts_document(forecasts))
    for path in forecasts.record.files:
        output.note(f"Written: {path}")
    if not settings.plot and settings.output != STANDARD_OUTPUT:
        output.hint("Add --plot FILE.png for a picture, --output FILE.csv for the numbers.")


def _forecast_panel(settings: ForecastSettings, context: CommandContext) -> None:
    from lvlora.forecast import panel
    from lvlora.forecast.document import panel_document, price_document

    output = context.output
    if context.dry_run:
        price = panel.forecasts_panel(settings, output).price()
        output.report(price, lambda: price_document(price))
        return
    record = panel.forecast_panel(settings, output)
    output.report(record, lambda: panel_document(record, "Forecasts of a folder", "forecast"))
