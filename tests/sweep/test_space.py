"""Spaces: their points and ends, their settings, and the files that name them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvlora.errors import SettingsError
from lvlora.sweep.space import Range, Space, merged, read_space, with_params
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
    space = Space({"rank": Range(low, low + n * step, step=step)})
    assert [p["rank"] for p in space.points()] == list(range(low, low + n * step + 1, step))


def test_decimal_steps_give_the_decimals_that_were_meant():
    for high, values in ((0.3, [0.0, 0.1, 0.2, 0.3]), (0.25, [0.0, 0.1, 0.2])):
        points = Space({"dropout": Range(0.0, high, step=0.1)}).points()
        assert [p["dropout"] for p in points] == values


def test_a_grid_too_large_is_refused():
    space = Space({name: Range(0, 999, step=1) for name in ("seed", "rank")})
    with pytest.raises(SettingsError, match="10,000"):
        space.points()


def test_the_later_of_two_spaces_wins():
    both = merged([SPACE, Space({"rank": (16,), "seq_len": (128,)})])
    assert both.root["rank"] == ((16,))
    assert list(both.root) == ["learning_rate", "rank", "seq_len"]


def test_a_choice_becomes_settings():
    base = TrainSettings(rank=3)
    result = with_params(base, {"targets": "q_proj,o_proj", "learning_rate": 1e-4})
    assert result.targets == ("q_proj", "o_proj")
    assert result.rank == 3
    assert with_params(base, {"alpha_per_rank": 4.0, "rank": 5}).alpha == 20.0
    assert with_params(base, {"alpha_per_rank": 4.0}).alpha == 12.0


def test_values_that_do_not_go_together_are_named():
    with pytest.raises(SettingsError, match=r"loss = full, train_head = numeric: .*numeric loss"):
        with_params(TrainSettings(), {"loss": "full", "train_head": "numeric"})


@pytest.fixture
def read(tmp_path):
    def read(text):
        path = tmp_path / "space.toml"
        path.write_text(text)
        return read_space(path).root

    return read


def test_lists_and_ranges(read):
    assert read(
        "learning_rate = {low = 1e-5, high = 1e-3, log = true}\n"
        "rank = [2, 4]\n"
        'targets = [["q_proj", "v_proj"], "all-linear"]\n'
        "dropout = {low = 0, high = 0.2, step = 0.1}\n"
        "batch-size = {low = 1, high = 8}\n"
        "rslora = [true, false]\n"
        "alpha_per_rank = [1, 2]\n"
    ) == {
        "learning_rate": Range(1e-5, 1e-3, log=True),
        "rank": (2, 4),
        "targets": ("q_proj,v_proj", "all-linear"),
        "dropout": Range(0.0, 0.2, step=0.1),
        "batch_size": Range(1, 8),
        "rslora": (True, False),
        "alpha_per_rank": (1.0, 2.0),
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lerning_rate = [1e-3]", "lerning_rate: .* did you mean learning_rate?"),
        ("lr = [1e-3]", "lr: .* did you mean learning_rate?"),
        ("model = ['x']", "model: cannot be searched"),
        ("rank = 4", "rank: .* got 4"),
        ("rank = []", r"rank: .* got \[\]"),
        ("rank = [2, 0]", "rank: item 2: .* got 0"),
        ("rank = [2, 2]", "rank: .* twice"),
        ("rank = [true]", "rank: item 1: .* true"),
        ("rank = [2.5]", "rank: item 1: .* got 2.5"),
        ("schedule = ['cosin']", "schedule: item 1: .* did you mean cosine?"),
        ("schedule = {low = 1, high = 2}", "schedule: low: "),
        ("rank = {low = 2}", "rank: high"),
        ("rank = {low = 2, high = 4, stp = 1}", "rank: stp"),
        ("rank = {low = 2, high = 4, whole = true}", "rank: whole"),
        ("dropout = {low = 0, high = 0.5, whole = false}", "dropout: whole"),
        ("rank = {low = 4, high = 4}", "rank: low .* 4 and 4"),
        ("rank = {low = 0, high = 4}", "rank: low: .* got 0"),
        ("rank = {low = 1, high = 4, step = 0.5}", "rank: step .* got 0.5"),
        ("dropout = {low = 0, high = 0.5, log = true}", "dropout: .* log"),
        ("rank = {low = 1, high = 8, log = true, step = 1}", "rank: .* log .* step"),
        ("rank = {low = 1, high = 8, log = 'x'}", "rank: log"),
        ("alpha = [8]\nalpha_per_rank = [2]", "alpha and alpha_per_rank"),
        ("alpha_per_rank = [0]", "alpha_per_rank: item 1: .* got 0"),
        ("", "no setting"),
        ("rank = [2", "TOML"),
        # every wrong key is named at once
        ("rank = [0]\ndropot = [0.1]\ndropout = [2.0]", "(?s)3 things.*rank.*dropot.*dropout"),
    ],
)
def test_what_cannot_be_searched_is_refused_by_name(read, text, words):
    with pytest.raises(SettingsError, match=words) as caught:
        read(text)
    assert "docs/sweep.md" in caught.value.hint


def test_files_that_are_not_there(tmp_path):
    (tmp_path / "x.toml").write_bytes(b"\xff\xfe")
    for name in ("none.toml", "", "x.toml"):
        with pytest.raises(SettingsError, match="space: "):
            read_space(tmp_path / name)
