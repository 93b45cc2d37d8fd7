"""Spaces: what is listed, what its ends are, and what a choice means for a run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvlora.errors import SettingsError
from lvlora.settings.training import TrainSettings
from lvlora.sweep.space import Choice, Range, Space, merged, with_params

SPACE = Space({"learning_rate": Choice((1e-4, 1e-3)), "rank": Choice((8, 2, 4))})


def test_a_grid_is_every_combination_in_order():
    points = SPACE.points()
    assert points[:3] == [
        {"learning_rate": 1e-4, "rank": 8},
        {"learning_rate": 1e-4, "rank": 2},
        {"learning_rate": 1e-4, "rank": 4},
    ]
    assert len(points) == 6


def test_corners_hold_what_a_price_depends_on():
    assert SPACE.corners() == [
        {"learning_rate": 1e-4, "rank": 2},
        {"learning_rate": 1e-4, "rank": 8},
    ]
    words = Space({"targets": Choice(("q_proj", "all-linear", "v_proj"))})
    assert len(words.corners()) == 3


@given(low=st.integers(-50, 50), n=st.integers(1, 40), step=st.integers(1, 9))
def test_a_range_with_a_step_lists_what_it_holds(low, n, step):
    found = Range(low, low + n * step, step=step, whole=True).listed()
    assert found == tuple(range(low, low + n * step + 1, step))


def test_decimal_steps_give_the_decimals_that_were_meant():
    assert Range(0.0, 0.3, step=0.1).listed() == (0.0, 0.1, 0.2, 0.3)
    assert Range(0.0, 0.25, step=0.1).listed() == (0.0, 0.1, 0.2)


def test_a_range_without_a_step_is_no_grid():
    space = Space({"learning_rate": Range(1e-5, 1e-3, log=True)})
    assert not space.is_grid
    with pytest.raises(SettingsError, match="learning_rate has no end"):
        space.points()


def test_a_grid_too_large_is_refused():
    space = Space({name: Range(0, 999, step=1) for name in ("seed", "rank")})
    with pytest.raises(SettingsError, match="10,000"):
        space.points()


def test_a_space_is_the_same_when_read_back():
    space = Space({"rank": Range(2, 64, log=True, whole=True), "targets": Choice(("q_proj",))})
    assert Space.from_dict(space.to_dict()) == space


def test_the_later_of_two_spaces_wins():
    both = merged([SPACE, Space({"rank": Choice((16,)), "seq_len": Choice((128,))})])
    assert both.dimensions["rank"] == Choice((16,))
    assert list(both.dimensions) == ["learning_rate", "rank", "seq_len"]


def test_a_choice_becomes_settings():
    base = TrainSettings(rank=3)
    found = with_params(base, {"targets": "q_proj,o_proj", "learning_rate": 1e-4})
    assert found.targets == ("q_proj", "o_proj")
    assert found.rank == 3
    assert with_params(base, {"alpha_per_rank": 4.0, "rank": 5}).alpha == 20.0
    assert with_params(base, {"alpha_per_rank": 4.0}).alpha == 12.0


def test_values_that_do_not_go_together_are_named():
    with pytest.raises(SettingsError, match=r"loss = full, train_head = numeric: .*numeric loss"):
        with_params(TrainSettings(), {"loss": "full", "train_head": "numeric"})
