"""A sweep's figures and page: which there are, and what little trials give."""

from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from lvlora.report.drawing import style
from lvlora.report.sweep.figures import error_by_flops_figure, is_map, searched, sweep_figures
from lvlora.report.sweep.page import write_sweep_page

SPACE = {
    "learning_rate": FloatDistribution(1e-6, 1e-1, log=True),
    "rank": IntDistribution(1, 64),
    "loss": CategoricalDistribution(("full", "numeric")),
    "targets": CategoricalDistribution(("a$b0", "a$b1", "a$b2")),
}


def row(trial: int, value: float | None, flops: float | None = 1e12, **given: Any) -> Any:
    made = {
        "trial": trial,
        "stage": "search",
        "params": {"rank": 2},
        "state": "complete",
        "value": value,
        "mae": value,
        "loss": value,
        "steps": 3,
        "flops": flops,
        "reason": None,
    }
    return {**made, **given}


GRID = [
    row(3 * i + j, 0.1 * (i + 1) + 0.01 * j, params={"learning_rate": lr, "rank": rank})
    for i, lr in enumerate((1e-5, 5e-5, 1e-4))
    for j, rank in enumerate((2, 4))
]


def test_the_front_is_of_those_that_nothing_beats():
    rows = [row(0, 0.4, 1e12), row(1, 0.5, 2e12), row(2, 0.3, 3e12)]
    (axes,) = error_by_flops_figure(rows, "validation MAE").axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("FLOPs of the trial", "validation MAE")
    best = next(c for c in axes.collections if c.get_label() == "Best Trial")
    assert sorted(map(tuple, best.get_offsets().tolist())) == [(1e12, 0.4), (3e12, 0.3)]


def test_a_grid_of_two_settings_is_a_map():
    assert is_map(GRID)
    rows = [*GRID, row(6, 0.05, stage="final", params={"learning_rate": 1e-5, "rank": 2})]
    importances = {"learning_rate": 0.5, "rank": 0.5}
    figures = sweep_figures(rows, "validation MAE", SPACE, importances)
    assert list(figures) == ["error-by-flops", "map", "parallel", "importances"]
    holes = [*GRID[1:], row(0, None, params=GRID[0]["params"], state="failed")]
    assert "map" in sweep_figures(holes, "loss", SPACE, {})


def test_many_settings_are_lines():
    rows = [
        row(
            i, 0.5 - 0.1 * i, params={"learning_rate": 10.0 ** (i - 5), "rank": i + 1, "loss": word}
        )
        for i, word in enumerate(("full", "numeric", "full", "numeric"))
    ]
    assert searched(rows) == ["learning_rate", "rank", "loss"]
    assert not is_map(rows)
    figures = sweep_figures(rows, "validation MAE", SPACE, {})
    assert list(figures) == ["error-by-flops", "parallel"]
    words = style.render(figures["parallel"], "svg").decode()
    assert all(name in words for name in ("learning_rate", "rank", "numeric", "validation MAE"))


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [row(0, None, None, state="failed")],
        [row(0, 0.5)],
        [row(0, 0.5), row(1, 0.5)],
        [row(0, 0.0, 0.0), row(1, 0.2)],
        [row(i, 0.1 * (i + 1), params={"targets": f"a$b{i}"}) for i in range(3)],
    ],
)
def test_little_has_figures_and_a_page_too(tmp_path, rows):
    figures = sweep_figures(rows, "validation MAE", SPACE, {})
    assert bool(figures) == any(r["value"] is not None for r in rows)
    page = tmp_path / "report.html"
    write_sweep_page(
        page,
        study="mine",
        command="lvlora train",
        metric="validation MAE",
        rows=rows,
        plan=[],
        facts={"seed": 0},
        figures=figures,
    )
    assert "Sweep mine" in page.read_text()


def test_the_page_names_the_best_and_why_others_failed(tmp_path):
    page = tmp_path / "report.html"
    rows = [*GRID, row(9, None, None, state="failed", reason="the loss is <nan>")]
    write_sweep_page(
        page,
        study="mine",
        command="lvlora train --rank 2",
        metric="validation MAE",
        rows=rows,
        plan=[
            {
                "stage": "search",
                "trials": 7,
                "searched": "rank 2, 4",
                "steps": "3",
                "flops_at_most": 10,
            }
        ],
        facts={"seed": 0},
        figures=sweep_figures(rows, "validation MAE", SPACE, {"rank": 0.4}),
    )
    text = page.read_text()
    assert "Best: trial 0" in text
    assert "lvlora train --rank 2" in text
    assert "the loss is &lt;nan&gt;" in text
    assert text.count("<figure>") == 4
