"""The folder of an evaluation: what is finished, its record, its tables.

A file of JSON lines holds the finished pieces of a forecaster, so that a killed evaluation goes on
from there. The first line says what was forecast by whom; a file whose first
line differs is begun again. Each further line is a piece with its hash. A line that a kill tore, or
that was altered, is left out, and its series are done again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lvlora import __version__, durable, folders
from lvlora.answers import NOTHING, Price
from lvlora.data.dataset import FloatArray
from lvlora.errors import DataError, LvloraError, SettingsError
from lvlora.evaluation.answers import EvaluationRecord
from lvlora.evaluation.protocol import Task
from lvlora.runs import EVALUATION

TABLE = "table.csv"
SERIES = "series.csv"
_FORECASTS = "forecasts"
_HASH = ', "sha256": "'
"""Between a line's content and its hash."""


def key_of(task: Task, data_sha256: str, split_sha256: str) -> str:
    """A hash of the task and its data: the same for every forecaster of an evaluation."""
    protocol = task.protocol
    facts: list[Any] = [data_sha256, split_sha256, task.ids, protocol.context, protocol.horizon]
    if protocol.windows is not None:
        facts.append([protocol.windows, protocol.stride])
    if task.disturbance:
        facts.append(task.disturbance.model_dump())
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

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep the folder for this process; one in which nothing was written is taken back.

        Raises:
            LvloraError: another process works on the evaluation, or the folder cannot be made.
            SettingsError: the folder holds something else.
        """
        if self.path is None:
            yield
            return
        new = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise durable.not_written(self.path, error) from None
        busy = LvloraError(
            f"another process works on the evaluation in {self.path}",
            "Wait for it, or choose another --out.",
        )
        with folders.held(self.path, busy):
            # the other process may have finished since the settings were checked
            _check(self.path, self.key, self._fresh)
            try:
                yield
            finally:
                if new and os.listdir(self.path) == [folders.LOCK]:
                    (self.path / folders.LOCK).unlink()
                    with contextlib.suppress(OSError):
                        for folder in new:
                            folder.rmdir()

    def pieces(self, name: str, identity: Mapping[str, Any]) -> Pieces:
        """Finished pieces of one forecaster.

        Args:
            name: its name, for the file's.
            identity: what decides its forecasts, besides the evaluation's key.
        """
        if self.path is None:
            return Pieces()
        head = {"lvlora": __version__, "evaluation": self.key, "name": name, **identity}
        digest = durable.sha256_of_json(head)
        words = re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-.")[:60]
        file = self.path / _FORECASTS / f"{words}-{digest[:10]}.jsonl"
        return Pieces(file, head, fresh=self._fresh)

    def write(self, record: EvaluationRecord, files: Mapping[str, str]) -> list[Path]:
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
        text = json.dumps(record.model_dump(mode="json"), indent=1, allow_nan=False)
        durable.write_text(self.path / EVALUATION, text + "\n")
        return [self.path / EVALUATION, *written]


def _check(path: Path, key: str, fresh: bool) -> None:
    try:
        names = {file.name for file in path.iterdir()} if path.is_dir() else set()
        is_taken = bool(names - {folders.LOCK}) or (path.exists() and not path.is_dir())
    except OSError as error:
        raise SettingsError(
            f"--out {path}: cannot be read ({error.strerror or error})",
            "Check its permissions, or choose another folder.",
        ) from None
    is_ours = EVALUATION in names or (path / _FORECASTS).is_dir()
    if not is_taken or (is_ours and (fresh or EVALUATION not in names)):
        return  # a new one, one to replace, one that was interrupted
    if not is_ours:
        raise SettingsError(f"--out {path}: holds no evaluation", "Choose another folder.")
    try:
        record = EvaluationRecord.read(path)
    except DataError as error:
        raise SettingsError(f"--out {error}", "--fresh makes all of it again.") from None
    if record.key != key and not fresh:
        raise SettingsError(
            f"--out {path}: holds the evaluation of something else",
            "Choose another folder, or add --fresh to replace it.",
        )


_LARGEST_PIECES = 2**32
"""Bytes of a file of pieces, which is read whole."""


@dataclass(frozen=True)
class Piece:
    """Forecasts of some series that were finished together.

    Attributes:
        series: n ids; none for work that was for all series, such as learning from others.
        point: (n, H, V); samples: (n, S, H, V), None where none are drawn.
        nll: (n, H, V) negative log-likelihood of the truth, None where it is not defined.
        seconds: that it took; price: FLOPs where they are defined.
    """

    series: tuple[str, ...]
    point: FloatArray
    samples: FloatArray | None = None
    seconds: float = 0.0
    price: Price | None = None
    nll: FloatArray | None = None

    def to_line(self) -> str:
        """Return it as JSON with its hash, without a newline; every number comes back exactly."""
        arrays = {"point": self.point, "samples": self.samples, "nll": self.nll}
        price = self.price
        text = json.dumps(
            {
                "series": self.series,
                "seconds": self.seconds,
                "flops": None if price is None else [price.executed, price.coursework],
                **{name: None if a is None else a.tolist() for name, a in arrays.items()},
            }
        )
        return text[:-1] + _HASH + hashlib.sha256(text.encode()).hexdigest() + '"}'

    @classmethod
    def from_line(cls, line: str) -> Piece | None:
        """Return what `to_line` wrote; None for a line that was torn or altered."""
        text, _, digest = line.rpartition(_HASH)
        text += "}"
        if digest != hashlib.sha256(text.encode()).hexdigest() + '"}':
            return None
        piece = json.loads(text)
        samples, nll = (
            None if piece[name] is None else np.array(piece[name], dtype=np.float64)
            for name in ("samples", "nll")
        )
        point = np.array(piece["point"], dtype=np.float64)
        price = None if piece["flops"] is None else Price(*piece["flops"])
        return cls(tuple(piece["series"]), point, samples, piece["seconds"], price, nll)


class Pieces:
    """The pieces of one forecaster, in memory and, with a path, in a file."""

    def __init__(
        self,
        path: Path | None = None,
        identity: Mapping[str, Any] | None = None,
        *,
        fresh: bool = False,
    ) -> None:
        """Args:
            path: the file, which stays as it is until `begin`; None keeps nothing.
            identity: all that decides the forecasts, as JSON.
            fresh: what is there counts for nothing.

        Raises:
            LvloraError: the file cannot be read.
        """
        self._path = path
        self._head = json.dumps(identity, sort_keys=True)
        self._by_id: dict[str, tuple[Piece, int]] = {}
        self._finished: list[Piece] = []
        self._begun = path is None
        if path is None or fresh or not path.is_file():
            return
        try:
            text = durable.read_bounded(path, _LARGEST_PIECES).decode(errors="replace")
        except OSError as error:
            raise LvloraError(
                f"{path}: cannot be read: {error.strerror or error}",
                "Check its permissions, or choose another --out.",
            ) from None
        head, *lines = text.split("\n")[:-1] or [""]
        if head == self._head:
            for piece in filter(None, map(Piece.from_line, lines)):
                self._take(piece)

    def begin(self) -> None:
        """Make the file ready for further pieces; a refusal before that leaves it as it was.

        Raises:
            LvloraError: the file cannot be written.
        """
        if self._begun or self._path is None:
            return
        # without the torn line, so that the next one stands on a line of its own
        lines = [self._head, *(piece.to_line() for piece in self._finished)]
        durable.write_text(self._path, "\n".join([*lines, ""]))
        self._begun = True

    @property
    def seconds(self) -> float:
        """Seconds of all pieces."""
        return sum(p.seconds for p in self._finished)

    @property
    def price(self) -> Price | None:
        """FLOPs of all pieces; None where none counts them."""
        prices = [p.price for p in self._finished if p.price is not None]
        return sum(prices, NOTHING) if prices else None

    def __contains__(self, series: str) -> bool:
        return series in self._by_id

    def add(self, piece: Piece) -> None:
        """Keep a piece; it is in the file when this returns.

        Raises:
            LvloraError: the file cannot be written.
        """
        self.begin()
        self._take(piece)
        if self._path is None:
            return
        try:
            with self._path.open("a", encoding="utf-8", newline="\n") as stream:
                stream.write(piece.to_line() + "\n")
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise LvloraError(
                f"{self._path}: cannot be written: {error.strerror or error}",
                "What was finished before is kept: the same command goes on from there.",
            ) from None

    def stacked(
        self, name: Literal["point", "samples", "nll"], series: Sequence[str]
    ) -> FloatArray | None:
        """(n, …) one of the arrays of a `Piece`, of these series; None where one lacks it."""
        pieces = [(getattr(self._by_id[key][0], name), self._by_id[key][1]) for key in series]
        if any(array is None for array, _ in pieces):
            return None
        return np.stack([array[i] for array, i in pieces])

    def number(self, key: str) -> float:
        """Return the one number of a piece's point, for pieces that are no forecasts."""
        piece, i = self._by_id[key]
        return float(piece.point[i].item())

    def _take(self, piece: Piece) -> None:
        self._finished.append(piece)
        for i, name in enumerate(piece.series):
            self._by_id[name] = (piece, i)
