"""Folders that are whole or not there, and which of them are ours."""

import errno
from pathlib import Path

import pytest

from lvlora import folders
from lvlora.errors import LvloraError, SettingsError


@pytest.mark.parametrize("can_exchange", [True, False])
def test_a_folder_takes_the_place_of_the_old_one(tmp_path, monkeypatch, can_exchange):
    if not can_exchange:
        monkeypatch.setattr(folders, "_exchange", lambda *_: False)
    target = tmp_path / "a" / "folder"
    for content in ("first", "second"):
        with folders.replacing(target) as folder:
            (folder / content).write_text(content)
            assert folder.parent == target.parent
        assert [p.name for p in target.iterdir()] == [content]
    assert [p.name for p in target.parent.iterdir()] == ["folder"]


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError(), OSError(errno.ENOSPC, "x")])
def test_what_fails_leaves_all_as_it_was(tmp_path, there, error):
    target = tmp_path / "folder"
    if there:
        with folders.replacing(target) as folder:
            (folder / "old").write_text("old")
    expected = LvloraError if isinstance(error, OSError) else type(error)

    def fail():
        with folders.replacing(target) as folder:
            (folder / "new").write_text("new")
            raise error

    with pytest.raises(expected) as caught:
        fail()
    if isinstance(error, OSError):
        assert "Free some space" in caught.value.hint
    assert [p.name for p in tmp_path.rglob("*")] == (["folder", "old"] if there else [])


def test_when_the_new_one_cannot_be_renamed_the_old_one_comes_back(tmp_path, monkeypatch):
    target = tmp_path / "folder"
    with folders.replacing(target) as folder:
        (folder / "old").write_text("old")
    real = Path.rename
    monkeypatch.setattr(folders, "_exchange", lambda *_: False)

    def rename(self, other):
        if self.suffix == ".part" and other == target:
            raise OSError(errno.EACCES, "no")
        return real(self, other)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(LvloraError), folders.replacing(target) as folder:
        (folder / "new").write_text("new")
    assert [p.name for p in tmp_path.rglob("*")] == ["folder", "old"]


ENTRIES = ("a.txt", "adapter*/*.json", "board/**")


@pytest.mark.parametrize(
    ("files", "strangers"),
    [
        ((), None),
        (("a.txt", "adapter/x.json", "adapter-last/y.json"), None),
        (("board/deep/z", ".b.12ab_cd9.part/half", ".lock", "adapter/.c.0123abcd.old"), None),
        ((".vimrc.old",), ".vimrc.old"),
        (("adapter/.mine.part/notes",), "adapter/.mine.part/notes"),
        (("b.txt",), "b.txt"),
        (("adapter/x.txt",), "adapter/x.txt"),
        (("adapter/deep/x.json",), "adapter/deep/x.json"),
        (("other/x.json",), "other/x.json"),
        (("a.txt/x",), "a.txt/x"),
    ],
)
def test_what_is_not_ours_is_found(tmp_path, files, strangers):
    folders.mark(tmp_path, "run", ENTRIES)
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    assert folders.kind_of(tmp_path) == "run"
    assert folders.stranger_in(tmp_path) == strangers


@pytest.mark.parametrize("name", ["a.txt", "adapter"])
def test_a_link_is_not_ours(tmp_path, name):
    (tmp_path / "elsewhere").mkdir()
    folder = tmp_path / "folder"
    folder.mkdir()
    folders.mark(folder, "run", ENTRIES)
    (folder / name).symlink_to(tmp_path / "elsewhere")
    assert folders.stranger_in(folder) == name


@pytest.mark.parametrize("mark", ["", "[]", "{}", '{"kind": 1, "entries": []}', '{"kind": "run"}'])
def test_a_folder_without_a_whole_mark_is_not_ours(tmp_path, monkeypatch, mark):
    monkeypatch.chdir("/")
    (tmp_path / folders.MARK).write_text(mark)
    assert folders.kind_of(tmp_path) is None
    with pytest.raises(SettingsError, match="is no run that lvlora made"):
        folders.check_replaceable("--out", tmp_path, "run", {})
