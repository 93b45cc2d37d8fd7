"""How forecasts look on a terminal."""

import numpy as np

from lvlora.cli.terminal.forecasts import density_chart
from lvlora.forecast.density import Density


def test_the_chart_shows_the_masses_of_classes():
    values = np.arange(40) / 10
    masses = np.full(40, 0.2 / 38)
    masses[[10, 11]] = 0.4
    one = Density("s", 1.0, 0, (), values, masses, 0.1, 0.0, 0.0)
    lines = density_chart(one)
    assert len(lines) == 14  # of three bins each
    longest = max(lines, key=lambda line: line.count("█"))
    assert longest.split()[:3] == ["0.9000", "…", "1.100"]
    assert "80.5 %" in longest
    assert longest.count("█") == 40
    assert all("#" in line or "%" in line for line in density_chart(one, ascii_only=True))
    assert all(line.isascii() for line in density_chart(one, ascii_only=True))
    nothing = Density("s", 1.0, 0, (), np.empty(0), np.empty(0), 0.1, 1.0, 0.0)
    assert density_chart(nothing) == []
