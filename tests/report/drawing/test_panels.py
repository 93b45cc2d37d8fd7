"""Figures of long series stay small."""

import numpy as np

from lvlora.data.analysis import analyze
from lvlora.data.dataset import Dataset, Series
from lvlora.data.settings import AnalyzeSettings
from lvlora.report.analysis import trajectories_figure
from lvlora.report.drawing import style


def test_figures_of_a_long_series_are_small():
    steps = 60_000
    time = np.arange(float(steps))
    values = 5 + np.stack([np.sin(time / 9), np.cos(time / 9)], axis=1)
    dataset = Dataset(
        (Series("a", time, values + np.random.default_rng(0).normal(size=(steps, 2))),), ("x", "y")
    )
    analysis = analyze(dataset, AnalyzeSettings())
    assert len(style.render(trajectories_figure(dataset, analysis), "svg")) < 1_500_000
