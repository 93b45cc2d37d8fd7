"""Forecast pictures hold what they should: lines, bands, names, and a word on what is left out."""

import dataclasses

import numpy as np
import pytest
from matplotlib.figure import Figure

from lvlora.report.drawing import style
from lvlora.report.forecast import forecast_figure


def words(figure: Figure) -> str:
    return style.render(figure, "svg").decode()


def test_two_variables_alike_share_a_panel(make_picture) -> None:
    figure = forecast_figure(make_picture(2))
    (axes,) = figure.axes
    assert axes.get_xlabel() == "time"
    assert axes.get_ylabel() == "species 0, species 1"
    assert len(axes.collections) == 4  # two bands of two variables
    svg = words(figure)
    for text in ("series 7", "history", "forecast (median)", "10–90 % quantiles", "truth"):
        assert text in svg


def test_two_variables_of_different_size_get_panels(make_picture) -> None:
    figure = forecast_figure(make_picture(2, factors=(1.0, 100.0)))
    assert [axes.get_ylabel() for axes in figure.axes] == ["species 0", "species 1"]
    assert figure.axes[1].get_xlabel() == "time"


def test_the_lines_are_the_numbers(make_picture) -> None:
    picture = make_picture(1)
    (axes,) = forecast_figure(picture).axes
    history, median, truth, start = axes.lines
    np.testing.assert_array_equal(history.get_xydata()[:, 1], picture.history[:, 0])
    # the forecast's line begins at the last observation
    np.testing.assert_array_equal(median.get_xydata()[1:, 1], picture.median[:, 0])
    np.testing.assert_array_equal(median.get_xydata()[0], history.get_xydata()[-1])
    np.testing.assert_array_equal(truth.get_xydata()[:, 1], picture.truth[:, 0])
    assert list(start.get_xdata()) == [picture.history_time[-1]] * 2


@pytest.mark.usefixtures("figures_not_drawn")
def test_many_series_and_variables_are_cut_with_a_note(make_picture) -> None:
    figure = forecast_figure([make_picture(2, title=f"nr {i}") for i in range(9)])
    assert [axes.get_title(loc="left") for axes in figure.axes] == [f"nr {i}" for i in range(6)]
    assert "3 more series not drawn" in words(figure)
    figure = forecast_figure(make_picture(10))
    assert len(figure.axes) == 8
    assert "2 more variables not drawn" in words(figure)


@pytest.mark.usefixtures("figures_not_drawn")
def test_a_long_history_is_cut_with_a_note(make_picture) -> None:
    figure = forecast_figure(make_picture(1, horizon=20, history=500))
    assert len(figure.axes[0].lines[0].get_xdata()) == 120
    assert "last 120 steps" in words(figure)


def test_gaps_stay_gaps_and_a_lone_value_is_a_dot(make_picture) -> None:
    picture = make_picture(1)
    history = picture.history.copy()
    history[[10, 12, -1]] = np.nan
    (axes,) = forecast_figure(dataclasses.replace(picture, history=history)).axes
    dots = [line for line in axes.lines if line.get_marker() == "."]
    assert [list(line.get_xdata()) for line in dots] == [[picture.history_time[11]]]


def test_an_exploding_band_does_not_flatten_the_rest(make_picture) -> None:
    picture = make_picture(1)
    bands = {(0.1, 0.9): (picture.median - 1.0, picture.median + 1e9)}
    figure = forecast_figure(dataclasses.replace(picture, bands=bands))
    assert figure.axes[0].get_ylim()[1] < 10
    assert "band goes beyond the axis" in words(figure)


@pytest.mark.parametrize(
    "how",
    [
        *({"horizon": horizon, "history": history} for horizon in (1, 2) for history in (0, 1, 5)),
        {"factors": (0.0, 0.0)},
        {"factors": (np.nan, np.nan)},
    ],
)
def test_little_can_be_drawn(make_picture, how) -> None:
    """The shortest series, constant ones, and nothing but missing values."""
    words(forecast_figure(make_picture(2, **how)))


def test_names_are_shown_as_they_are(make_picture) -> None:
    svg = words(forecast_figure(make_picture(2, names=("$\\alpha$", "<b>&"), title="a$b$c")))
    for text in ("$\\alpha$", "&lt;b&gt;&amp;", "a$b$c"):
        assert text in svg
