"""Dates through the commands: read, extended, written, drawn; absent steps are warned of."""

import base64
import re

import numpy as np
import pytest
import tiny_runs

MONTHS = [f"{2010 + i // 12}-{i % 12 + 1:02d}" for i in range(24)]


@pytest.fixture
def data(tmp_path):
    """Eight monthly series, one of which lacks two months."""
    rows = ["id,month,x"]
    for s in range(8):
        rows += [
            f"s{s},{month},{3 + np.sin(i / 2 + s):.2f}"
            for i, month in enumerate(MONTHS)
            if not (s == 3 and i in (5, 6))
        ]
    path = tmp_path / "data.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.fixture
def forecast(run_lvlora, tiny_folder, tmp_path):
    """The command with a tiny model."""
    model = ["--model", tiny_folder("qwen2"), "--adapter", "none", "--dtype", "float32"]
    small = ["--samples", "2", "--views", "1", "--runs", tmp_path / "runs"]

    def run(*args):
        return run_lvlora(["forecast", *args, *model, *small])

    return run


def test_a_forecast_goes_on_with_dates(forecast, data, tmp_path):
    out = [tmp_path / name for name in ("out.csv", "samples.csv")]
    few = (data, "--series", "s1", "--horizon", "3")
    ran = forecast(*few, "--output", out[0], "--samples-out", out[1])
    assert ran.exit_code == 0, ran.stderr
    assert "2012-03" in ran.stdout
    table = [line.split(",") for line in out[0].read_text().splitlines()]
    assert table[0][:2] == ["id", "month"]
    assert [row[1] for row in table[1:]] == ["2012-01", "2012-02", "2012-03"]
    samples = [line.split(",")[2] for line in out[1].read_text().splitlines()]
    assert samples == ["month", *["2012-01", "2012-02", "2012-03"] * 2]
    answer = forecast(*few, "--json").json
    assert answer["series"][0]["time"] == ["2012-01", "2012-02", "2012-03"]


def test_the_picture_has_an_axis_of_dates(real_figures, forecast, data, tmp_path):
    ran = forecast(data, "--series", "s1", "--horizon", "6", "--plot", tmp_path / "f.svg")
    assert ran.exit_code == 0, ran.stderr
    drawn = (tmp_path / "f.svg").read_text()
    assert all(f">{year}<" in drawn for year in (2010, 2011, 2012))
    assert ">480<" not in drawn


def test_a_forecast_does_not_go_beyond_the_calendar(forecast, tmp_path):
    (tmp_path / "far.csv").write_text("date,x\n9997-01-01,1\n9998-01-01,2\n9999-01-01,3\n")
    ran = forecast(tmp_path / "far.csv", "--horizon", "3")
    assert ran.exit_code == 4
    assert "beyond the year 9999" in ran.stderr


@pytest.mark.parametrize("command", ["train", "forecast", "analyze", "evaluate"])
def test_absent_steps_are_warned_of(run_lvlora, forecast, tiny_folder, data, tmp_path, command):
    model = tiny_folder("qwen2")
    if command == "forecast":
        ran = forecast(data, "--series", "s3", "--horizon", "1")
    elif command == "train":
        flags = tiny_runs.flags(model, tmp_path / "runs", max_steps=1, validate_every=1)
        ran = run_lvlora(["train", data, *flags])
    elif command == "evaluate":
        few = ["--adapter", "none", "--model", model, "--context", "10", "--horizon", "2"]
        few += ["--limit", "1", "--samples", "1", "--views", "1", "--runs", tmp_path / "runs"]
        ran = run_lvlora(["evaluate", data, *few])
    else:
        ran = run_lvlora([command, data])
    assert ran.exit_code == 0, ran.stderr
    assert (
        "2 time steps are absent beside 190 that are there (the first: 2010-06 of series 's3')"
    ) in ran.stderr
    assert ran.stderr.count("are absent") == 1


@pytest.mark.slow
def test_an_analysis_names_the_steps_and_draws_dates(real_figures, run_lvlora, data, tmp_path):
    ran = run_lvlora(["analyze", data, "--out", tmp_path / "figures"], code=0)
    assert "one sample every month; but" in ran.stdout
    assert "the first: 2010-06 of series 's3'" in ran.stdout
    for figure in ("2-trajectories", "4-means"):
        assert ">2011<" in (tmp_path / "figures" / f"figure-{figure}.svg").read_text()
    assert "(months)" in (tmp_path / "figures" / "figure-3-distributions.svg").read_text()
    steps = run_lvlora(["analyze", data, "--json"]).json["quality"]["time_steps"]
    assert steps["unit"] == "month"
    assert (steps["absent"], steps["inserted"], steps["uneven"]) == (2, True, False)
    assert steps["first_absent"] == {"series": "s3", "time": "2010-06"}


@pytest.mark.slow
def test_pages_of_evaluations_have_axes_of_dates(real_figures, run_lvlora, data, tmp_path):
    few = ["--no-model", "--context", "10", "--horizon", "4", "--limit", "2"]
    run_lvlora(["baseline", data, *few, "--out", tmp_path / "e"], code=0)
    assert _drawn_in(tmp_path / "e/report.html", ">2010<")


def _drawn_in(page, text):
    """Whether a picture of the page has this text."""
    pictures = re.findall(r"data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)", page.read_text())
    return any(text in base64.b64decode(picture).decode() for picture in pictures)


def test_rows_of_python_have_datetimes(tiny_base):
    from datetime import datetime

    import lvlora
    from lvlora.forecast.language_model import LanguageModel
    from lvlora.forecast.sampling import Sampling

    data = lvlora.from_frame({"date": ["2020-01-31", "2020-02-29", "2020-03-31"], "x": [1, 2, 3]})
    (drawn,) = LanguageModel(tiny_base()).predict(data, 2, Sampling(samples=1, greedy=True))
    dates = [date.to_pydatetime() for date in drawn.to_frame(())["date"]]
    assert dates == [datetime(2020, 4, 30), datetime(2020, 5, 31)]


def _written(path, head, times):
    rows = [f"{time},{3 + i * i % 7}" for i, time in enumerate(times)]
    path.write_text("\n".join([head, *rows]) + "\n")
    return path


@pytest.mark.parametrize(
    ("head", "times", "options", "ahead"),
    [
        ("Datum,x", ["30.11.2020", "31.12.2020", "31.01.2021"], "%d.%m.%Y", "2021-02-28"),
        ("week,x", ["1991-W06", "1991-W07", "1991-W08"], None, "1991-W09"),
        ("quarter,x", ["2009Q2", "2009Q3", "2009Q4"], None, "2010-Q1"),
    ],
)
def test_dates_of_other_forms(run_lvlora, tmp_path, head, times, options, ahead):
    file = _written(tmp_path / "f.csv", head, times)
    how = ["--date-format", options, "--time-column", head.split(",")[0]] if options else []
    quick = ["--forecaster", "last-value", "--horizon", "1", "--json"]
    ran = run_lvlora(["forecast", file, *how, *quick], code=0)
    assert ran.json["series"][0]["time"] == [ahead]
    if options:
        refused = run_lvlora(["forecast", file, "--time-column", "Datum", *quick], code=4)
        assert "--date-format" in refused.stderr
