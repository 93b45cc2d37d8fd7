"""Importances: what made a difference, and when nothing can be said."""

from __future__ import annotations

import pytest

from lvlora.sweep.attempts import Attempt, importances
from lvlora.sweep.space import Choice, Range, Space

SPACE = Space(
    {
        "learning_rate": Range(1e-5, 1e-2, log=True),
        "rank": Range(2, 8, whole=True),
        "targets": Choice(("q_proj", "v_proj")),
        "dropout": Range(0.0, 0.2, step=0.1),
    }
)


def attempt(slot: int, value: float | None, state: str = "complete", **params: object) -> Attempt:
    return Attempt(slot, slot, state, params, value, {}, {}, None, None, None, None)  # type: ignore[arg-type]


def trials(value, n=24):
    found = []
    for i in range(n):
        params = {
            "learning_rate": 10 ** (-5 + 3 * (i * 7 % n) / n),
            "rank": 2 + i % 7,
            "targets": ("q_proj", "v_proj")[i % 2],
            "dropout": (0.0, 0.1, 0.2)[i % 3],
        }
        found.append(attempt(i, value(params), **params))
    return found


def test_what_decides_has_the_largest_share():
    found = importances(SPACE, trials(lambda p: p["rank"] ** 2 + 10 * p["dropout"]))
    assert max(found, key=found.__getitem__) == "rank"
    assert sum(found.values()) == pytest.approx(1)
    assert found == importances(SPACE, trials(lambda p: p["rank"] ** 2 + 10 * p["dropout"]))


def test_a_name_can_decide():
    found = importances(SPACE, trials(lambda p: float(p["targets"] == "v_proj")))
    assert found["targets"] > 0.8


def test_where_nothing_can_be_said_nothing_is():
    assert importances(SPACE, []) == {}
    assert importances(SPACE, trials(lambda p: 1.0)) == {}
    assert importances(SPACE, trials(lambda p: float(p["rank"]))[:3]) == {}
    failed = [attempt(9, None, "failed", rank=2), attempt(8, 0.1, "pruned", rank=3)]
    assert importances(SPACE, failed * 4) == {}
    one = Space({"rank": Choice((2, 4, 6, 8))})
    assert importances(one, [attempt(i, 0.1 * i, rank=2 * i) for i in range(1, 5)]) == {}
