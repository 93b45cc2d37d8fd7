"""Draw docs/images/cost.png: error against the FLOPs of the forecasts, from a table of the results.

    python scripts/make_cost_figure.py

Reads the first table of docs/notes/results.md (50 steps from 50, 128 series). A language model's
FLOPs are those that the text beneath the table says; the table itself says each rival's.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from lvlora.report.evaluation.cost import draw_cost

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "notes" / "results.md"
IMAGE = ROOT / "docs" / "images" / "cost.png"
N_SERIES = 128
_SPENT = re.compile(
    r"NLL/D took (?P<plain>[0-9.e]+) FLOPs executed without and (?P<tuned>[0-9.e]+)"
)


def rows_of(text: str) -> list[dict[str, Any]]:
    """Name, kind, MAE and FLOPs of each forecaster of the first table that has them."""
    lines = iter(text.splitlines())
    head = next(line for line in lines if line.startswith("| forecaster |"))
    columns = _cells(head)
    next(lines)
    spent = _SPENT.search(text)
    assert spent is not None, "the text says what the models' forecasts took"
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        row = dict(zip(columns, _cells(line), strict=True))
        name, model = row["forecaster"], "bundled model" in row["forecaster"]
        if "greedy" in name:
            continue  # one future a series: its cost is another question
        flops = None if row["FLOPs a series"] == "–" else float(row["FLOPs a series"]) * N_SERIES
        if model:
            flops = float(spent["tuned" if "LoRA" in name else "plain"])
        kind = "model" if model else "floor" if "floor" in name else "rival"
        rows.append({"name": _short(name), "kind": kind, "mae": float(row["MAE"]), "flops": flops})
    return rows


def _cells(line: str) -> list[str]:
    return [cell.strip().replace("**", "") for cell in line.strip().strip("|").split("|")]


def _short(name: str) -> str:
    return name.replace("bundled model + LoRA", "+ LoRA").replace(" (2 decimals)", "")


if __name__ == "__main__":
    draw_cost(IMAGE, rows_of(RESULTS.read_text(encoding="utf-8")))
