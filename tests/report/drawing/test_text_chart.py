"""The chart of text fits its box, and shows what the numbers are."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lvlora.report.drawing.text_chart import terminal_plot

NUMBERS = st.just(np.nan) | st.floats(-1e12, 1e12)


def test_a_rising_line_in_ascii() -> None:
    assert terminal_plot(np.arange(11), [], width=24, height=5).split("\n") == [
        "10 +                 ***",
        "   |            *****",
        " 5 +        ****",
        "   |   *****",
        " 0 +***",
    ]


def test_history_forecast_band_and_start_are_told_apart() -> None:
    text = terminal_plot(np.zeros(20), np.full(20, 5.0), np.full(20, 3.0), np.full(20, 7.0), 60, 8)
    lines = text.split("\n")
    assert lines[-1].count("*") > 20
    middle = next(line for line in lines if line.count("o") > 20)
    assert lines[-1].rindex("*") < middle.index("o")
    assert any(line.count(".") > 15 for line in lines)
    assert sum(line[10:].count("|") for line in lines) > 3


def test_title_and_times() -> None:
    lines = terminal_plot([1, 2], [3], width=30, title="prey", time=[1900, 1901, 1902]).split("\n")
    assert lines[0] == "prey"
    assert lines[-1].split() == ["1900", "1902"]
    assert lines[-1].endswith("1902")


@given(
    history=arrays(np.float64, st.integers(0, 40), elements=NUMBERS),
    future=arrays(np.float64, st.tuples(st.just(3), st.integers(0, 20)), elements=NUMBERS),
    width=st.integers(0, 100),
    height=st.integers(0, 20),
)
def test_it_fits_and_never_fails(history, future, width: int, height: int) -> None:
    lower, median, upper = future
    text = terminal_plot(history, median, lower, upper, width, height)
    lines = text.split("\n")
    assert len(lines) == max(height, 3)
    assert max(map(len, lines)) <= max(width, 24)
    assert text.isascii()


def test_a_gap_is_not_bridged() -> None:
    values = np.full(60, 1.0)
    values[20:40] = np.nan
    lines = terminal_plot(values, [], width=64, height=3).split("\n")
    line = max(lines, key=lambda s: s.count("*"))
    assert "* " + " " * 15 in line


def test_a_huge_band_does_not_flatten_the_line() -> None:
    text = terminal_plot([0, 1, 0, 1], [0, 1], [-1e9, -1e9], [1e9, 1e9], 40, 12)
    assert sum("*" in line for line in text.split("\n")) >= 4
