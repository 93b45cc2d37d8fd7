"""Folders that are whole or not there."""

from __future__ import annotations

import errno

import pytest

from lvlora import durable
from lvlora.errors import DataError, LvloraError, ModelError


def test_a_folder_takes_the_place_of_the_old_one(tmp_path):
    target = tmp_path / "a" / "folder"
    for content in ("first", "second"):
        with durable.replacing_folder(target) as folder:
            (folder / content).write_text(content)
            assert folder.parent == target.parent
        assert [p.name for p in target.iterdir()] == [content]
    assert [p.name for p in target.parent.iterdir()] == ["folder"]


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError(), OSError(errno.ENOSPC, "x")])
def test_what_fails_leaves_all_as_it_was(tmp_path, there, error):
    target = tmp_path / "folder"
    if there:
        with durable.replacing_folder(target) as folder:
            (folder / "old").write_text("old")
    expected = LvloraError if isinstance(error, OSError) else type(error)

    def fail():
        with durable.replacing_folder(target) as folder:
            (folder / "new").write_text("new")
            raise error

    with pytest.raises(expected) as caught:
        fail()
    if isinstance(error, OSError):
        assert "Free some space" in caught.value.hint
    assert [p.name for p in tmp_path.rglob("*")] == (["folder", "old"] if there else [])


def test_when_the_new_one_cannot_be_renamed_the_old_one_comes_back(tmp_path, monkeypatch):
    target = tmp_path / "folder"
    with durable.replacing_folder(target) as folder:
        (folder / "old").write_text("old")
    real = durable.Path.rename

    def rename(self, other):
        if self.suffix == ".part" and other == target:
            raise OSError(errno.EACCES, "no")
        return real(self, other)

    monkeypatch.setattr(durable.Path, "rename", rename)
    with pytest.raises(LvloraError), durable.replacing_folder(target) as folder:
        (folder / "new").write_text("new")
    assert [p.name for p in tmp_path.rglob("*")] == ["folder", "old"]


def test_a_json_file_is_read_whole_or_refused_by_name(tmp_path):
    path = tmp_path / "facts.json"
    path.write_text('{"a": [1]}')
    assert durable.read_json_object(path, 10) == {"a": [1]}
    with pytest.raises(DataError, match=r"facts\.json: .* larger than 9 B"):
        durable.read_json_object(path, 9)
    for content in (b"", b"{", b"[1]", b"\xff", b"[" * 100_000):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"facts\.json: .*JSON") as caught:
            durable.read_json_object(path, hint="Write it again.")
        assert caught.value.hint == "Write it again."
    path.unlink()
    with pytest.raises(ModelError, match="No such file"):
        durable.read_json_object(path, wrong=ModelError)


@pytest.mark.parametrize("digits", [1, 300, 308])
def test_whole_numbers_of_json_can_be_computed_with(digits):
    (number,) = durable.parse_json(f"[{'9' * digits}]")
    assert number == int("9" * digits)
    assert float(number) > 0


@pytest.mark.parametrize("digits", [309, 400, 100_000])
def test_whole_numbers_beyond_floats_are_no_json_of_ours(digits):
    with pytest.raises(ValueError, match="digits"):
        durable.parse_json(f'{{"loss": -{"9" * digits}}}')
