"""The report of an evaluation again, from its folder."""

from __future__ import annotations

from pathlib import Path

from lvlora.errors import DataError
from lvlora.evaluation.answers import EvaluationReport, Protocol
from lvlora.report.evaluation.page import draw_evaluation, read_evaluation


def rebuild(folder: Path) -> EvaluationReport:
    """Draw an evaluation's figures and page from its record.

    Raises:
        DataError: there is no record, or it cannot be read.
        LvloraError: a file cannot be written.
    """
    record = read_evaluation(folder)
    files = draw_evaluation(folder)
    try:
        # what records of earlier versions do not have yet
        protocol = Protocol.model_validate(
            {"disturbance": None, "seen": None, **record["protocol"]}
        )
        return EvaluationReport(
            evaluation=folder.resolve().name,
            folder=str(folder),
            protocol=protocol,
            forecasters={f["name"]: f["mae"] for f in record["forecasters"]},
            files=[str(file) for file in files],
            opened=False,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{folder}: its record is of another version, or damaged ({type(error).__name__})",
            "lvlora evaluate makes it again.",
        ) from None
