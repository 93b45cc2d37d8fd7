"""The two types every room passes around: one trajectory, and a set of them.

Knows: arrays, names and times. Does not know: files, text, models.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Series:
    """One trajectory.

    Attributes:
        id: its name, unique in a data set.
        time: (T,) strictly increasing, in the file's own units.
        values: (T, V) in original units; NaN marks a missing value.
    """

    id: str
    time: FloatArray
    values: FloatArray

    def __len__(self) -> int:
        return int(self.values.shape[0])

    def steps(self, start: int, stop: int) -> Series:
        """The part [start, stop) of this trajectory."""
        return Series(self.id, self.time[start:stop], self.values[start:stop])


@dataclass(frozen=True)
class Dataset:
    """Trajectories with the same variables; lengths and times may differ.

    Attributes:
        series: the trajectories, in file order.
        variables: V names, the columns of every ``values``.
        source: where the data came from, for people (a path, "simulated …").
        time_name: what the file calls its time column.
    """

    series: tuple[Series, ...]
    variables: tuple[str, ...]
    source: str = ""
    time_name: str = "time"
    notes: tuple[str, ...] = field(default=(), compare=False)
    """What a reader had to say (rows sorted, ids made up…); shown on stderr."""

    def __len__(self) -> int:
        return len(self.series)

    def __iter__(self) -> Iterator[Series]:
        return iter(self.series)

    def select(self, ids: Iterable[str]) -> Dataset:
        """The series with these ids, in the order given; KeyError for an unknown one."""
        by_id = {s.id: s for s in self.series}
        chosen = tuple(by_id[i] for i in ids)
        return Dataset(chosen, self.variables, self.source, self.time_name, self.notes)

    def sha256(self) -> str:
        """A hash of names, times and values: the same data give the same hash in any format."""
        digest = hashlib.sha256("\x1f".join(self.variables).encode())
        for s in self.series:
            digest.update(s.id.encode() + b"\x1e")
            digest.update(np.ascontiguousarray(s.time, dtype="<f8").tobytes())
            # +0.0 makes the two zeros equal, one NaN stands for all
            values = np.where(np.isnan(s.values), np.nan, s.values + 0.0)
            digest.update(np.ascontiguousarray(values, dtype="<f8").tobytes())
        return digest.hexdigest()
