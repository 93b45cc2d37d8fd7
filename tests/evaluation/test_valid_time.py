"""How long forecasts hold: stairs that fall from all series."""

import numpy as np
import pytest

from lvlora.evaluation.figures import valid_time_figure

SHARES = {"rival": [1.0, 0.5, 0.0], "a model": [1.0, 1.0, 0.5]}


@pytest.mark.parametrize("narrow", [False, True])
def test_stairs_fall_from_one_and_the_model_comes_first(narrow: bool) -> None:
    figure = valid_time_figure(SHARES, ["a model", "left out"], narrow=narrow)
    figure.draw_without_rendering()
    (axes,) = figure.axes
    bold, other = axes.get_lines()
    assert (bold.get_label(), other.get_label()) == ("a model", "rival")
    assert bold.get_linewidth() > other.get_linewidth()
    assert bold.get_drawstyle() == "steps-post"
    np.testing.assert_allclose(other.get_xdata(), [0, 1, 2, 3])
    np.testing.assert_allclose(other.get_ydata(), [1, 1, 0.5, 0])
