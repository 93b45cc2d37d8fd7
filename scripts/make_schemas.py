"""Write the JSON Schema of every answer of --json into a folder, from the models.

Usage: python scripts/make_schemas.py FOLDER
"""

from __future__ import annotations

import ast
import inspect
import itertools
import json
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from lvlora.answers import Answer, Shape
from lvlora.cli.doctor import Doctor
from lvlora.data.answers import Analyze, Simulate
from lvlora.evaluation.answers import Evaluation, EvaluationReport, PanelEvaluation
from lvlora.experiment.record import Experiment
from lvlora.flops.answers import (
    FlopsAccount,
    FlopsArchitecture,
    FlopsLedger,
    FlopsMeasure,
    FlopsVary,
)
from lvlora.forecast.answers import ForecastPrice, Forecasts, PanelForecasts
from lvlora.model.export import Export
from lvlora.model.tokenizing import Tokenize
from lvlora.sweep.record import Sweep, SweepPlan
from lvlora.train.record import Report, Train, TrainPlan

ANSWERS: dict[str, type[Answer]] = {
    "simulate": Simulate,
    "analyze": Analyze,
    "tokenize": Tokenize,
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
    "experiment": Experiment,
    "forecast": Forecasts,
    "forecast-parts": PanelForecasts,
    "forecast-dry-run": ForecastPrice,
    "evaluate": Evaluation,
    "evaluate-parts": PanelEvaluation,
    "baseline-parts": PanelEvaluation,
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
        keys: of the answer; only they tell what an argument was, such as a folder.
    """
    # a dry run is one whatever else is asked for, and with --ledger --measure measures the machine
    first = ("dry-run", "ledger")
    names = [name for name in ANSWERS if name.startswith(f"{command}-")]
    for name in sorted(names, key=lambda name: name.removeprefix(f"{command}-") not in first):
        option = name.removeprefix(f"{command}-")
        requested = any(word.partition("=")[0] == f"--{option}" for word in options)
        if requested or (option in ("evaluation", "parts") and option in keys):
            return name
    return command


class _Untitled(GenerateJsonSchema):
    """Without the title of each key, which only says its name again."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def _describe(shape: type[Shape]) -> None:
    """Give each field the words below it in the source, which no command has the time to read."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(shape))).body
    assert isinstance(body, ast.ClassDef)
    for field, words in itertools.pairwise(body.body):
        if isinstance(field, ast.AnnAssign) and isinstance(words, ast.Expr):
            docstring = ast.literal_eval(words.value)
            shape.model_fields[ast.unparse(field.target)].description = inspect.cleandoc(docstring)
    for below in shape.__subclasses__():
        for name, inherited in below.model_fields.items():
            if name in shape.model_fields:
                inherited.description = shape.model_fields[name].description
        _describe(below)


def files() -> dict[str, str]:
    """Name of a file → its text."""
    _describe(Shape)
    schemas = {}
    for name, model in ANSWERS.items():
        schema = model.model_json_schema(schema_generator=_Untitled)
        schema["required"] = ["schema_version", *schema["required"]]  # every answer has it
        titled = {"$schema": _Untitled.schema_dialect, **schema}
        schemas[f"{name}.json"] = json.dumps(titled, indent=1, ensure_ascii=False) + "\n"
    return schemas


def write(folder: Path) -> None:
    """Make the folder hold exactly the files."""
    folder.mkdir(parents=True, exist_ok=True)
    schemas = files()
    for old in folder.glob("*.json"):
        if old.name not in schemas:
            old.unlink()
    for name, text in schemas.items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    write(Path(sys.argv[1]))
