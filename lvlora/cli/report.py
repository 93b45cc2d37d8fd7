"""`lvlora report RUN`: rebuild the page of a run or an evaluation from its folder, and open it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lvlora import numbers
from lvlora.cli.program.context import CommandContext
from lvlora.cli.program.from_settings import examples, settings_command
from lvlora.cli.program.root import app
from lvlora.cli.settings import ReportSettings
from lvlora.cli.terminal.document import show_document
from lvlora.cli.terminal.output import Output
from lvlora.runs import find_run_or_evaluation, is_evaluation

if TYPE_CHECKING:
    from lvlora.evaluation.answers import EvaluationReport
    from lvlora.train.record import Report

EXAMPLES = examples(
    ("lvlora report", "the page of the newest run or evaluation again, from its folder"),
    ("lvlora report runs/first --open", "a certain one's, shown in the browser"),
)


@settings_command(app, ReportSettings, name="report", epilog=EXAMPLES)
def report(settings: ReportSettings, context: CommandContext) -> None:
    """Rebuild the report of a run or an evaluation from its folder, and open it if asked.

    The page needs nothing but the folder's own files, so a stopped run has one too, and one that
    was moved keeps it.
    """
    from lvlora.report.page import PAGE

    output = context.output
    folder = find_run_or_evaluation(settings.run, settings.runs, "RUN")
    answer: Report | EvaluationReport
    if is_evaluation(folder):
        from lvlora.evaluation.document import rebuild as rebuild_evaluation

        answer = rebuild_evaluation(folder)
    else:
        from lvlora.train.document import rebuild as rebuild_run

        answer = rebuild_run(folder)
    page = folder / PAGE
    opened = settings.open and _open(page)
    answer = answer.model_copy(update={"opened": opened})
    output.report(answer, lambda: _show(answer, folder, output))
    if settings.open and not opened:
        output.warning(f"no browser could be started: open {page.absolute()} yourself.")
    elif not settings.open:
        output.hint("Add --open to see it in the browser.")


def _open(page: Path) -> bool:
    import webbrowser

    try:
        return webbrowser.open(page.resolve().as_uri())
    except webbrowser.Error:
        return False


def _show(answer: Report | EvaluationReport, folder: Path, output: Output) -> None:
    from lvlora.evaluation.answers import EvaluationReport

    if isinstance(answer, EvaluationReport):
        rows = [(name, numbers.plain(mae, 3)) for name, mae in answer.forecasters.items()]
        rows += [("written", file) for file in answer.files]
        output.table([f"Evaluation {answer.evaluation}", "MAE"], rows)
        return
    from lvlora.train.document import document, read_run

    show_document(document(read_run(folder)), output)
    output.table(["written", ""], [(file, "") for file in answer.files])
