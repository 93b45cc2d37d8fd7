"""The five figures of any data set: one to many variables, gaps, unlike lengths, constants."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.text import Text

from lvlora.data.analysis import Analysis, analyze
from lvlora.data.dataset import Dataset, Series
from lvlora.data.settings import AnalyzeSettings, SimulateSettings
from lvlora.data.simulate import simulate
from lvlora.report.analysis import (
    FIGURES,
    clusters_figure,
    distributions_figure,
    draw_analysis,
    states_figure,
    trajectories_figure,
)
from lvlora.report.drawing import style
from lvlora.report.drawing.panels import mean_trajectory


def analysed(dataset: Dataset, clusters: int = 4) -> tuple[Dataset, Analysis]:
    return dataset, analyze(dataset, AnalyzeSettings(clusters=clusters))


@pytest.fixture(scope="module")
def simulated() -> tuple[Dataset, Analysis]:
    return analysed(simulate(SimulateSettings(n_series=16, seed=3)))


@pytest.mark.usefixtures("figures_not_drawn")
def test_every_figure_is_written_as_png_and_svg(simulated, tmp_path: Path) -> None:
    files = draw_analysis(tmp_path / "figures", *simulated)
    assert [f.name for f in files] == [
        f"figure-{i}-{name}.{suffix}"
        for i, name in enumerate(
            ["clusters", "trajectories", "distributions", "means", "states"], start=1
        )
        for suffix in ("png", "svg")
    ]
    for file in files:
        assert file.read_bytes().startswith(b"\x89PNG" if file.suffix == ".png" else b"<?xml")


def test_examples_are_the_clusters_own(simulated) -> None:
    dataset, analysis = simulated
    figure = trajectories_figure(dataset, analysis)
    for axes, example in zip(figure.axes, analysis.clustering.examples, strict=True):
        prey = axes.lines[0].get_ydata()
        np.testing.assert_array_equal(prey, dataset.series[example].values[:, 0])


def test_periods_are_shown_in_time_and_in_samples(simulated) -> None:
    dataset, analysis = simulated
    figure = distributions_figure(dataset, analysis)
    (top,) = figure.axes[0].child_axes
    figure.draw_without_rendering()
    low, high = figure.axes[0].get_xlim()
    step = dataset.series[0].time[1]
    np.testing.assert_allclose(top.get_xlim(), (low / step, high / step))
    assert top.get_xlabel() == "period (samples)"
    medians = [line.get_xdata()[0] for line in figure.axes[0].lines]
    np.testing.assert_allclose(medians, np.nanmedian(analysis.dynamics.periods, axis=0))


def test_states_are_the_first_and_last_values(simulated) -> None:
    dataset, analysis = simulated
    _, last = states_figure(dataset, analysis).axes
    drawn = np.concatenate([np.asarray(c.get_offsets()) for c in last.collections])
    expected = np.array([s.values[-1] for s in dataset])
    np.testing.assert_allclose(np.sort(drawn, axis=0), np.sort(expected, axis=0))


def test_the_mean_is_of_what_is_known_at_each_time() -> None:
    a = Series("a", np.arange(3.0), np.array([[1.0], [np.nan], [3.0]]))
    b = Series("b", np.arange(3.0), np.array([[3.0], [np.nan], [np.nan]]))
    time, mean, deviation = mean_trajectory(Dataset((a, b), ("x",)), [0, 1])
    np.testing.assert_array_equal(time, [0, 1, 2])
    np.testing.assert_array_equal(mean[:, 0], [2, np.nan, 3])
    np.testing.assert_array_equal(deviation[:, 0], [1, np.nan, 0])


def test_the_mean_of_unlike_times_is_interpolated_within_each_series() -> None:
    a = Series("a", np.array([0.0, 10.0]), np.array([[0.0], [10.0]]))
    b = Series("b", np.array([5.0, 20.0]), np.array([[7.0], [22.0]]))
    time, mean, _ = mean_trajectory(Dataset((a, b), ("x",)), [0, 1])
    assert (time[0], time[-1]) == (0.0, 20.0)
    expected = np.where(time < 5, time, np.where(time <= 10, time + 1, time + 2))
    np.testing.assert_allclose(mean[:, 0], expected)


def strange(n_variables: int, n_series: int = 6) -> Dataset:
    """Gaps, unlike lengths and starts, constants, unlike sizes, odd names."""
    rng = np.random.default_rng(n_variables)
    series = []
    for k in range(n_series):
        time = np.arange(30.0 + k) + k
        wave = 2 + np.sin(time[:, None] / (1 + k % 3) + np.arange(n_variables))
        values = wave * 100.0 ** np.arange(n_variables)
        values[rng.random(values.shape) < 0.1] = np.nan
        values[:, -1] = 1.0
        series.append(Series(f"<{k}> $a$", time, values))
    names = ("US$ or $", "<b>", "a long name of a variable that goes on and on", "z", "日本")
    return Dataset(tuple(series), names[:n_variables], time_name="$t$")


@pytest.mark.parametrize(
    "n_variables", [1, pytest.param(5, marks=pytest.mark.slow)]
)  # of two is what is simulated
def test_any_data_set_can_be_drawn(n_variables: int) -> None:
    dataset, analysis = analysed(strange(n_variables), clusters=3)
    for draw in FIGURES.values():
        svg = style.render(draw(dataset, analysis), "svg").decode()
        assert "<b>" not in svg


@pytest.mark.usefixtures("figures_not_drawn")
def test_many_clusters_and_variables_are_cut_with_a_note() -> None:
    dataset = Dataset(
        tuple(
            Series(
                str(k),
                np.arange(20.0),
                np.sin(np.arange(20.0)[:, None] * (k + 1) / 9 + np.arange(8)),
            )
            for k in range(20)
        ),
        tuple("abcdefgh"),
    )
    figure = clusters_figure(*analysed(dataset, clusters=9))
    svg = style.render(figure, "svg").decode()
    assert "more clusters not drawn; 2 more variables not drawn" in svg


@pytest.mark.parametrize("n_series", [1, 2])
def test_series_that_never_change_can_be_drawn(n_series: int) -> None:
    series = tuple(Series(str(k), np.arange(5.0), np.ones((5, 2))) for k in range(n_series))
    dataset, analysis = analysed(Dataset(series, ("x", "y")))
    for draw in FIGURES.values():
        style.render(draw(dataset, analysis), "svg")


@pytest.mark.slow
def test_long_names_stay_in_their_own_place() -> None:
    """No title meets its neighbour, none is cut, and panels under each other begin alike."""
    rng = np.random.default_rng(0)
    time = np.arange(60.0)
    waves = (4e4 + 3e4 * np.sin(time / p) for p in rng.uniform(1, 3, 24))
    series = [
        Series(
            f"a very long name of the series {i}",
            time,
            np.stack([w, w / 1e3, rng.normal(0, (i % 4) / 9, 60)], axis=1),
        )
        for i, w in enumerate(waves)
    ]
    names = ("hare population", "lynx", "temperature in degrees")
    inputs = analysed(Dataset(tuple(series), names))
    for name in ("trajectories", "states"):
        figure = FIGURES[name](*inputs)
        figure.draw_without_rendering()
        titles = [
            artist
            for axes in figure.axes
            for artist in axes.get_children()
            if isinstance(artist, Text) and artist.get_text()
        ]
        assert titles
        boxes = [title.get_window_extent() for title in titles]
        assert all(b.x0 >= 0 and b.x1 <= figure.bbox.x1 and b.y1 <= figure.bbox.y1 for b in boxes)
        met = [(a, b) for i, a in enumerate(boxes) for b in boxes[:i] if a.overlaps(b)]
        assert not met, name


def test_figures_of_a_long_series_are_small():
    steps = 60_000
    time = np.arange(float(steps))
    values = 5 + np.stack([np.sin(time / 9), np.cos(time / 9)], axis=1)
    dataset = Dataset(
        (Series("a", time, values + np.random.default_rng(0).normal(size=(steps, 2))),), ("x", "y")
    )
    analysis = analyze(dataset, AnalyzeSettings())
    assert len(style.render(trajectories_figure(dataset, analysis), "svg")) < 1_500_000
