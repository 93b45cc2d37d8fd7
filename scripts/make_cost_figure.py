"""Draw docs/images/cost.png: error against FLOPs, from the first table of docs/notes/results.md.

python scripts/make_cost_figure.py
"""

from __future__ import annotations

from pathlib import Path

from lvlora.report.drawing import style
from lvlora.report.drawing.errors import Bar, cost_figure

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "notes" / "results.md"
IMAGE = ROOT / "docs" / "images" / "cost.png"


def bars(text: str) -> list[Bar]:
    """Return the forecasters of the first table with their MAE (50 → 50) and FLOPs a series."""
    lines = iter(text.splitlines())
    columns = _cells(next(line for line in lines if line.startswith("| forecaster |")))
    next(lines)
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        row = dict(zip(columns, _cells(line), strict=True))
        flops = row["FLOPs a series"]
        rows.append(
            Bar(
                row["forecaster"].partition(" (")[0],
                float(row["MAE 50 → 50"]),
                "model" in row["forecaster"] or "Qwen" in row["forecaster"],
                None if flops == "–" else float(flops),
            )
        )
    return rows


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


if __name__ == "__main__":
    figure = cost_figure(bars(RESULTS.read_text(encoding="utf-8")), "FLOPs of the forecasts")
    style.save(figure, IMAGE)
