"""Made-up results, as plain as the rooms that make real ones give them."""

from collections.abc import Callable

import numpy as np
import pytest

from lvlora.report.forecast import ForecastPicture

MakePicture = Callable[..., ForecastPicture]


@pytest.fixture(autouse=True)
def _quick_figures() -> None:
    """Here they are drawn, but where a test asks for `figures_not_drawn`."""


@pytest.fixture(scope="session")
def make_picture() -> MakePicture:
    """``make_picture(n_variables=2, horizon=20, history=50, …)``: a forecast with two bands."""

    def make(
        n_variables: int = 2,
        horizon: int = 20,
        history: int = 50,
        *,
        truth: bool = True,
        names: tuple[str, ...] | None = None,
        title: str = "series 7",
        factors: tuple[float, ...] | None = None,
    ) -> ForecastPicture:
        time = np.arange(history + horizon) * 2.0
        factor = np.array(factors or (1.0,) * n_variables)
        phase = np.arange(n_variables) * 0.8
        values = (2 + np.sin(time[:, None] / 6 - phase)) * factor
        future = values[history:]
        spread = 0.1 * factor * np.sqrt(np.arange(1, horizon + 1))[:, None]
        return ForecastPicture(
            variables=names or tuple(f"species {v}" for v in range(n_variables)),
            time_name="time",
            history_time=time[:history],
            history=values[:history],
            future_time=time[history:],
            median=future * 1.02,
            bands={
                (0.1, 0.9): (future - 2 * spread, future + 2 * spread),
                (0.25, 0.75): (future - spread, future + spread),
            },
            truth=future if truth else None,
            title=title,
        )

    return make
