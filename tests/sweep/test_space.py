"""Spaces: what is listed, what its ends are, and what a choice means for a run."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvlora.errors import SettingsError
from lvlora.sweep.space import Range, Space, merged, with_params
from lvlora.train.settings import TrainSettings

SPACE = Space({"learning_rate": (1e-4, 1e-3), "rank": (8, 2, 4)})


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
    words = Space({"targets": ("q_proj", "all-linear", "v_proj")})
    assert len(words.corners()) == 3


@given(low=st.integers(-50, 50), n=st.integers(1, 40), step=st.integers(1, 9))
def test_a_range_with_a_step_lists_what_it_holds(low, n, step):
    space = Space({"rank": Range(low, low + n * step, step=step, whole=True)})
    assert [p["rank"] for p in space.points()] == list(range(low, low + n * step + 1, step))


def test_decimal_steps_give_the_decimals_that_were_meant():
    for high, values in ((0.3, [0.0, 0.1, 0.2, 0.3]), (0.25, [0.0, 0.1, 0.2])):
        points = Space({"dropout": Range(0.0, high, step=0.1)}).points()
        assert [p["dropout"] for p in points] == values


def test_a_range_without_a_step_is_no_grid():
    space = Space({"learning_rate": Range(1e-5, 1e-3, log=True)})
    assert not space.is_grid
    with pytest.raises(SettingsError, match="learning_rate has no end"):
        space.points()


def test_a_grid_too_large_is_refused():
    space = Space({name: Range(0, 999, step=1) for name in ("seed", "rank")})
    with pytest.raises(SettingsError, match="10,000"):
        space.points()


def test_the_later_of_two_spaces_wins():
    both = merged([SPACE, Space({"rank": (16,), "seq_len": (128,)})])
    assert both.dimensions["rank"] == ((16,))
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
