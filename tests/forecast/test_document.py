"""Forecasts and densities as documents."""

import numpy as np

from lvlora.forecast.density import Density
from lvlora.forecast.document import density_rows


def test_the_rows_of_a_density_are_the_masses_of_classes():
    values = np.arange(40) / 10
    masses = np.full(40, 0.2 / 38)
    masses[[10, 11]] = 0.4
    rows = density_rows(Density("s", 1.0, 0, (), values, masses, 0.1, 0.0, 0.0))
    assert len(rows) == 14  # of three bins each
    label, share, bar = max(rows, key=lambda row: len(row[2]))
    assert label.split() == ["0.9000", "…", "1.100"]
    assert share == "80.5 %"
    assert len(bar) == 40
    assert density_rows(Density("s", 1.0, 0, (), np.empty(0), np.empty(0), 0.1, 1.0, 0.0)) == []


def test_tables_of_twelve_variables_fit_80_characters(run_lvlora, tmp_path):
    """Each with its times."""
    names = [f"variable{i}" for i in range(12)]
    rows = [",".join([str(t), *(str(1000 * i + t % 7) for i in range(12))]) for t in range(30)]
    data = tmp_path / "wide.csv"
    data.write_text("\n".join([",".join(["year", *names]), *rows]) + "\n")
    for more in ([], ["--holdout", "3"]):
        ran = run_lvlora(["forecast", data, "--forecaster", "last-value", "-n", "3", *more], code=0)
        tables = [line for line in ran.stdout.splitlines() if line.startswith("year ")]
        assert len(tables) > 3
        assert [name for line in tables for name in line.split() if name in names] == names
        assert max(map(len, tables)) <= 80
