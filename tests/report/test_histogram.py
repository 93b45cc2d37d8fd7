"""Histograms count what is there, however little."""

import numpy as np
import pytest

from lvlora.report.analysis.figures import draw_histogram
from lvlora.report.drawing import style


def counted(samples: list[np.ndarray]) -> list[int]:
    """Heights of the filled bars of each sample, summed."""
    with style.look():
        axes = style.new_figure().add_subplot()
        draw_histogram(axes, {f"s{i}": values for i, values in enumerate(samples)})
    return [round(sum(bar.get_height() for bar in bars)) for bars in axes.containers]


@pytest.mark.parametrize("sizes", [(1,), (1, 1), (2, 3), (50, 7)])
def test_no_value_of_few_is_lost(sizes: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    assert counted([rng.normal(10, 1, size) for size in sizes]) == list(sizes)


def test_equal_values_and_missing_ones() -> None:
    assert counted([np.array([3.0, 3.0, np.nan])]) == [2]
    assert counted([np.zeros(4)]) == [4]
    assert counted([np.array([np.nan])]) == []


def test_a_few_odd_ones_among_many_do_not_squeeze_the_rest() -> None:
    values = np.r_[np.random.default_rng(0).normal(10, 1, 999), 1e6]
    assert 980 <= counted([values])[0] < 1000
