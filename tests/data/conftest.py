"""Data sets that several tests of the room use."""

import numpy as np
import pytest

from lvlora.data.dataset import Dataset, Series


@pytest.fixture
def two_series() -> Dataset:
    """Two series of different lengths and times, with a gap and a negative value."""
    return Dataset(
        (
            Series("a", np.array([0.0, 1.0, 2.5]), np.array([[1.0, 2.0], [np.nan, 0.1], [3, 4]])),
            Series("b 2", np.array([-1.0, 0.5]), np.array([[1e-30, -2.0], [5.0, 1 / 3]])),
        ),
        ("prey", "predator"),
    )
