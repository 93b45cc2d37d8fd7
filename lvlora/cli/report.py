"""`lvlora report RUN`: rebuild the page of a run or an evaluation from its folder, and open it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lvlora.cli.program.context import CommandContext
from lvlora.cli.program.from_settings import examples, settings_command
from lvlora.cli.program.root import app
from lvlora.report.document import Document, Points, Section, Table
from lvlora.runs import find_run_or_evaluation, is_evaluation
from lvlora.settings.base import Settings, option

if TYPE_CHECKING:
    from lvlora.evaluation.answers import EvaluationReport
    from lvlora.train.record import Report

EXAMPLES = examples(
    ("lvlora report", "the page of the newest run or evaluation again, from its folder"),
    ("lvlora report runs/first --open", "a certain one's, shown in the browser"),
)


class ReportSettings(Settings):
    """`lvlora report RUN`: the page of a run or an evaluation again, from its folder."""

    run: str | None = option(
        None,
        "Folder or name of a run or an evaluation. Left out: the newest.",
        "Data",
        affects="data",
        argument=True,
        metavar="[RUN]",
        min_length=1,
    )
    open: bool = option(
        False,
        "Open the page in the browser.",
        "Output",
        affects="output",
    )
    runs: Path = option(Path("runs"), "Folder of the runs.", "Output", affects="project")


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
    output.report(answer, lambda: _document(answer, folder))
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


def _document(answer: Report | EvaluationReport, folder: Path) -> Document:
    from lvlora.evaluation.answers import EvaluationReport

    written = Section("", [Points([f"Written: {file}" for file in answer.files])])
    if isinstance(answer, EvaluationReport):
        errors = Table("", ["forecaster", "MAE"], list(answer.forecasters.items()))
        return Document(f"Evaluation {answer.evaluation}", [Section("", [errors]), written])
    from lvlora.train.document import document, read_run

    run = document(read_run(folder))
    return replace(run, sections=[*run.sections, written])
