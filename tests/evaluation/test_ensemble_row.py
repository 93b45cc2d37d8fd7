"""The row of the ensemble: the hindcasts of each member, and what is made of them."""

import numpy as np
import pytest
from scored import hindsight, score_rival

from lvlora.data.dataset import Dataset, Series
from lvlora.evaluation.folder import Pieces
from lvlora.evaluation.protocol import Protocol, Task, task
from lvlora.evaluation.scores import score_ensemble, score_floor
from lvlora.forecast.ensemble import NAME, loss
from lvlora.forecast.rivals import LastValue, SeasonalNaive
from lvlora.forecast.rivals.contract import Rival
from lvlora.forecast.rivals.parts.futures import recent_origins

LEVELS = (0.1, 0.5, 0.9)


def waves(n: int = 3, steps: int = 52) -> Dataset:
    t = np.arange(float(steps))
    series = tuple(
        Series(f"s{i}", t, np.stack([5 + np.sin(t / 1.5 + i), 7 + np.cos(t / 1.5 + i)], axis=1))
        for i in range(n)
    )
    return Dataset(series, ("prey", "predator"), "waves")


def given(data: Dataset) -> Task:
    return task(data, Protocol("all", 40, 12))


def test_the_past_is_what_a_rival_makes_of_a_historys_end() -> None:
    data = waves()
    asked = given(data)
    found = hindsight(LastValue(), asked, data).run()
    assert found.losses.shape == (3, 2)
    for i, history in enumerate(asked.histories):
        for k, (n, n_ahead) in enumerate(recent_origins(40, 12)):
            ahead = np.repeat(history.values[n - 1 : n], n_ahead, axis=0)
            assert found.losses[i, k] == pytest.approx(loss(history.values[: n + n_ahead], ahead))


def test_finished_parts_are_not_done_again(tmp_path) -> None:
    data = waves()
    asked = given(data)
    steps: list[int] = []
    kept = Pieces(tmp_path / "past.jsonl")
    first = hindsight(LastValue(), asked, data, kept).run(steps.append)
    assert sum(steps) == 6
    again = Pieces(tmp_path / "past.jsonl")
    assert hindsight(LastValue(), asked, data, again).n_units == 0

    class Broken(LastValue):
        def forecast(self, time, history):
            raise AssertionError("it was finished")

    second = hindsight(Broken(), asked, data, again).run()
    np.testing.assert_array_equal(second.losses, first.losses)


def test_a_learner_sees_nothing_of_the_ends_it_forecasts() -> None:
    data = waves()
    seen: list[int] = []

    class Learner(LastValue):
        def fit(self, train: Dataset, horizon: int) -> None:
            seen.append(max(len(s) for s in train))
            assert horizon == 10

    hindsight(Learner(), given(data), data).run()
    assert seen == [20, 30]


def test_the_row_leans_on_who_was_right() -> None:
    data = waves()
    asked = given(data)
    entries = []
    rivals: list[Rival] = [LastValue(), SeasonalNaive()]
    for rival in rivals:
        entry = score_rival(rival, asked, data, LEVELS, n_samples=8)
        entry.past = hindsight(rival, asked, data).run()
        entries.append(entry)
    floor = score_floor(asked, 2, LEVELS)
    found = score_ensemble([*entries, floor], asked, LEVELS, 8)
    assert (found.row.name, found.row.kind) == (NAME, "ensemble")
    assert found.samples is not None
    assert found.samples.shape == (3, 8, 12, 2)
    assert found.row.mae < 0.5 * entries[0].row.mae
    assert list(found.row.weights) == ["seasonal naive", "last value"]
    assert sum(found.row.weights.values()) == pytest.approx(1)
    assert score_ensemble(entries, asked, LEVELS, 0).samples is None


def test_nothing_of_the_truth_decides() -> None:
    """Other futures, the same forecast."""
    data = waves()
    other = Dataset(
        tuple(
            Series(s.id, s.time, np.where(np.arange(52)[:, None] < 40, s.values, 99.0))
            for s in data
        ),
        data.variables,
    )
    points = []
    for each in (data, other):
        asked = given(each)
        entries = []
        for rival in (LastValue(), SeasonalNaive()):
            entry = score_rival(rival, asked, each, LEVELS)
            entry.past = hindsight(rival, asked, each).run()
            entries.append(entry)
        points.append(score_ensemble(entries, asked, LEVELS, 0).point)
    np.testing.assert_array_equal(points[0], points[1])


def test_histories_too_short_for_a_past_weigh_all_alike() -> None:
    data = waves(2, 9)
    asked = task(data, Protocol("all", 6, 3))
    entries = []
    for rival in (LastValue(), SeasonalNaive()):
        entry = score_rival(rival, asked, data, LEVELS)
        entry.past = hindsight(rival, asked, data).run()
        assert np.isnan(entry.past.losses).all()
        entries.append(entry)
    found = score_ensemble(entries, asked, LEVELS, 0)
    np.testing.assert_allclose(found.point, (entries[0].point + entries[1].point) / 2)
