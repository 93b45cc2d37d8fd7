"""Few points that draw the same curve, and figures of long series that stay small."""

import numpy as np
import pytest

from lvlora.data.analysis.overview import analyze
from lvlora.data.dataset import Dataset, Series
from lvlora.data.settings import AnalyzeSettings
from lvlora.report.analysis.figures import trajectories_figure
from lvlora.report.drawing import style
from lvlora.report.drawing.panels import kept

RNG = np.random.default_rng(0)


def test_a_short_curve_stays_whole():
    assert kept(np.arange(50.0), 50).tolist() == list(range(50))


@pytest.mark.parametrize("n", [51, 100, 997, 12_345])
def test_ends_extremes_and_order_stay(n):
    values = RNG.normal(size=n)
    shown = kept(values, 50)
    assert len(shown) <= 50
    assert shown[0] == 0
    assert shown[-1] == n - 1
    assert np.all(np.diff(shown) > 0)
    assert values[shown].min() == values.min()
    assert values[shown].max() == values.max()


def test_a_long_gap_stays_a_gap():
    values = RNG.normal(size=1000)
    values[300:600] = np.nan
    shown = kept(values, 50)
    assert np.isnan(values[shown]).sum() >= 6
    assert np.isnan(values[shown[(shown > 350) & (shown < 550)]]).all()


def test_figures_of_a_long_series_are_small():
    steps = 60_000
    time = np.arange(float(steps))
    values = 5 + np.stack([np.sin(time / 9), np.cos(time / 9)], axis=1)
    dataset = Dataset((Series("a", time, values + RNG.normal(size=(steps, 2))),), ("x", "y"))
    analysis = analyze(dataset, AnalyzeSettings())
    assert len(style.render(trajectories_figure(dataset, analysis), "svg")) < 1_500_000
