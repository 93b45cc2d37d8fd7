"""The folder of an evaluation: what is finished, its record, its tables.

Knows: names of files and what makes two evaluations the same. Does not know: forecasters, pages.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lvlora import __version__, durable
from lvlora.errors import DataError, SettingsError
from lvlora.evaluation.pieces import Pieces
from lvlora.evaluation.protocol import Task

RECORD = "evaluation.json"
TABLE = "table.csv"
SERIES = "series.csv"
_FORECASTS = "forecasts"
_LARGEST = 2**28
"""Bytes of a record."""


def key_of(given: Task, data_sha256: str, split_sha256: str) -> str:
    """A hash of what is forecast from what: the same for every forecaster of an evaluation."""
    protocol = given.protocol
    facts: list[Any] = [data_sha256, split_sha256, given.ids, protocol.context, protocol.horizon]
    if protocol.windows is not None:
        facts.append([protocol.windows, protocol.stride])
    if given.disturbance:
        facts.append(given.disturbance.to_dict())
    return durable.sha256_of_json(facts)


class EvaluationFolder:
    """Where the pieces and the results of one evaluation are; no folder keeps nothing."""

    def __init__(self, path: Path | None, key: str, *, fresh: bool = False) -> None:
        """Args:
            path: the folder, made when the first piece is kept; None for no folder.
            key: see `key_of`.
            fresh: what is there is done again, and another evaluation may be replaced.

        Raises:
            SettingsError: the folder holds something else.
        """
        self.path = path
        self.key = key
        self._fresh = fresh
        if path is not None:
            _check(path, key, fresh)

    def pieces(self, name: str, identity: Mapping[str, Any]) -> Pieces:
        """What one forecaster has finished.

        Args:
            name: its name, for the file's.
            identity: what decides its forecasts, besides the evaluation's key.
        """
        if self.path is None:
            return Pieces()
        whole = {"lvlora": __version__, "evaluation": self.key, "name": name, **identity}
        digest = durable.sha256_of_json(whole)
        words = re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-.")[:60]
        file = self.path / _FORECASTS / f"{words}-{digest[:10]}.jsonl"
        if self._fresh:
            file.unlink(missing_ok=True)
        return Pieces(file, whole)

    def write(self, record: Mapping[str, Any], files: Mapping[str, str]) -> list[Path]:
        """Write tables and record, the record last: where it is, the others are.

        Returns:
            the files.
        """
        if self.path is None:
            return []
        written = []
        for name, content in files.items():
            durable.write_text(self.path / name, content)
            written.append(self.path / name)
        text = json.dumps({**record, "key": self.key}, indent=1, allow_nan=False)
        durable.write_text(self.path / RECORD, text + "\n")
        return [self.path / RECORD, *written]


def _check(path: Path, key: str, fresh: bool) -> None:
    other = "Choose another folder."
    try:
        there = path.exists() and (not path.is_dir() or any(path.iterdir()))
    except OSError as error:
        raise SettingsError(
            f"--out {path}: cannot be read ({error.strerror or error})",
            "Check its permissions, or choose another folder.",
        ) from None
    if not there:
        return
    if path.is_dir() and (path / _FORECASTS).is_dir() and not (path / RECORD).exists():
        return  # one that was interrupted
    try:
        found = durable.read_json_object(path / RECORD, _LARGEST).get("key")
    except DataError:
        raise SettingsError(f"--out {path}: is there and holds no evaluation", other) from None
    if found != key and not fresh:
        raise SettingsError(
            f"--out {path}: holds the evaluation of something else",
            "Choose another folder, or add --fresh to replace it.",
        )
