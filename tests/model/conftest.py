"""What tests of the room `model` share."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def folder(tiny_folder: Callable[[str], Path], tmp_path: Path) -> Path:
    """A model folder of one's own, to break: the tiny Qwen2."""
    return Path(shutil.copytree(tiny_folder("qwen2"), tmp_path / "model"))
