"""Forecasters side by side: order, kinds, costs, and what cannot be drawn."""

from typing import Any

import numpy as np
import programs
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from lvlora.report.drawing import style
from lvlora.report.drawing.errors import Bar, cost_figure, error_by_step_figure, errors_figure

TABLE = [
    Bar("last value", 0.48),
    Bar("VAR", 0.19, cost=1e8),
    Bar("bundled + LoRA", 0.13, is_model=True, cost=1e13),
    Bar("ridge", 0.26, cost=1e7),
    Bar("broken", None, cost=1e9),
]


def labels(axes: Any) -> list[str]:
    """From the top down."""
    return [t.get_text() for t in axes.get_yticklabels()]


def test_the_best_is_on_top_and_the_model_stands_out() -> None:
    (axes,) = errors_figure(TABLE).axes
    assert labels(axes) == ["bundled + LoRA", "VAR", "ridge", "last value"]
    assert axes.get_yticks().tolist() == [3, 2, 1, 0]
    widths = [bar.get_width() for bar in axes.patches]
    assert widths == [0.13, 0.19, 0.26, 0.48]
    assert axes.get_xscale() == "linear"
    assert axes.get_xlim()[0] == 0
    assert [t.get_fontweight() for t in axes.get_yticklabels()] == ["bold"] + ["normal"] * 3


def test_of_valid_steps_more_is_better() -> None:
    rows = [Bar("a", 3.0), Bar("b", 9.0)]
    (axes,) = errors_figure(rows, "valid_steps").axes
    assert labels(axes) == ["b", "a"]
    assert axes.get_xlabel() == "valid steps (more is better)"


def test_errors_of_different_size_are_dots_on_a_logarithmic_axis() -> None:
    (axes,) = errors_figure([*TABLE, Bar("ODE fit", 0.004)]).axes
    assert axes.get_xscale() == "log"
    assert not axes.patches
    assert "logarithmic" in axes.get_xlabel()


def test_a_line_for_each_forecaster_in_a_panel_for_each_variable() -> None:
    errors = {name: np.outer(np.arange(1, 6), [1.0, 3.0]) * k for k, name in enumerate("abc", 1)}
    figure = error_by_step_figure(errors, ["prey", "predator"], models=["c"])
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["prey", "predator"]
    assert all(axes.get_xlabel() == "steps ahead" for axes in figure.axes)
    lines = {line.get_label(): line for line in figure.axes[1].lines}
    assert lines["b"].get_ydata().tolist() == [6, 12, 18, 24, 30]
    assert lines["c"].get_linewidth() > lines["a"].get_linewidth()
    assert lines["c"].get_color() == style.colour(0)


@pytest.mark.parametrize(
    "table", [[], [Bar("nothing", None)], [Bar("one", 0.2)], [Bar("zero", 0.0, cost=0.0)]]
)
def test_little_can_be_drawn_too(table: list[Bar]) -> None:
    by_step = error_by_step_figure({"a": [[np.nan]]}, ["x"])
    for figure in (errors_figure(table), cost_figure(table, "seconds"), by_step):
        assert b"</svg>" in style.render(figure, "svg")


def test_names_of_forecasters_are_shown_as_they_are() -> None:
    rows = [Bar("a$b$<i>", 0.1, cost=1e6), Bar("c$d$", 0.2)]
    for figure in (errors_figure(rows), cost_figure(rows, "FLOPs")):
        svg = style.render(figure, "svg").decode()
        assert "a$b$&lt;i&gt;" in svg
        assert "c$d$" in svg


def test_the_front_is_of_those_that_nothing_beats() -> None:
    (axes,) = cost_figure(TABLE, "FLOPs").axes
    front = next(line for line in axes.lines if line.get_drawstyle() == "steps-post")
    assert front.get_xdata().tolist() == [1e7, 1e8, 1e13]
    words = {text.get_text() for text in axes.texts}
    assert {"VAR", "ridge", "last value", "bundled + LoRA"} <= words


def test_names_in_the_cost_plane_do_not_cover_each_other() -> None:
    crowd = [Bar(f"rival {i}", 0.2 + 0.001 * i, cost=1e9 * 1.3**i) for i in range(6)]
    lines = [Bar(f"uncounted {i}", 0.2 + 0.002 * i) for i in range(6)]
    figure = cost_figure(crowd + lines, "FLOPs")
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    (axes,) = figure.axes
    boxes = [
        Text.get_window_extent(text, renderer)  # without its arrow
        for text in axes.texts
        if text.get_text().startswith("uncounted")
    ]
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[i + 1 :])


def test_names_of_the_results_cover_neither_each_other_nor_a_point() -> None:
    script = programs.load("scripts/make_cost_figure.py")
    rows = script.bars(script.RESULTS.read_text(encoding="utf-8"))
    assert {row.is_model for row in rows} == {True, False}
    figure = cost_figure(rows, "FLOPs")
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    (axes,) = figure.axes
    names = [text for text in axes.texts if text.get_text()]
    assert len(names) == len(rows) > 10
    boxes = [Text.get_window_extent(text, renderer) for text in names]
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[i + 1 :])
    for row in rows:
        if row.cost:
            mark = axes.transData.transform((row.cost, row.error))
            assert not any(box.contains(*mark) for box in boxes), row.name
