"""What --adapter means."""

from pathlib import Path

import pytest

from lvlora.errors import ModelError
from lvlora.model.adapters.search import find_adapter


def make_adapter(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text("{}")
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two runs, the newer one named by ``latest``, and one without an adapter."""
    runs = tmp_path / "runs"
    make_adapter(runs / "20260101-1200-first" / "adapter")
    make_adapter(runs / "20260102-1200-second" / "adapter")
    (runs / "20260103-1200-unfinished").mkdir()
    (runs / "latest").write_text("20260102-1200-second\n")
    return runs


def test_left_out_is_the_newest_run(runs):
    assert find_adapter(None, runs) == runs / "20260102-1200-second" / "adapter"
    assert find_adapter("latest", runs) == runs / "20260102-1200-second" / "adapter"


@pytest.mark.parametrize("made", [True, False])
def test_left_out_without_any_run_is_none_but_latest_is_an_error(tmp_path, made):
    runs = tmp_path / "runs"
    if made:
        runs.mkdir()
    assert find_adapter(None, runs) is None
    with pytest.raises(ModelError, match="no run in"):
        find_adapter("latest", runs)


def test_a_run_name_a_run_folder_and_an_adapter_folder(runs, tmp_path, monkeypatch):
    expected = runs / "20260101-1200-first" / "adapter"
    assert find_adapter("20260101-1200-first", runs) == expected
    assert find_adapter(str(runs / "20260101-1200-first"), runs) == expected
    assert find_adapter(str(expected), runs) == expected
    elsewhere = make_adapter(tmp_path / "elsewhere")
    assert find_adapter(str(elsewhere), runs) == elsewhere
    monkeypatch.chdir(tmp_path)
    assert find_adapter("elsewhere", runs) == Path("elsewhere")


def test_a_folder_here_without_adapter_does_not_hide_the_run_of_its_name(
    runs, tmp_path, monkeypatch
):
    (tmp_path / "20260101-1200-first").mkdir()
    monkeypatch.chdir(tmp_path)
    assert find_adapter("20260101-1200-first", runs) == runs / "20260101-1200-first" / "adapter"


def test_unknown_name_is_suggested(runs):
    with pytest.raises(ModelError) as caught:
        find_adapter("20260101-1200-frist", runs)
    assert "Did you mean 20260101-1200-first?" in caught.value.hint
    assert caught.value.exit_code == 4
    with pytest.raises(ModelError) as caught:
        find_adapter("second", runs)
    assert "Did you mean 20260102-1200-second?" in caught.value.hint


@pytest.mark.parametrize(
    "name", ["..", "../outside", ".", "", "a/../../outside", "nul\0", "x" * 5000]
)
def test_names_never_leave_the_runs(runs, name, monkeypatch):
    make_adapter(runs.parent / "outside")
    (runs.parent / "cwd").mkdir()
    monkeypatch.chdir(runs.parent / "cwd")
    if name == "../outside":  # as a path from here it is a folder the user named
        assert find_adapter(name, runs) == Path("../outside")
        monkeypatch.chdir(runs)
        (runs / "deep").mkdir()
        monkeypatch.chdir(runs / "deep")
    with pytest.raises(ModelError):
        find_adapter(name, runs)


def test_a_run_that_is_a_link_to_somewhere_else_is_not_taken_by_name(runs):
    outside = make_adapter(runs.parent / "outside")
    (runs / "linked").symlink_to(outside, target_is_directory=True)
    with pytest.raises(ModelError):
        find_adapter("linked", runs)


@pytest.mark.parametrize("content", ["../outside", "", "\x00", "a b", "/etc", "two\nnames"])
def test_a_bad_pointer_is_an_error(runs, content):
    make_adapter(runs.parent / "outside")
    (runs / "latest").write_text(content)
    with pytest.raises(ModelError, match="latest"):
        find_adapter(None, runs)


@pytest.mark.parametrize("name", ["20260103-1200-unfinished", "vanished"])
def test_newest_run_without_adapter_is_an_error_not_a_silent_zero_shot(runs, name):
    (runs / "latest").write_text(name)
    with pytest.raises(ModelError, match=name):
        find_adapter(None, runs)
