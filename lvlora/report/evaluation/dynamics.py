"""What an evaluation's page says of skill, win rates and dynamics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lvlora.report.page import Block, Cell, Table
from lvlora.series.metrics.measures import DynamicsErrors, metrics_of

_RANKED = {"skill": "skill", "win_rate": "win rate"}

Rows = Sequence[Mapping[str, Any]]


def ranking_of(rows: Rows, marked: Sequence[int]) -> list[Block]:
    """Skill and win rates with their intervals; nothing where nobody has one."""
    heads = {key: head for key, head in _RANKED.items() if any(f.get(key) for f in rows)}
    if not heads:
        return []
    cells: list[list[Cell]] = [[f["name"], *(_interval(f.get(key)) for key in heads)] for f in rows]
    words = []
    if "skill" in heads:
        words.append(
            "Skill is 1 minus the geometric mean, over series, of the scaled error over that of "
            "seasonal naive, each ratio kept within 0.01 and 100: 0 is seasonal naive, 1 perfect."
        )
    if "win_rate" in heads:
        words.append(
            "The win rate is the share of pairs, one other forecaster on one series, with the "
            "smaller scaled error; ties count half."
        )
    return [
        Table(
            "All with all, with the 95 % interval of a bootstrap over series",
            ["forecaster", *heads.values()],
            cells,
            marked,
        ),
        " ".join(words),
    ]


def dynamics_of(rows: Rows, marked: Sequence[int]) -> list[Block]:
    """Measures of dynamics; nothing where none is defined."""
    heads = {
        key: metric.head_with_unit
        for key, metric in metrics_of(DynamicsErrors).items()
        if any(f.get(key) is not None for f in rows)
    }
    if not heads:
        return []
    cells: list[list[Cell]] = [[f["name"], *(f.get(key) for key in heads)] for f in rows]
    return [
        Table("How well the dynamics are kept", ["forecaster", *heads.values()], cells, marked),
        "Steps are valid until sMAPE (0 to 100) first exceeds 30, and at most the horizon; all "
        "others are errors, less is better. Amplitude: relative, of the median series. Phase: 0.25 "
        "is chance, 0.5 the opposite. Spectrum: Hellinger distance, 0 to 1. D_stsp: divergence of "
        "the visited states, about 11.5 where none is shared.",
    ]


def _interval(found: Mapping[str, float | None] | None) -> str | None:
    if found is None or found["value"] is None:
        return None
    if found["low"] is None:
        return f"{found['value']:.3f}"
    return f"{found['value']:.3f} ({found['low']:.3f} to {found['high']:.3f})"
