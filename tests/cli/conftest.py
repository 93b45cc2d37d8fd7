"""What all tests of commands share: figures are built, but drawn only where a test looks at one."""

from __future__ import annotations

import pytest

_DRAWN = {
    "svg": b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>',
    "png": b"\x89PNG\r\n\x1a\n",
    "pdf": b"%PDF-1.4\n",
}


@pytest.fixture
def real_figures() -> None:
    """For a test that looks into a figure: how they are drawn is the subject of tests/report."""


@pytest.fixture(autouse=True)
def _figures_are_not_drawn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    # an evaluation draws some thirty, which takes longer than all else that it does here
    if "real_figures" not in request.fixturenames:
        from lvlora.report.drawing import style

        monkeypatch.setattr(style, "render", lambda figure, format: _DRAWN[format])
