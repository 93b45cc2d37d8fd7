"""Dates as times: plain numbers that count units of a calendar, and the dates they stand for.

Months and working days differ in length, so one step is one of *them*, not a number of days.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from lvlora.errors import DataError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
DateArray = NDArray[np.datetime64]

Unit = Literal["month", "weekday", "day", "hour", "minute", "second", "millisecond", "microsecond"]
Precision = Literal["M", "Q", "D", "h", "m", "s", "ms", "us"]
"""How far a date is written out, in numpy's letters; Q is a quarter."""

MICROSECONDS: dict[Unit, int] = {
    "day": 86_400_000_000,
    "hour": 3_600_000_000,
    "minute": 60_000_000,
    "second": 1_000_000,
    "millisecond": 1_000,
    "microsecond": 1,
}
"""Of the units that are always equally long, the longest first."""

_DAY = MICROSECONDS["day"]
_FINENESS: tuple[Precision, ...] = ("Q", "M", "D", "h", "m", "s", "ms", "us")
_LAST_YEAR = 9999
_EPOCH = datetime(1970, 1, 1)

_ISO = re.compile(
    r"(?P<date>\d{4}-\d{2}(?P<day>-\d{2})?)"
    r"(?:(?P<mark>[T ])(?P<hour>\d{2})(?P<minute>:\d{2}(?P<second>:\d{2}(?P<part>[.,]\d{1,9})?)?)?"
    r"\s?(?P<zone>Z|[+-]\d{2}(?::?\d{2})?)?)?"
)
_QUARTER = re.compile(r"(\d{4})-?Q([1-4])")
_ALIKE = re.compile(
    r"\d{1,4}[./-]\d{1,2}([./-]\d{1,4})?([T ].*)?"
    r"|.*\b(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\b.*\d.*",
    re.IGNORECASE,
)
ISO_HINT = (
    "Write dates as year-month-day, such as 2020-01-31 (or 2020-01, 2020-Q1, 2020-01-31T12:00): "
    "01/02/2020 is January to some and February to others."
)


@dataclass(frozen=True)
class Calendar:
    """What the times of a data set are: whole units since 1970-01-01.

    Attributes:
        unit: what is counted.
        day: of the month, where months are counted; 31 is the last, however long the month is.
        precision, separator: how dates are written ("T" or " " before the hour).
        offset: minutes from UTC that are written behind; None for times without a zone.
    """

    unit: Unit
    day: int = 1
    precision: Precision = "D"
    separator: Literal["T", " "] = "T"
    offset: int | None = None

    def __post_init__(self) -> None:
        whole = isinstance(self.day, int) and isinstance(self.offset, int | None)
        whole = whole and abs(self.offset or 0) < 24 * 60
        known = self.unit in get_args(Unit) and self.precision in get_args(Precision)
        if not (whole and known and 1 <= self.day <= 31 and self.separator in ("T", " ")):
            raise ValueError(f"no calendar: {self}")

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any] | None) -> Self | None:
        """What `to_dict` gave; None for None. TypeError or ValueError where it is no calendar."""
        return None if stored is None else cls(**stored)

    def dates(self, positions: FloatArray) -> DateArray:
        """(n,) datetime64[us] of times; one between two whole positions lies between their dates.

        Raises:
            DataError: beyond the year 9999.
        """
        moments = np.asarray(positions, dtype=np.float64)
        if self.unit in MICROSECONDS:
            found = np.round(moments * MICROSECONDS[self.unit])
            self._check(found)
            return _dated(found.astype(np.int64))
        whole = np.floor(moments)
        self._check(whole * 31 * _DAY)
        here = self._whole(whole.astype(np.int64))
        if np.array_equal(whole, moments):
            return here
        length = (self._whole(whole.astype(np.int64) + 1) - here).astype(np.int64)
        between = np.round((moments - whole) * length).astype(np.int64)
        return _dated(here.astype(np.int64) + between)

    def texts(self, positions: FloatArray) -> list[str]:
        """The dates as they are written in files and tables."""
        dates = self.dates(positions)
        if self.precision == "Q":
            months = dates.astype("datetime64[M]").astype(np.int64)
            return [f"{1970 + m // 12:04d}-Q{m % 12 // 3 + 1}" for m in months.tolist()]
        written = np.datetime_as_string(dates, unit=self.precision)
        zone = _zone(self.offset) if self.precision not in ("M", "D") else ""
        return [str(text).replace("T", self.separator) + zone for text in written]

    def text(self, position: float) -> str:
        """One date as it is written."""
        return self.texts(np.array([position]))[0]

    def datetimes(self, positions: FloatArray) -> list[datetime]:
        """The dates as Python's own, with their zone if they have one."""
        zone = None if self.offset is None else timezone(timedelta(minutes=self.offset))
        return [date.replace(tzinfo=zone) for date in self.dates(positions).tolist()]

    def length(self, step: float) -> str:
        """A number of units in words: "month", "3 months", "1.5 days"."""
        word = {"weekday": "working day"}.get(self.unit, self.unit)
        known = {("month", 3): "quarter", ("month", 12): "year", ("day", 7): "week"}
        if (self.unit, step) in known:
            return known[self.unit, int(step)]
        return word if step == 1 else f"{step:.6g} {word}s"

    def _whole(self, positions: IntArray) -> DateArray:
        """Dates of whole months or working days."""
        if self.unit == "weekday":
            day = np.busday_offset(np.datetime64(0, "D"), positions, roll="forward")
        else:
            months = positions.astype("datetime64[M]")
            first = months.astype("datetime64[D]")
            length = ((months + 1).astype("datetime64[D]") - first).astype(np.int64)
            day = first + (np.minimum(self.day, length) - 1).astype("timedelta64[D]")
        return day.astype("datetime64[us]")

    def _check(self, microseconds: FloatArray) -> None:
        limit = float((datetime(_LAST_YEAR, 12, 31) - _EPOCH).days) * _DAY
        # a month is no longer than 31 days, so what is refused may be a little nearer
        if microseconds.size and not np.all(np.abs(microseconds) < limit):
            raise DataError(
                f"a date beyond the year {_LAST_YEAR}", "Ask for fewer steps, or use plain numbers."
            )


def text_of(calendar: Calendar | None, position: float) -> str:
    """A time as people read it: a date where times are dates, else a rounded number.

    Whole numbers are written out (milliseconds since an epoch); others have ten digits, or six
    decimals where those are more (seconds of Julian dates).
    """
    if calendar is not None:
        return calendar.text(position)
    if float(position).is_integer() and abs(position) < 2**53:
        return str(int(position))
    whole_digits = len(str(int(min(abs(position), 1e17))))
    return f"{position:.{min(max(10, whole_digits + 6), 15)}g}"


def written(calendar: Calendar | None, times: FloatArray) -> list[str] | list[float]:
    """Times as files have them: texts where they are dates, else numbers."""
    return times.tolist() if calendar is None else calendar.texts(times)


@dataclass(frozen=True)
class Moments:
    """Dates as they were read, before it is known in which unit they count.

    Attributes:
        microseconds: (n,) since 1970-01-01, on the clock of ``offset``.
        precision, separator, offset: as of `Calendar`.
    """

    microseconds: IntArray
    precision: Precision = "D"
    separator: Literal["T", " "] = "T"
    offset: int | None = None

    @classmethod
    def of(cls, microseconds: IntArray, offset: int | None = None) -> Self:
        """Dates that came as numbers, to be written as finely as they need."""
        letters: dict[Unit, Precision] = {
            "day": "D",
            "minute": "m",
            "second": "s",
            "millisecond": "ms",
        }
        for unit, letter in letters.items():
            if not (microseconds % MICROSECONDS[unit]).any():
                return cls(microseconds, letter, "T", offset)
        return cls(microseconds, "us", "T", offset)

    def calendar(self, earlier: IntArray, later: IntArray) -> Calendar:
        """What these dates count: months, working days, or the longest unit that they are whole in.

        Args:
            earlier, later: (m,) microseconds of all neighbours in the same series.
        """
        written = (self.precision, self.separator, self.offset)
        if np.any(self.microseconds % _DAY):
            whole = (u for u, n in MICROSECONDS.items() if not (self.microseconds % n).any())
            return Calendar(next(whole), 1, *written)
        days = (self.microseconds // _DAY).astype("datetime64[D]")
        of_month = _day_of_month(days)
        if of_month is not None:
            return Calendar("month", of_month, *written)
        if np.is_busday(days).all() and earlier.size:
            first, second = earlier // _DAY, later // _DAY
            working = np.busday_count(first.astype("datetime64[D]"), second.astype("datetime64[D]"))
            if np.median(working) == 1 and np.any(second - first > working):
                return Calendar("weekday", 1, *written)
        return Calendar("day", 1, *written)

    def positions(self, calendar: Calendar) -> FloatArray:
        """(n,) times of these dates in their own calendar."""
        if calendar.unit in MICROSECONDS:
            whole = self.microseconds // MICROSECONDS[calendar.unit]
        else:
            days = (self.microseconds // _DAY).astype("datetime64[D]")
            if calendar.unit == "month":
                whole = days.astype("datetime64[M]").astype(np.int64)
            else:
                whole = np.busday_count(np.datetime64(0, "D"), days).astype(np.int64)
        return np.asarray(whole, dtype=np.float64)


def _dated(microseconds: IntArray) -> DateArray:
    return np.asarray(microseconds.astype("datetime64[us]"))


def _day_of_month(days: DateArray) -> int | None:
    """The day on which all dates lie; 31 if each is its month's last; None if they differ."""
    months = days.astype("datetime64[M]")
    first = months.astype("datetime64[D]")
    of_month = (days - first).astype(np.int64) + 1
    length = ((months + 1).astype("datetime64[D]") - first).astype(np.int64)
    if np.all(months == months[0]):
        return None
    if np.all(of_month == length):
        return 31
    latest = int(of_month.max())
    return latest if np.all(of_month == np.minimum(latest, length)) else None


def _zone(offset: int | None) -> str:
    if not offset:
        return "" if offset is None else "Z"
    hours, minutes = divmod(abs(offset), 60)
    return f"{'-' if offset < 0 else '+'}{hours:02d}:{minutes:02d}"


@dataclass(frozen=True)
class _Written:
    """One date as text: microseconds on its own clock, and how it was written."""

    microseconds: int
    precision: Precision
    separator: Literal["T", " "]
    offset: int | None


def looks_like_date(text: str) -> bool:
    """Whether a person would read it as a date, ISO or not, and not as a number."""
    try:
        float(text)
    except ValueError:
        return is_iso(text) or bool(_ALIKE.fullmatch(text.strip()))
    return False


def is_iso(text: str) -> bool:
    """Whether it is a date that can be read."""
    try:
        return _parsed(text.strip()) is not None
    except ValueError:
        return False


@functools.lru_cache(maxsize=65_536)  # a long table has each date once a series
def _parsed(text: str) -> _Written | None:
    """A date of `_ISO` or `_QUARTER`; None if it has another form.

    Raises:
        ValueError: there is no such day or hour, or it is finer than a microsecond.
    """
    quarter = _QUARTER.fullmatch(text)
    if quarter:
        day = datetime(int(quarter[1]), 3 * int(quarter[2]) - 2, 1)
        return _Written(_microseconds(day), "Q", "T", None)
    found = _ISO.fullmatch(text)
    if found is None:
        return None
    if found["mark"] is None:
        day = datetime.fromisoformat(found["date"] + ("" if found["day"] else "-01"))
        return _Written(_microseconds(day), "D" if found["day"] else "M", "T", None)
    if found["day"] is None:
        return None
    part = (found["part"] or "")[1:].rstrip("0")
    if len(part) > 6:
        raise ValueError("finer than a microsecond")
    precision: Precision = "h" if not found["minute"] else "m" if not found["second"] else "s"
    if found["part"]:
        precision = "ms" if len(part) <= 3 else "us"
    day = datetime.fromisoformat(found["date"])
    clock = timedelta(
        hours=_below(found["hour"], 24),
        minutes=_below((found["minute"] or ":0")[1:3], 60),
        seconds=_below((found["second"] or ":0")[1:3], 60),
        microseconds=int(part.ljust(6, "0")),
    )
    zone, offset = found["zone"], None
    if zone:
        digits = zone[1:].replace(":", "").ljust(4, "0")
        offset = 60 * _below(digits[:2] or "0", 24) + _below(digits[2:] or "0", 60)
        offset = -offset if zone[0] == "-" else offset
    mark: Literal["T", " "] = "T" if found["mark"] == "T" else " "
    return _Written(_microseconds(day + clock), precision, mark, offset)


def _below(digits: str, limit: int) -> int:
    if int(digits) >= limit:
        raise ValueError(f"{digits} is not below {limit}")
    return int(digits)


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)


class DateReader:
    """Reads the dates of one column, text by text; all have a zone, or none has."""

    def __init__(self) -> None:
        self._found: list[_Written] = []

    def add(self, text: str, place: str) -> None:
        """One more date.

        Args:
            place: how a message calls the cell.

        Raises:
            DataError: it is none, or it has a zone where others have none.
        """
        shown = text if len(text) <= 30 else text[:29] + "…"
        try:
            date = _parsed(text)
        except ValueError as error:
            raise DataError(f"{place}: '{shown}' is no date ({error})", ISO_HINT) from None
        if date is None:
            raise DataError(f"{place}: '{shown}' is not an ISO date", ISO_HINT)
        if self._found and (self._found[0].offset is None) != (date.offset is None):
            has = "has a time zone, those before it have none"
            has = has if self._found[0].offset is None else "has no time zone, as those before have"
            raise DataError(f"{place}: '{shown}' {has}", "Write all dates in one way.")
        self._found.append(date)

    def moments(self) -> Moments:
        """All of them."""
        return _moments(self._found)


def _moments(found: Sequence[_Written]) -> Moments:
    clock = np.array([d.microseconds for d in found], dtype=np.int64)
    precision = max((d.precision for d in found), key=_FINENESS.index)
    separator = found[0].separator
    offsets = {d.offset for d in found}
    if len(offsets) <= 1:
        return Moments(clock, precision, separator, offsets.pop())
    if not (clock % _DAY).any():  # days as somebody's clock has them, with summer time or without
        return Moments(clock, "D")
    minutes = np.array([d.offset for d in found], dtype=np.int64)
    return Moments(clock - minutes * MICROSECONDS["minute"], precision, separator, 0)


def moments_of(column: NDArray[Any], where: str, name: str) -> Moments | None:
    """The dates of a column in memory: datetime64, date and datetime objects, periods, ISO texts.

    Returns:
        None where they are no dates.

    Raises:
        DataError: a date is missing, or cannot be read.
    """

    def place(row: int) -> str:
        return f"{where}, row {row + 1}, column '{name}'"

    if column.dtype.kind == "M":
        if np.isnat(column).any():
            row = int(np.flatnonzero(np.isnat(column))[0])
            raise DataError(f"{place(row)}: the time is missing", "Every row needs its time.")
        return Moments.of(column.astype("datetime64[us]").astype(np.int64))
    if column.dtype.kind not in "UOT":
        return None
    items = column.tolist()
    first = next((item for item in items if item is not None), None)
    if not (hasattr(first, "isoformat") or hasattr(first, "to_timestamp")) and not (
        isinstance(first, str) and looks_like_date(first)
    ):
        return None
    reader = DateReader()
    for row, item in enumerate(items):
        if item is None or item != item:  # None, NaT
            raise DataError(f"{place(row)}: the time is missing", "Every row needs its time.")
        reader.add(_text_of(item), place(row))
    found = reader.moments()
    if isinstance(first, str):
        return found
    if found.precision in ("Q", "M"):
        return found
    return Moments.of(found.microseconds, found.offset)


def _text_of(item: Any) -> str:
    """A date object as ISO text; a period by its own name, or its first day."""
    if isinstance(item, str):
        return item.strip()
    if hasattr(item, "to_timestamp") and not is_iso(str(item)):
        item = item.to_timestamp()
    return str(item.isoformat()) if hasattr(item, "isoformat") else str(item)
