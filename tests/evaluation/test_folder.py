"""Kept forecasts: whole lines come back exactly, torn and altered ones are left out."""

import random
from pathlib import Path

import numpy as np
import pytest

from lvlora.answers import Price
from lvlora.errors import LvloraError
from lvlora.evaluation.folder import EvaluationFolder, Piece, Pieces

PIECE = Piece(("a",), np.array([[[0.1], [2.5]]]), np.ones((1, 3, 2, 1)), 0.25, Price(3, 4))


def test_a_line_comes_back_exactly() -> None:
    again = Piece.from_line(PIECE.to_line())
    assert again is not None
    assert again.to_line() == PIECE.to_line()
    np.testing.assert_array_equal(again.point, PIECE.point)


def test_no_altered_line_is_believed() -> None:
    line = PIECE.to_line()
    random.seed(0)
    for at in range(len(line)):
        other = random.choice([c for c in '0123456789[]{}",: null' if c != line[at]])
        assert Piece.from_line(line[:at] + other + line[at + 1 :]) is None
        assert Piece.from_line(line[:at] + line[at + 1 :]) is None
        assert Piece.from_line(line[:at]) is None


def test_what_follows_a_damaged_line_counts(tmp_path: Path) -> None:
    file = tmp_path / "forecasts.jsonl"
    pieces = Pieces(file, {"name": "x"})
    for name in "abc":
        pieces.add(Piece((name,), PIECE.point, PIECE.samples))
    file.write_text(file.read_text().replace('["b"]', '["d"]'))
    again = Pieces(file, {"name": "x"})
    assert [name in again for name in "abcd"] == [True, False, True, False]


def test_one_process_has_the_folder_and_an_empty_one_is_taken_back(tmp_path: Path) -> None:
    folder, other = (EvaluationFolder(tmp_path / "new" / "e", "key") for _ in range(2))
    with folder.held():
        with pytest.raises(LvloraError, match="another process"), other.held():
            pass
        assert (tmp_path / "new" / "e").is_dir()
    assert not (tmp_path / "new").exists()
