"""What all tests of commands share: figures are built, but drawn only where a test looks at one."""

from __future__ import annotations

import pytest


@pytest.fixture
def real_figures() -> None:
    """For a test that looks into a figure: how they are drawn is the subject of tests/report."""


@pytest.fixture(autouse=True)
def _quick_figures(request: pytest.FixtureRequest) -> None:
    if "real_figures" not in request.fixturenames:
        request.getfixturevalue("figures_not_drawn")
