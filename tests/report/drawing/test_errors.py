"""Forecasters side by side: order, kinds, costs, and what cannot be drawn."""

from typing import Any

import numpy as np
import pytest

from lvlora.report.drawing import style
from lvlora.report.drawing.errors import (
    Bar,
    error_by_step_figure,
    errors_figure,
)


def row(name: str, mae: float | None, kind: str = "rival") -> Bar:
    return Bar(name, mae, kind == "model")


TABLE = [
    row("last value", 0.48),
    row("VAR", 0.19),
    row("bundled + LoRA", 0.13, "model"),
    row("ridge", 0.26),
    row("broken", None),
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
    (axes,) = errors_figure([*TABLE, row("ODE fit", 0.004)]).axes
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
    "table", [[], [row("nothing", None)], [row("one", 0.2)], [row("zero", 0.0)]]
)
def test_little_can_be_drawn_too(table: list[Bar]) -> None:
    for figure in (errors_figure(table), error_by_step_figure({"a": [[np.nan]]}, ["x"])):
        assert b"</svg>" in style.render(figure, "svg")


def test_names_of_forecasters_are_shown_as_they_are() -> None:
    svg = style.render(errors_figure([row("a$b$<i>", 0.1)]), "svg").decode()
    assert "a$b$&lt;i&gt;" in svg
