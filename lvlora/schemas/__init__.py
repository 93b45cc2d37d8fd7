"""The shape of every answer of `--json`.

Knows: keys, types, units; `docs/schemas/` is generated from it. Does not know: how an answer is
made. A program that reads answers may use the models: ``Forecast.model_validate_json(text)``.
"""

from __future__ import annotations

from collections.abc import Sequence

from lvlora.schemas.base import Answer
from lvlora.schemas.cost import (
    FlopsAccount,
    FlopsArchitecture,
    FlopsLedger,
    FlopsMeasure,
    FlopsVary,
)
from lvlora.schemas.data import Analyze, Simulate, Tokenize, TokenizeText
from lvlora.schemas.forecasting import (
    Evaluation,
    EvaluationReport,
    Forecast,
    ForecastDensity,
    ForecastPrice,
)
from lvlora.schemas.installation import Doctor
from lvlora.schemas.training import Export, Report, Sweep, SweepPlan, Train, TrainPlan

ANSWERS: dict[str, type[Answer]] = {
    "simulate": Simulate,
    "analyze": Analyze,
    "tokenize": Tokenize,
    "tokenize-text": TokenizeText,
    "flops": FlopsAccount,
    "flops-vary": FlopsVary,
    "flops-measure": FlopsMeasure,
    "flops-architecture": FlopsArchitecture,
    "flops-ledger": FlopsLedger,
    "baseline": Evaluation,
    "baseline-dry-run": ForecastPrice,
    "train": Train,
    "train-dry-run": TrainPlan,
    "sweep": Sweep,
    "sweep-dry-run": SweepPlan,
    "forecast": Forecast,
    "forecast-density": ForecastDensity,
    "forecast-dry-run": ForecastPrice,
    "evaluate": Evaluation,
    "evaluate-dry-run": ForecastPrice,
    "export": Export,
    "report": Report,
    "report-evaluation": EvaluationReport,
    "doctor": Doctor,
}
"""Command, or command and the option that asks for another answer → its model."""


def answer_name(command: str, options: Sequence[str], keys: Sequence[str] = ()) -> str:
    """Which of a command's answers a command line asks for.

    Args:
        command: its name.
        options: the words after it.
        keys: of the answer; only they tell the report of an evaluation from that of a run.
    """
    # a dry run is one whatever else is asked for, and with --ledger --measure measures the machine
    first = ("dry-run", "ledger")
    names = [name for name in ANSWERS if name.startswith(f"{command}-")]
    for name in sorted(names, key=lambda name: name.removeprefix(f"{command}-") not in first):
        option = name.removeprefix(f"{command}-")
        asked = any(word.partition("=")[0] == f"--{option}" for word in options)
        if asked or (name == "report-evaluation" and "evaluation" in keys):
            return name
    return command
