"""The report of an evaluation again, from its folder."""

from __future__ import annotations

from pathlib import Path

from lvlora.evaluation.answers import EvaluationRecord, EvaluationReport
from lvlora.evaluation.document import document
from lvlora.report.page import PAGE, write_page

FIGURES = "figures"


def rebuild(folder: Path) -> EvaluationReport:
    """Draw an evaluation's figures and page from its record.

    Raises:
        DataError: there is no record, or it is damaged.
        LvloraError: a file cannot be written.
    """
    record = EvaluationRecord.read(folder)
    files = draw_evaluation(folder, record)
    return EvaluationReport(
        evaluation=folder.resolve().name,
        folder=str(folder),
        protocol=record.protocol,
        forecasters={row.name: row.mae for row in record.forecasters},
        files=[str(file) for file in files],
        opened=False,
    )


def draw_evaluation(folder: Path, record: EvaluationRecord) -> list[Path]:
    """Write an evaluation's figures and its page, report.html.

    Returns:
        the files that were written.

    Raises:
        LvloraError: a file cannot be written.
    """
    return write_page(folder / PAGE, document(record), folder / FIGURES)
