"""What a forecaster has finished, kept piece by piece: a killed evaluation goes on from there.

Knows: one file of JSON lines a forecaster. Does not know: forecasters, scores.

The first line says what was forecast by whom; a file whose first line differs is begun again. Each
further line is a piece. The line that a kill tore is left out, and its series are done again.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lvlora import durable
from lvlora.errors import LvloraError
from lvlora.flops.budget import Price
from lvlora.series.dataset import FloatArray

_LARGEST = 2**32
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
        """As JSON without a newline; every number comes back exactly."""
        price = self.price
        return json.dumps(
            {
                "series": self.series,
                "point": self.point.tolist(),
                "samples": None if self.samples is None else self.samples.tolist(),
                "seconds": self.seconds,
                "nll": None if self.nll is None else self.nll.tolist(),
                "flops": None if price is None else [price.executed, price.coursework],
            }
        )

    @classmethod
    def from_line(cls, line: str) -> Piece:
        """The inverse of `to_line`.

        Raises:
            ValueError, KeyError, TypeError: it is no such line.
        """
        found = durable.parse_json(line)
        samples, flops, nll = found["samples"], found["flops"], found["nll"]
        return cls(
            tuple(found["series"]),
            np.array(found["point"], dtype=np.float64),
            None if samples is None else np.array(samples, dtype=np.float64),
            float(found["seconds"]),
            None if flops is None else Price(*flops),
            None if nll is None else np.array(nll, dtype=np.float64),
        )


class Pieces:
    """The pieces of one forecaster, in memory and, with a path, in a file."""

    def __init__(self, path: Path | None = None, identity: Mapping[str, Any] | None = None) -> None:
        """Args:
            path: the file; None keeps nothing.
            identity: all that decides the forecasts, as JSON.

        Raises:
            LvloraError: the file cannot be read or written.
        """
        self._path = path
        self._by_id: dict[str, tuple[Piece, int]] = {}
        self._finished: list[Piece] = []
        if path is None:
            return
        head = json.dumps(identity, sort_keys=True)
        whole = [] if not path.is_file() else _whole_lines(path)
        kept = list(_read(whole[1:])) if whole[:1] == [head] else []
        for piece in kept:
            self._take(piece)
        # without the torn line, so that the next one stands on a line of its own
        durable.write_text(path, "\n".join([head, *(p.to_line() for p in kept), ""]))

    @property
    def finished(self) -> list[Piece]:
        """In the order in which they were finished."""
        return list(self._finished)

    @property
    def seconds(self) -> float:
        """Of all pieces."""
        return sum(p.seconds for p in self._finished)

    def has(self, series: Iterable[str]) -> bool:
        """Whether all of these series are finished."""
        return all(name in self._by_id for name in series)

    def add(self, piece: Piece) -> None:
        """Keep a piece; it is in the file when this returns.

        Raises:
            LvloraError: the file cannot be written.
        """
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

    def in_order(self, series: Sequence[str]) -> tuple[FloatArray, FloatArray | None]:
        """Points (n, H, V) and samples (n, S, H, V), if there are, of these series."""
        found = [self._by_id[name] for name in series]
        point = np.stack([piece.point[i] for piece, i in found])
        samples = [piece.samples[i] for piece, i in found if piece.samples is not None]
        return point, np.stack(samples) if len(samples) == len(found) else None

    def nll(self, series: Sequence[str]) -> list[FloatArray] | None:
        """(H, V) of each of these series, where all have it."""
        found = [self._by_id[name] for name in series]
        values = [piece.nll[i] for piece, i in found if piece.nll is not None]
        return values if len(values) == len(found) else None

    def _take(self, piece: Piece) -> None:
        self._finished.append(piece)
        for i, name in enumerate(piece.series):
            self._by_id[name] = (piece, i)


def _whole_lines(path: Path) -> list[str]:
    try:
        text = durable.read_bounded(path, _LARGEST).decode(errors="replace")
    except OSError as error:
        raise LvloraError(
            f"{path}: cannot be read: {error.strerror or error}",
            "Check its permissions, or choose another --out.",
        ) from None
    return text.split("\n")[:-1]


def _read(lines: Iterable[str]) -> Iterable[Piece]:
    for line in lines:
        with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
            yield Piece.from_line(line)
