"""Draw docs/images/cost.png and training.png: error against FLOPs, from tables of the results.

    python scripts/make_cost_figure.py

The first is of the first table of docs/notes/log/2026-11-results.md (50 steps from 50, 128 series),
against the FLOPs of the forecasts. A language model's are those that the text beneath the table
says; the table itself says each rival's. The second is of the table "Error against the FLOPs of
training", with some rivals of the first as lines across.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lvlora.report.drawing import style
from lvlora.report.drawing.cost import draw_cost
from lvlora.report.drawing.errors import Bar

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "notes" / "log" / "2026-11-results.md"
IMAGE = ROOT / "docs" / "images" / "cost.png"
TRAINING = ROOT / "docs" / "images" / "training.png"
N_SERIES = 128
ACROSS = ("last value", "context parroting", "VAR on logs", "NVAR", "SINDy on rates")
"""Rivals that are drawn beside what was trained."""
_SPENT = re.compile(
    r"NLL/D took (?P<plain>[0-9.e]+) FLOPs executed without and (?P<tuned>[0-9.e]+)"
)
_UNTRAINED = 3  # how many times cheaper than the cheapest training the untrained models stand


def rows_of(text: str) -> list[dict[str, Any]]:
    """Name, kind, MAE and FLOPs of each forecaster of the first table that has them."""
    spent = _SPENT.search(text)
    assert spent is not None, "the text says what the models' forecasts took"
    rows = []
    for row in _table(text, "| forecaster |"):
        name, model = row["forecaster"], "bundled model" in row["forecaster"]
        if "greedy" in name:
            continue  # one future a series: its cost is another question
        flops = None if row["FLOPs a series"] == "–" else float(row["FLOPs a series"]) * N_SERIES
        if model:
            flops = float(spent["tuned" if "LoRA" in name else "plain"])
        kind = "model" if model else "floor" if "floor" in name else "rival"
        rows.append({"name": _short(name), "kind": kind, "mae": float(row["MAE"]), "flops": flops})
    return rows


def trainings_of(text: str) -> list[dict[str, Any]]:
    """Model, name, FLOPs (0 of one that is not trained), MAE and series of each training."""
    return [
        {
            "model": row["model"],
            "name": row["trained"],
            "flops": float(row["FLOPs executed"].replace("–", "0")),
            "mae": float(row["MAE"]),
            "series": int(row["series"]),
        }
        for row in _table(text, "| model | trained |")
    ]


def bars_of(rows: list[dict[str, Any]]) -> list[Bar]:
    """Return the rows of the table as a figure takes them."""
    return [Bar(row["name"], row["mae"], row["kind"] == "model", row["flops"]) for row in rows]


def training_figure(trainings: list[dict[str, Any]], rivals: list[dict[str, Any]]) -> Figure:
    """A line for each model over its trainings, from the model as it is; rivals across.

    Args:
        trainings: see `trainings_of`.
        rivals: rows with ``name`` and ``mae``.
    """
    from matplotlib.lines import Line2D

    cheapest = min(row["flops"] for row in trainings if row["flops"])
    dearest = max(row["flops"] for row in trainings)
    with style.look():
        figure = style.new_figure(height=5.2)
        axes = figure.add_subplot()
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("FLOPs of the training, executed (logarithmic)")
        axes.set_ylabel("mean absolute error, 50 → 50 (logarithmic; less is better)")
        untrained = cheapest / _UNTRAINED
        names = list(dict.fromkeys(row["model"] for row in trainings))
        for i, name in enumerate(names):
            rows = [row for row in trainings if row["model"] == name]
            for row in rows:
                whole = row["series"] == N_SERIES
                at = row["flops"] or untrained
                axes.scatter(
                    at,
                    row["mae"],
                    s=44,
                    zorder=3,
                    edgecolor=style.colour(i),
                    facecolor=style.colour(i) if whole else "white",
                )
            best = sorted(rows, key=lambda row: (row["flops"], row["mae"]))
            front = [r for k, r in enumerate(best) if all(r["mae"] < b["mae"] for b in best[:k])]
            axes.plot(
                [r["flops"] or untrained for r in front],
                [r["mae"] for r in front],
                color=style.colour(i),
                linewidth=1.4,
                zorder=2,
            )
        axes.set_xlim(untrained / 1.6, dearest * 1.8)
        for row in rivals:
            axes.axhline(row["mae"], color="#c3cad2", linewidth=1, linestyle=":", zorder=1)
            axes.annotate(
                row["name"],
                (1.0, row["mae"]),
                xycoords=("axes fraction", "data"),
                xytext=(6, 0),
                textcoords="offset points",
                va="center",
                fontsize=8.5,
                color=style.FAINT,
            )
        style.plain_log_ticks(axes.xaxis)
        style.plain_log_ticks(axes.yaxis)
        border = cheapest / _UNTRAINED**0.5
        axes.axvline(border, color="#c3cad2", linewidth=1, zorder=1)
        axes.set_xticks([x for x in axes.get_xticks() if border < x < dearest * 1.8])
        axes.set_xticks([], minor=True)
        axes.annotate(
            "untrained",
            (untrained, 0.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 6),
            textcoords="offset points",
            ha="center",
            fontsize=8.5,
            color=style.FAINT,
        )
        handles: list[Any] = [
            Line2D([], [], color=style.colour(i), marker="o", label=style.plain(name))
            for i, name in enumerate(names)
        ]
        style.legend_below(
            figure, handles, note=f"Filled: all {N_SERIES} validation series; hollow: some of them."
        )
    return figure


def _table(text: str, begins: str) -> list[dict[str, str]]:
    """The rows of the first table whose head begins so."""
    lines = iter(text.splitlines())
    columns = _cells(next(line for line in lines if line.startswith(begins)))
    next(lines)
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append(dict(zip(columns, _cells(line), strict=True)))
    return rows


def _cells(line: str) -> list[str]:
    return [cell.strip().replace("**", "") for cell in line.strip().strip("|").split("|")]


def _short(name: str) -> str:
    return name.replace(", on simulated systems", ", simulated").replace(" (2 decimals)", "")


if __name__ == "__main__":
    told = RESULTS.read_text(encoding="utf-8")
    forecasters = rows_of(told)
    draw_cost(IMAGE, bars_of(forecasters))
    beside = [row for row in forecasters if row["name"] in ACROSS]
    style.save(training_figure(trainings_of(told), beside), TRAINING)
