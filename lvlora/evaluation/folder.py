"""The folder of an evaluation: the work that is finished, its record, its tables.

Each forecaster has a file, named by a hash of all that decides its forecasts. A line of it is a
piece of finished work, so that a killed evaluation goes on from there. A line that a kill tore is
left out, and its series are done again.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lvlora import __version__, durable, folders
from lvlora.answers import NOTHING, Price
from lvlora.data.dataset import FloatArray
from lvlora.errors import LvloraError, SettingsError
from lvlora.evaluation.answers import Evaluation
from lvlora.runs import EVALUATION

_FORECASTS = "forecasts"


@dataclass(frozen=True)
class Piece:
    """Forecasts of some series that were finished together.

    Attributes:
        series: n ids; none for work that was for all series, such as learning from others.
        point: (n, H, V); samples: (n, S, H, V), None where none are drawn.
        nll: (n, H, V) negative log-likelihood of the truth, None where it is not defined.
        seconds: of work; price: FLOPs where they are counted.
    """

    series: tuple[str, ...]
    point: FloatArray
    samples: FloatArray | None = None
    seconds: float = 0.0
    price: Price | None = None
    nll: FloatArray | None = None

    def to_json(self) -> str:
        """Return it on one line; every number comes back exactly."""
        return json.dumps(asdict(self), default=np.ndarray.tolist)

    @classmethod
    def from_json(cls, line: str) -> Piece:
        """Return the piece of a line; ValueError where the line is torn."""
        values = json.loads(line)
        for name in ("point", "samples", "nll"):
            if values[name] is not None:
                values[name] = np.array(values[name], dtype=np.float64)
        if values["price"] is not None:
            values["price"] = Price(**values["price"])
        return cls(**{**values, "series": tuple(values["series"])})


class Pieces:
    """The pieces of one forecaster, in memory and, with a path, in a file."""

    def __init__(self, path: Path | None = None, *, fresh: bool = False) -> None:
        """Args:
            path: the file, which stays as it is until a piece is added; None keeps nothing.
            fresh: a file that is there is replaced.

        Raises:
            LvloraError: the file cannot be read.
        """
        self._path, self._mode = path, "w" if fresh else "a"
        self._finished: list[Piece] = []
        self._by_id: dict[str, tuple[Piece, int]] = {}
        if path is None or fresh or not path.is_file():
            return
        try:
            lines = path.read_text("utf-8", errors="replace").splitlines()
        except OSError as error:
            raise LvloraError(
                f"{path}: cannot be read: {error.strerror or error}",
                "Check its permissions, or choose another --out.",
            ) from None
        for line in lines:
            with contextlib.suppress(ValueError):
                self._take(Piece.from_json(line))

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
        self._take(piece)
        if self._path is None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open(self._mode, encoding="utf-8", newline="\n") as stream:
                # the newline comes first: before it the last line may be torn
                stream.write("\n" + piece.to_json())
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise durable.not_written(self._path, error) from None
        self._mode = "a"

    def stacked(
        self, name: Literal["point", "samples", "nll"], series: Sequence[str]
    ) -> FloatArray | None:
        """(n, …) one of the arrays of a `Piece`, of these series; None where one lacks it."""
        pieces = [(getattr(self._by_id[key][0], name), self._by_id[key][1]) for key in series]
        if any(array is None for array, _ in pieces):
            return None
        return np.stack([array[i] for array, i in pieces])

    def _take(self, piece: Piece) -> None:
        self._finished.append(piece)
        self._by_id |= {name: (piece, i) for i, name in enumerate(piece.series)}


@dataclass(frozen=True)
class EvaluationFolder:
    """Where the pieces and the results of one evaluation are.

    Attributes:
        path: made when it is held; None keeps nothing.
        key: a hash of the task and its data.
        fresh: the work is done again, and another evaluation is replaced.
    """

    path: Path | None
    key: str
    fresh: bool = False

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep the folder for this process; one in which nothing was written is deleted.

        Raises:
            LvloraError: another process works on the evaluation, or the folder cannot be made.
            SettingsError: the folder holds something else.
            DataError: the record in it is damaged.
        """
        if self.path is None:
            yield
            return
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            names = os.listdir(self.path)
        except OSError as error:
            raise durable.not_written(self.path, error) from None
        self._check(set(names) - {folders.LOCK})
        busy = LvloraError(
            f"another process works on the evaluation in {self.path}",
            "Wait for it, or choose another --out.",
        )
        with folders.held(self.path, busy):
            try:
                yield
            finally:
                if os.listdir(self.path) == [folders.LOCK]:
                    shutil.rmtree(self.path)

    def _check(self, names: set[str]) -> None:
        """Refuse a folder that holds something else."""
        assert self.path is not None
        if names.isdisjoint({EVALUATION, _FORECASTS}):
            if names:
                raise SettingsError(
                    f"--out {self.path}: holds no evaluation", "Choose another folder."
                )
        elif EVALUATION in names and not self.fresh and Evaluation.read(self.path).key != self.key:
            raise SettingsError(
                f"--out {self.path}: holds the evaluation of something else",
                "Choose another folder, or add --fresh to replace it.",
            )

    def pieces(self, name: str, identity: Mapping[str, Any]) -> Pieces:
        """Return the finished pieces of one forecaster.

        Args:
            name: its name, for the file's.
            identity: what decides its forecasts, besides the key, as JSON.
        """
        if self.path is None:
            return Pieces()
        digest = durable.sha256_of_json(
            {"lvlora": __version__, "evaluation": self.key, "name": name, **identity}
        )
        words = re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-.")[:60]
        return Pieces(self.path / _FORECASTS / f"{words}-{digest[:16]}.jsonl", fresh=self.fresh)
