"""Search spaces in files: what is read, and what is said about what cannot be."""

import pytest

from lvlora.errors import DataError, SettingsError
from lvlora.sweep.space import Range, read_space


@pytest.fixture
def read(tmp_path):
    def read(text):
        path = tmp_path / "space.toml"
        path.write_text(text)
        return read_space(path).dimensions

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
        "batch_size": Range(1, 8, whole=True),
        "rslora": (True, False),
        "alpha_per_rank": (1.0, 2.0),
    }


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("lerning_rate = [1e-3]", "lerning_rate: is not a setting; did you mean learning_rate?"),
        ("lr = [1e-3]", "lr: is not a setting; did you mean learning_rate?"),
        ("model = ['x']", "model: is a setting, but not one to search"),
        ("rank = 4", "rank: should be a list or a range, got 4"),
        ("rank = []", "rank: should be a list or a range, got []"),
        ("rank = [2, 0]", "rank item 2: should be at least 1, got 0"),
        ("rank = [2, 2]", "rank: a value is there twice"),
        ("rank = [true]", "rank item 1: should be a number, got true"),
        ("rank = [2.5]", "rank item 1: should be a whole number, got 2.5"),
        ("schedule = ['cosin']", "did you mean cosine?"),
        ("schedule = {low = 1, high = 2}", "schedule: has words, not numbers: give a list"),
        ("rank = {low = 2}", "rank: a range needs high"),
        ("rank = {low = 2, high = 4, stp = 1}", "a range has no stp; did you mean step?"),
        ("rank = {low = 4, high = 4}", "rank: low should be below high, got 4 and 4"),
        ("rank = {low = 0, high = 4}", "rank low: should be at least 1, got 0"),
        ("rank = {low = 1, high = 4, step = 0.5}", "step: should be a whole number above 0"),
        ("dropout = {low = 0, high = 0.5, log = true}", "a range with log begins above 0, got 0"),
        ("rank = {low = 1, high = 8, log = true, step = 1}", "a range has log or step, not both"),
        ("rank = {low = 1, high = 8, log = 1}", "rank log: should be true or false, got 1"),
        ("alpha = [8]\nalpha_per_rank = [2]", "say the same thing"),
        ("alpha_per_rank = [0]", "alpha_per_rank item 1: should be a number above 0"),
        ("", "it names no setting"),
        ("rank = [2", "is not valid TOML"),
    ],
)
def test_what_is_wrong_is_said(read, text, sentence):
    with pytest.raises(SettingsError) as caught:
        read(text)
    assert sentence in caught.value.message
    assert "docs/sweep.md" in caught.value.hint


def test_all_that_is_wrong_is_said_at_once(read):
    with pytest.raises(SettingsError) as caught:
        read("rank = [0, 'x']\ndropot = [0.1]\nlearning_rate = [2.0]")
    message = caught.value.message
    assert "4 things are wrong" in message
    assert len(message.splitlines()) == 5


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(DataError, match="there is no such file"):
        read_space(tmp_path / "none.toml")
    with pytest.raises(DataError, match="cannot be read"):
        read_space(tmp_path)
    (tmp_path / "x.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="is not UTF-8"):
        read_space(tmp_path / "x.toml")
