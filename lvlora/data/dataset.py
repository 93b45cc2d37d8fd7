"""The two types every room passes around: one trajectory, and a set of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, overload

import numpy as np
from numpy.typing import NDArray

from lvlora.data.dates import Calendar
from lvlora.errors import DataError, meant

if TYPE_CHECKING:
    from lvlora.data.answers import TimeSteps

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Series:
    """One trajectory.

    Attributes:
        id: its name, unique in a data set.
        time: (T,) strictly increasing, in the file's own units.
        values: (T, V) in original units; NaN marks a missing value.
        calendar: what the times are where they are dates; the same in a whole data set.
        absent: (T,) rows that were not there and have been put in; None where there are none.
        known: (T + A, K) columns whose future is known (a season, a temperature): of every step,
            and of the A steps after the last; None where there are none. They are not forecast.
        ahead: (A,) the times of those steps, where they are known; None where time just goes on.
    """

    id: str
    time: FloatArray
    values: FloatArray
    calendar: Calendar | None = None
    absent: NDArray[np.bool_] | None = None
    known: FloatArray | None = None
    ahead: FloatArray | None = None

    def __len__(self) -> int:
        return int(self.values.shape[0])

    def __repr__(self) -> str:
        steps, width = self.values.shape
        span = f", {self.time[0]:g} to {self.time[-1]:g}" if steps else ""
        return f"Series({self.id!r}: {steps} steps{span}, {width} variables)"

    @property
    def n_known(self) -> int:
        """K columns whose future is known."""
        return 0 if self.known is None else int(self.known.shape[1])

    @property
    def n_ahead(self) -> int:
        """A steps after the last whose times are known."""
        return 0 if self.ahead is None else len(self.ahead)

    def steps(self, start: int, stop: int) -> Series:
        """The part [start, stop) of this trajectory.

        Times and known columns of what comes after it stay known.
        """
        part, later = self._rows(slice(start, stop)), self.time[stop:]
        ahead = later if self.ahead is None else np.concatenate([later, self.ahead])
        known = None if self.known is None else self.known[start:]
        return replace(part, known=known, ahead=ahead if len(ahead) else None)

    def last_steps(self, n: int | None) -> Series:
        """The last n steps of this trajectory; None for all."""
        return self.steps(max(0, len(self) - (n or len(self))), len(self))

    def as_recorded(self) -> Series:
        """This trajectory without the rows that were put in."""
        if self.absent is None:
            return self
        known = self.known
        if known is not None:
            known = known[np.append(~self.absent, np.ones(len(known) - len(self), dtype=bool))]
        return replace(self._rows(~self.absent), absent=None, known=known)

    def _rows(self, which: slice | NDArray[np.bool_]) -> Series:
        absent = None if self.absent is None else self.absent[which]
        return replace(self, time=self.time[which], values=self.values[which], absent=absent)


@dataclass(frozen=True)
class Dataset:
    """Trajectories with the same variables; lengths and times may differ.

    Attributes:
        series: the trajectories, in file order.
        variables: V names, the columns of every ``values``.
        source: where the data came from, for people (a path, "simulated …").
        time_name: the name of the file's time column; id_name: of its ids.
        known: K names, the columns of every ``Series.known``.
    """

    series: tuple[Series, ...]
    variables: tuple[str, ...]
    source: str = ""
    time_name: str = "time"
    known: tuple[str, ...] = field(default=(), kw_only=True)
    id_name: str = field(default="id", compare=False, kw_only=True)
    notes: tuple[str, ...] = field(default=(), compare=False, kw_only=True)
    """Remarks of the reader (rows sorted, ids made up…); shown on stderr."""
    warnings: tuple[str, ...] = field(default=(), compare=False, kw_only=True)
    """Warnings (absent time steps, uneven ones); shown on stderr."""
    time_steps: TimeSteps | None = field(default=None, compare=False, kw_only=True)
    """How it is sampled, where a reader looked; absent rows may have been put in."""

    @property
    def calendar(self) -> Calendar | None:
        """The calendar of the times, where they are dates."""
        return self.series[0].calendar if self.series else None

    def __len__(self) -> int:
        return len(self.series)

    def __iter__(self) -> Iterator[Series]:
        return iter(self.series)

    @overload
    def __getitem__(self, which: int | str) -> Series: ...

    @overload
    def __getitem__(self, which: slice) -> Dataset: ...

    def __getitem__(self, which: int | str | slice) -> Series | Dataset:
        """A series by its place or its id, or the data set of a slice of them.

        Raises:
            IndexError: there is none at that place.
            DataError: none is called that.
        """
        if isinstance(which, slice):
            return replace(self, series=self.series[which])
        return self.named([which], "")[0] if isinstance(which, str) else self.series[which]

    def __repr__(self) -> str:
        lengths = sorted({len(series) for series in self.series})
        steps = " to ".join(dict.fromkeys(map(str, lengths[:1] + lengths[-1:])))
        names = ", ".join(self.variables[:4]) + ("…" if len(self.variables) > 4 else "")
        source = f"; {self.source}" if self.source else ""
        return f"Dataset({len(self)} series of {steps or 'no'} steps: {names}{source})"

    def select(self, ids: Iterable[str]) -> Dataset:
        """The series with these ids, in the order given; KeyError for an unknown one."""
        by_id = {s.id: s for s in self.series}
        return replace(self, series=tuple(by_id[i] for i in ids))

    def named(self, ids: Sequence[str], option: str = "--series ") -> Dataset:
        """Return the series that an option names.

        Raises:
            DataError: there is none of an id.
        """
        known = [series.id for series in self]
        for name in ids:
            if name not in known:
                shown = ", ".join(known[:8]) + (", …" if len(known) > 8 else "")
                raise DataError(
                    f"{option}{name}: {self.source or 'the data'} has no such series",
                    f"{meant(name, known)}It has {len(known):,}: {shown}.",
                )
        return self.select(ids)

    def sha256(self) -> str:
        """A hash of names, times and values: the same data give the same hash in any format.

        Rows that were put in are none of the data's.
        """
        digest = hashlib.sha256("\x1f".join(self.variables).encode())
        if self.known:
            digest.update(("\x1c" + "\x1f".join(self.known)).encode())
        if self.calendar is not None:  # what the numbers count, not how dates are written
            digest.update(f"\x1d{self.calendar.unit} {self.calendar.day}".encode())
        for s in (series.as_recorded() for series in self.series):
            digest.update(s.id.encode() + b"\x1e")
            digest.update(np.ascontiguousarray(s.time, dtype="<f8").tobytes())
            # +0.0 makes the two zeros equal, one NaN stands for all
            for numbers in (s.values, s.known):
                if numbers is not None:
                    plain = np.where(np.isnan(numbers), np.nan, numbers + 0.0)
                    digest.update(np.ascontiguousarray(plain, dtype="<f8").tobytes())
        return digest.hexdigest()
