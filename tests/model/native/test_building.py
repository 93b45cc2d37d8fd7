"""Compiling once, and doing without where it can't be."""

import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from lvlora.model.native import building

COMPILER = building.compiler()
pytestmark = pytest.mark.skipif(
    COMPILER is None or sys.platform == "win32", reason="no C compiler on this machine"
)


@pytest.fixture
def compiled(tmp_path, monkeypatch):
    """A small source, an empty cache, a compiler that notes its calls; how many it noted."""
    assert COMPILER is not None
    source, noted = tmp_path / "small.c", tmp_path / "noted"
    source.write_text("long long answer(void) { return 42; }\n")
    wrapper = tmp_path / "noting"
    wrapper.write_text(f'#!/bin/sh\necho >> "{noted}"\nexec {" ".join(COMPILER)} "$@"\n')
    wrapper.chmod(0o755)
    noted.touch()
    monkeypatch.setattr(building, "SOURCE", source)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("CC", str(wrapper))
    building.library.cache_clear()
    yield lambda: noted.read_text().count("\n")
    building.library.cache_clear()


def _anew():
    building.library.cache_clear()
    return building.library(torch.float32)


def _kept():
    return sorted(building.folder().iterdir())


def test_it_is_compiled_once_and_kept(compiled):
    for _ in range(3):
        assert _anew().answer() == 42
    assert compiled() == 1
    (saved,) = _kept()
    assert saved.suffix == ".so"


def test_many_may_compile_at_once(compiled):
    with ThreadPoolExecutor(4) as threads:
        result = list(threads.map(building.library.__wrapped__, [torch.float32] * 4))
    assert [library.answer() for library in result] == [42] * 4
    assert 1 <= compiled() <= 4
    assert all(path.suffix == ".so" for path in _kept())
    before = compiled()
    assert _anew().answer() == 42
    assert compiled() == before


def test_another_source_and_another_compiler_are_compiled_for_themselves(compiled, monkeypatch):
    assert _anew().answer() == 42
    building.SOURCE.write_text("long long answer(void) { return 43; }\n")
    assert _anew().answer() == 43
    monkeypatch.setenv("CC", f"{os.environ['CC']} -O1")
    assert _anew().answer() == 43
    assert compiled() == 3


@pytest.mark.parametrize("harm", ["cut", "emptied", "changed"])
def test_what_is_no_longer_whole_is_compiled_anew(compiled, harm):
    assert _anew().answer() == 42
    (saved,) = _kept()
    reference = saved.read_bytes()
    half = len(reference) // 2
    changed = {"cut": reference[:half], "emptied": b"", "changed": reference[:half] + bytes(half)}[
        harm
    ]
    # another file in its place: this process has the first one loaded
    saved.unlink()
    saved.write_bytes(changed)
    assert _anew().answer() == 42
    assert compiled() == 2
    assert all(path.read_bytes() != changed for path in _kept())


def test_none_where_it_is_switched_off(compiled, monkeypatch):
    monkeypatch.setenv(building.SWITCH, "0")
    assert _anew() is None
    assert compiled() == 0
    monkeypatch.setenv(building.SWITCH, "1")
    assert _anew() is not None


def test_bfloat16_needs_an_instruction(compiled, monkeypatch):
    monkeypatch.setattr(building, "multiplies_bfloat16", lambda: False)
    assert building.library(torch.bfloat16) is None
    assert compiled() == 0


@pytest.mark.parametrize("cc", ["no-such-compiler-here", "false", "'unbalanced", "/"])
def test_none_and_no_error_without_a_compiler_that_works(compiled, monkeypatch, cc):
    monkeypatch.setenv("CC", cc)
    assert _anew() is None
    assert not building.folder().is_dir() or _kept() == []  # nothing half-made either


def test_none_without_any_compiler(compiled, monkeypatch, tmp_path):
    monkeypatch.delenv("CC")
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert building.compiler() is None
    assert _anew() is None


def test_none_where_a_compiler_takes_too_long(compiled, monkeypatch):
    slow = Path(os.environ["CC"])
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    monkeypatch.setattr(building, "_SECONDS", 0.1)
    assert _anew() is None
    assert _kept() == []


def test_none_where_nothing_can_be_written(compiled, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert _anew() is None


def test_compilers_are_looked_for_by_their_names(monkeypatch):
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: name if name == "clang" else None)
    assert building.compiler() == ["clang"]
    monkeypatch.setenv("CC", "clang -m64 '-DX=a b'")
    assert building.compiler() == ["clang", "-m64", "-DX=a b"]
    monkeypatch.setenv("CC", "'clang")
    assert building.compiler() is None
