"""The report of an evaluation again, from its folder."""

from __future__ import annotations

from pathlib import Path

from lvlora.evaluation.answers import EvaluationRecord, EvaluationReport
from lvlora.report.evaluation.page import draw_evaluation


def rebuild(folder: Path) -> EvaluationReport:
    """Draw an evaluation's figures and page from its record.

    Raises:
        DataError: there is no record, or it is damaged.
        LvloraError: a file cannot be written.
    """
    record = EvaluationRecord.read(folder)
    files = draw_evaluation(folder, record.model_dump(mode="json"))
    return EvaluationReport(
        evaluation=folder.resolve().name,
        folder=str(folder),
        protocol=record.protocol,
        forecasters={row.name: row.mae for row in record.forecasters},
        files=[str(file) for file in files],
        opened=False,
    )
