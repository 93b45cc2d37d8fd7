"""A sweep's figures: the front, the map, the lines, and what little trials give."""

from __future__ import annotations

from typing import Any

import pytest

from lvlora.report.drawing import style
from lvlora.report.sweep.figures import (
    draw_sweep,
    error_by_flops_figure,
    is_map,
    map_figure,
    parallel_figure,
    searched,
)
from lvlora.report.sweep.importance import importance_figure
from lvlora.report.sweep.page import write_sweep_page


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
    rows = [
        row(0, 0.4, 1e12),
        row(1, 0.5, 2e12),
        row(2, 0.3, 3e12),
        row(3, 0.1, 5e12, state="pruned"),
        row(4, None, None, state="failed"),
    ]
    figure = error_by_flops_figure(rows, "validation MAE", 0.9)
    (axes,) = figure.axes
    front = next(line for line in axes.lines if line.get_drawstyle() == "steps-post")
    assert front.get_xdata().tolist() == [1e12, 3e12]
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words == ["trial", "ended early", "before training"]
    assert axes.get_ylim()[1] > 0.9


def test_stages_are_told_apart():
    figure = error_by_flops_figure([row(0, 0.4), row(1, 0.3, 2e12, stage="final")], "loss")
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words == ["search", "final"]


def test_a_grid_of_two_settings_is_a_map_with_the_best_in_bold():
    assert is_map(GRID)
    rows = [*GRID, row(6, 0.05, stage="final", params={"learning_rate": 1e-5, "rank": 2})]
    figure = map_figure(rows, "validation MAE")
    texts = {text.get_text(): text for text in figure.axes[0].texts}
    assert set(texts) == {"0.1", "0.11", "0.2", "0.21", "0.3", "0.31"}
    assert [name for name, text in texts.items() if text.get_fontweight() == "bold"] == ["0.1"]


def test_cells_without_a_result_are_empty():
    holes = [*GRID[1:], row(0, None, params=GRID[0]["params"], state="failed")]
    texts = [text.get_text() for text in map_figure(holes, "loss", narrow=True).axes[0].texts]
    assert texts.count("–") == 1


def test_many_settings_are_lines():
    rows = [
        row(i, 0.5 - 0.1 * i, params={"learning_rate": 10.0 ** (i - 5), "rank": i, "loss": word})
        for i, word in enumerate(("full", "numeric", "full", "numeric"))
    ]
    assert searched(rows) == ["learning_rate", "rank", "loss"]
    assert not is_map(rows)
    figure = parallel_figure(rows, "validation MAE")
    (axes,) = figure.axes
    lines = [line for line in axes.lines if len(line.get_xdata()) == 4]
    assert len(lines) == 4
    boldest = max(lines, key=lambda line: line.get_linewidth())
    assert boldest.get_ydata()[-1] == 0.0
    assert [t.get_text() for t in axes.get_xticklabels()] == [
        "learning rate",
        "rank",
        "loss",
        "validation MAE",
    ]


def test_the_most_important_setting_is_on_top():
    figure = importance_figure({"learning_rate": 0.25, "rank": 0.7, "a$b": 0.05}, "loss")
    (axes,) = figure.axes
    widths = [bar.get_width() for bar in axes.patches]
    assert widths == [0.05, 0.25, 0.7]
    assert [t.get_text() for t in axes.get_yticklabels()] == [r"a\$b", "learning rate", "rank"]
    assert [t.get_text() for t in axes.texts] == ["5%", "25%", "70%"]


def test_names_are_shown_as_they_are():
    rows = [row(i, 0.1 * (i + 1), params={"targets": f"a$b{i}"}) for i in range(3)]
    assert "a$b0" in style.render(parallel_figure(rows, "loss"), "svg").decode()


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [row(0, None, None, state="failed")],
        [row(0, 0.5)],
        [row(0, 0.5), row(1, 0.5)],
        [row(0, 0.0, 0.0), row(1, 0.2)],
    ],
)
def test_little_has_figures_and_a_page_too(tmp_path, rows):
    written = draw_sweep(tmp_path, rows, "validation MAE", None, {})
    assert sorted(tmp_path.iterdir()) == sorted(written)
    page = tmp_path / "report.html"
    write_sweep_page(
        page,
        study="mine",
        command="lvlora train",
        metric="validation MAE",
        rows=rows,
        plan=[],
        facts={"seed": 0},
        before=None,
        importances={},
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
        before=0.9,
        importances={"rank": 0.3, "learning_rate": 0.7},
    )
    text = page.read_text()
    assert "Best: trial 0" in text
    assert "lvlora train --rank 2" in text
    assert "the loss is &lt;nan&gt;" in text
    assert text.count("<figure>") == 4
