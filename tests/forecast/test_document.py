"""Forecasts as documents."""


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
