"""The common part of baseline and evaluate: options to the verb, its record to the outputs."""

from __future__ import annotations

import shlex
from functools import partial
from typing import TYPE_CHECKING

from lvlora.cli.program.context import CommandContext, next_command
from lvlora.evaluation.settings import EvaluateSettings
from lvlora.output_files import STANDARD_OUTPUT
from lvlora.train.settings import TrainSettings

if TYPE_CHECKING:
    from lvlora.evaluation.answers import Evaluation


def run(settings: EvaluateSettings, context: CommandContext) -> None:
    """One of the two commands."""
    from lvlora.data.known import read_data
    from lvlora.evaluation.evaluate import evaluate, price
    from lvlora.forecast.document import price_document
    from lvlora.forecast.panel import is_panel

    output = context.output
    if is_panel(settings):
        _run_panel(settings, context)
        return

    context.check_results(settings, {"--output": settings.output})
    read = partial(read_data, settings, output)
    if context.dry_run:
        answer = price(settings, read, output, began=context.began)
        output.report(answer, lambda: price_document(answer))
        return
    _show(evaluate(settings, read, output), settings, context)


def _run_panel(settings: EvaluateSettings, context: CommandContext) -> None:
    from lvlora.evaluation.document import panel_table
    from lvlora.evaluation.panel import evaluate_panel, scores_panel
    from lvlora.forecast.document import panel_document, price_document

    output = context.output
    if context.dry_run:
        price = scores_panel(settings, output).price()
        output.report(price, lambda: price_document(price))
        return
    record = evaluate_panel(settings, output)
    table = panel_table(record)
    output.report(record, lambda: panel_document(record, "Scores of a folder", "scored", table))
    output.hint(f"lvlora report {shlex.quote(record.folder)}/PART writes a page of one part.")


def _show(evaluation: Evaluation, settings: EvaluateSettings, context: CommandContext) -> None:
    from lvlora.evaluation.document import document
    from lvlora.evaluation.record import table_of

    output = context.output
    if settings.output == STANDARD_OUTPUT:
        output.write(table_of(evaluation))
    else:
        output.report(evaluation, lambda: document(evaluation))
    for path in evaluation.files:
        if path.endswith("report.html"):
            output.note(f"Report: {path}")
    if settings.output is not None and settings.output != STANDARD_OUTPUT:
        output.note(f"Written: {settings.output}")
    if evaluation.command == "baseline":
        shared = ("protocol", "context", "horizon")
        trained = next_command("train", TrainSettings, settings)
        scored = next_command("evaluate", EvaluateSettings, settings, also=shared)
        output.hint(f"Next: {trained}, then {scored}")
    elif evaluation.folder is not None:
        page = shlex.quote(evaluation.folder)
        output.hint(f"Next: lvlora report {page} --open shows it in the browser")
