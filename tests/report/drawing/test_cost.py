"""The cost-accuracy plane: its front, its names, and forecasters without a price."""

from typing import Any

import programs
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from lvlora.report.drawing import style
from lvlora.report.drawing.errors import Bar, cost_figure


def row(name: str, mae: float | None, flops: float | None = None, kind: str = "rival") -> Bar:
    return Bar(name, mae, kind == "model", flops)


TABLE = [
    row("last value", 0.48),
    row("VAR", 0.19, 1e8),
    row("bundled + LoRA", 0.13, 1e13, "model"),
    row("ridge", 0.26, 1e7),
    row("broken", None, 1e9),
]


def test_the_front_is_of_those_that_nothing_beats() -> None:
    (axes,) = cost_figure(TABLE, "FLOPs").axes
    front = next(line for line in axes.lines if line.get_drawstyle() == "steps-post")
    assert front.get_xdata().tolist() == [1e7, 1e8, 1e13]
    words = {text.get_text() for text in axes.texts}
    assert {"VAR", "ridge", "last value", "bundled + LoRA"} <= words


def test_names_in_the_cost_plane_do_not_cover_each_other() -> None:
    crowd = [row(f"rival {i}", 0.2 + 0.001 * i, 1e9 * 1.3**i) for i in range(6)]
    lines = [row(f"uncounted {i}", 0.2 + 0.002 * i) for i in range(6)]
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


def test_names_in_the_plane_are_shown_as_they_are() -> None:
    svg = style.render(
        cost_figure([row("a$b$<i>", 0.1, 1e6), row("c$d$", 0.2)], "FLOPs"), "svg"
    ).decode()
    assert "a$b$&lt;i&gt;" in svg
    assert "c$d$" in svg


@pytest.mark.parametrize(
    "table", [[], [row("nothing", None)], [row("one", 0.2)], [row("z", 0.0, 0.0)]]
)
def test_little_has_a_plane_too(table: list[Any]) -> None:
    assert style.render(cost_figure(table, "seconds"), "svg")
