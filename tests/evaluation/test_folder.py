"""Kept forecasts: whole lines come back exactly, torn ones are left out."""

from pathlib import Path

import numpy as np
import pytest

from lvlora.answers import Price
from lvlora.errors import LvloraError
from lvlora.evaluation.folder import EvaluationFolder, Piece, Pieces

PIECE = Piece(("a",), np.array([[[0.1], [2.5]]]), np.ones((1, 3, 2, 1)), 0.25, Price(3, 4))


def test_a_line_comes_back_exactly() -> None:
    again = Piece.from_json(PIECE.to_json())
    assert again.to_json() == PIECE.to_json()
    np.testing.assert_array_equal(again.point, PIECE.point)


def test_no_torn_line_is_believed(tmp_path: Path) -> None:
    line, file = PIECE.to_json(), tmp_path / "forecasts.jsonl"
    for at in range(len(line)):
        file.write_text(line[:at])
        pieces = Pieces(file)
        assert "a" not in pieces
    pieces.add(Piece(("b",), PIECE.point))
    assert "b" in Pieces(file)


def test_one_process_has_the_folder_and_an_empty_one_is_deleted(tmp_path: Path) -> None:
    folder, other = (EvaluationFolder(tmp_path / "new" / "e", "key") for _ in range(2))
    with folder.held():
        with pytest.raises(LvloraError, match="another process"), other.held():
            pass
        assert (tmp_path / "new" / "e").is_dir()
    assert not (tmp_path / "new" / "e").exists()
