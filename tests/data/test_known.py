"""Columns whose future is known, set apart from those that are forecast."""

from dataclasses import replace

import numpy as np
import pytest

from lvlora.data import known
from lvlora.data.dataset import Dataset, Series
from lvlora.data.frames import from_frame
from lvlora.data.gaps import insert_absent
from lvlora.data.known import known_ahead, read_known, with_known
from lvlora.data.splits import cut
from lvlora.errors import DataError, SettingsError
from lvlora.forecast.rivals import default_rivals
from lvlora.forecast.settings import ForecastSettings
from lvlora.narrator import Silent
from lvlora.settings.shared import InputSettings

NAN = np.nan


def _table(n=6, n_known_further=2):
    past = list(range(1, n + 1))
    values = [10.0 + k if k <= n else NAN for k in range(1, n + n_known_further + 1)]
    return {
        "year": [1900 + k for k in range(1, len(values) + 1)],
        "hare": values,
        "warmth": [0.5 * k for k in range(1, len(values) + 1)],
        "lynx": [*[2.0 * k for k in past], *[NAN] * n_known_further],
    }


def test_rows_after_the_last_value_of_any_column_are_the_future():
    table = _table()
    table["hare"][5] = NAN  # lynx has a value there
    data = with_known(from_frame(table), ["warmth"])
    assert data.variables == ("hare", "lynx")
    assert data.known == ("warmth",)
    (series,) = data
    assert series.values.shape == (6, 2)
    assert series.ahead.tolist() == [1907, 1908]
    assert known_ahead(series, 2).ravel().tolist() == [0.5 * k for k in range(1, 9)]


@pytest.mark.parametrize(
    ("names", "what"),
    [
        (["warmht"], "Did you mean warmth"),
        (["warmth", "warmth"], "twice"),
        (["hare", "warmth", "lynx"], "nothing is left to forecast"),
    ],
)
def test_what_cannot_be_known_is_refused(names, what):
    with pytest.raises(DataError) as refused:
        with_known(from_frame(_table()), names)
    assert what in f"{refused.value} {refused.value.hint}"


def test_a_future_without_a_value_is_refused():
    table = {name: [*column, NAN] for name, column in _table().items()}
    table["year"][-1] = 1910  # 1909 is absent
    table["warmth"][-1] = 8.0
    (series,) = with_known(from_frame(table), ["warmth"])
    assert series.ahead.tolist() == [1907, 1908, 1909, 1910]
    with pytest.raises(DataError, match="warmth has no value at 1909"):
        known_ahead(series, 4, ("warmth",))


def test_files_are_read_with_known_columns_whatever_columns_are_chosen(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("year,hare,warmth,lynx\n1,5,3,1\n2,6,4,2\n3,7,5,3\n4,,1,\n")
    data = read_known(path, ForecastSettings(data=path, known=("warmth",), columns=("hare",)))
    assert data.variables == ("hare",)
    assert data[0].known.ravel().tolist() == [3, 4, 5, 1]


def test_a_history_keeps_what_is_known_and_nothing_else_of_the_future():
    time = np.arange(10.0) ** 2
    known = np.arange(12.0)[:, None]
    series = Series(
        "a", time, np.arange(20.0).reshape(10, 2), known=known, ahead=np.array([100.0, 121])
    )
    history, future = (c := cut(series, 6, 3)).history, c.future
    assert history.ahead.tolist() == [36, 49, 64, 81, 100, 121]
    assert np.array_equal(history.known, known)
    assert history.known.base is None
    assert history.values.base is None
    assert future.known[0, 0] == 6
    assert np.array_equal(series.steps(2, 5).known, known[2:])


def test_absent_rows_have_no_known_value_and_go_again():
    time = np.array([0.0, 1, 2, 4, 5])
    series = Series(
        "a", time, time[:, None], known=np.arange(7.0)[:, None], ahead=np.array([6.0, 7])
    )
    there = insert_absent(series)
    assert np.isnan(there.known[3, 0])
    assert there.known[4:].ravel().tolist() == [3, 4, 5, 6]
    assert np.array_equal(there.as_recorded().known, series.known)


def test_a_data_set_is_another_with_other_known_columns():
    data = from_frame(_table(6, 0))
    known = with_known(data, ["warmth"])
    assert len({data.sha256(), known.sha256(), with_known(data, ["lynx"]).sha256()}) == 3
    moved = replace(known[0], known=known[0].known + 1)
    assert replace(known, series=(moved,)).sha256() != known.sha256()


def _driven(n=60, horizon=12):
    """A population that follows a driver nobody could forecast."""
    rng = np.random.default_rng(5)
    driver = rng.normal(0, 1, n + horizon)
    log = np.zeros(n + horizon)
    for t in range(1, len(log)):
        log[t] = 0.3 * log[t - 1] + 0.8 * driver[t]
    return np.arange(n + horizon, dtype=float), np.exp(log)[:, None], driver[:, None]


@pytest.mark.parametrize("name", ["var on logs", "nvar"])
def test_rivals_that_use_known_columns_follow_them(name):
    time, values, driver = _driven()
    (rival,) = (r for r in default_rivals() if r.name == name)
    blind, seeing = (
        np.abs(np.log(rival.prediction(time, values[:60], known=k).point / values[60:])).mean()
        for k in (None, driver)
    )
    assert rival.uses_known
    assert seeing < 0.25 * blind
    drawn = rival.prediction(time, values[:60], 20, "a", driver)
    assert drawn.samples.shape == (20, 12, 1)


def test_equations_are_found_beside_what_drives_them():
    """dx/dt = -x + u: its forcing is known ahead, and changes after the history's end."""
    time = np.linspace(0, 24, 97)
    forcing = np.where(time < 18, np.sin(time), 2.0 + np.sin(3 * time))
    x = np.zeros(len(time))
    for i in range(1, len(time)):
        dt = time[i] - time[i - 1]
        for k in range(20):
            u = np.interp(time[i - 1] + dt * k / 20, time, forcing)
            x[i] = (x[i] if k else x[i - 1]) + dt / 20 * (u - (x[i] if k else x[i - 1]))
    (rival,) = (r for r in default_rivals() if r.name == "sindy on levels")
    truth = x[70:, None]
    blind, seeing = (
        np.abs(rival.prediction(time, x[:70, None], known=k).point - truth).mean()
        for k in (None, forcing[:, None])
    )
    assert seeing < 0.3 * blind


@pytest.mark.slow
def test_other_rivals_never_see_them():
    time, values, driver = _driven()
    for rival in default_rivals():
        if rival.uses_known or rival.refusal(Dataset((Series("a", time, values),), ("x",))):
            continue
        if rival.name in ("gaussian process", "arima", "fracast-0"):
            continue  # slow
        plain = rival.prediction(time, values[:60]).point
        assert np.array_equal(plain, rival.prediction(time, values[:60], known=driver).point)


def test_a_terminal_as_standard_input_is_no_file(monkeypatch):
    class Terminal:
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(known.sys, "stdin", Terminal())
    with pytest.raises(SettingsError, match="terminal"):
        known.read_data(InputSettings(data="-"), Silent())
