"""Dates as times: plain numbers that count units of a calendar, and the dates they stand for.

Months and working days differ in length, so one step is one of *them*, not a number of days.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self, get_args

import numpy as np
from numpy.typing import NDArray

from lvlora.errors import DataError

if TYPE_CHECKING:
    import pandas

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
DateArray = NDArray[np.datetime64]

Unit = Literal["month", "weekday", "day", "hour", "minute", "second", "millisecond", "microsecond"]
Precision = Literal["M", "Q", "W", "D", "h", "m", "s", "ms", "us"]
"""How far a date is written out, in numpy's letters; Q is a quarter, W an ISO week."""

WHOLE_DAYS: tuple[Precision, ...] = ("Q", "M", "W", "D")
"""Without an hour."""

MICROSECONDS: dict[Unit, int] = {
    "day": 86_400_000_000,
    "hour": 3_600_000_000,
    "minute": 60_000_000,
    "second": 1_000_000,
    "millisecond": 1_000,
    "microsecond": 1,
}
"""Microseconds of the units that are always equally long, the longest first."""

_DAY = MICROSECONDS["day"]
_FINENESS: tuple[Precision, ...] = ("Q", "M", "W", "D", "h", "m", "s", "ms", "us")
_LAST_YEAR = 9999
_EPOCH = datetime(1970, 1, 1)

_ISO = re.compile(
    r"\d{4}-\d{2}(?P<day>-\d{2})?"
    r"(?:(?P<mark>[T ])\d{2}(?P<minute>:\d{2}(?P<second>:\d{2}(?P<part>[.,]\d{1,9})?)?)?"
    r"\s?(?:Z|[+-]\d{2}(?::?\d{2})?)?)?"
)
_QUARTER = re.compile(r"(\d{4})-?Q([1-4])")
_WEEK = re.compile(r"(\d{4})-?W(\d{2})")
_ALIKE = re.compile(
    r"\d{1,4}[./-]\d{1,2}([./-]\d{1,4})?([T ].*)?"
    r"|.*\b(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\b.*\d.*",
    re.IGNORECASE,
)
ISO_HINT = (
    "Write dates as year-month-day, such as 2020-01-31 (or 2020-01, 2020-Q1, 2020-W05, "
    "2020-01-31T12:00), or say how they are written, such as --date-format %d.%m.%Y."
)


@dataclass(frozen=True)
class Calendar:
    """The unit of the times of a data set: whole units since 1970-01-01.

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
        """Invert `to_dict`; None for None. TypeError or ValueError where it is no calendar."""
        return None if stored is None else cls(**stored)

    def dates(self, positions: FloatArray) -> DateArray:
        """(n,) datetime64[us] of times; one between two whole positions lies between their dates.

        Raises:
            DataError: beyond the year 9999.
        """
        moments = np.asarray(positions, dtype=np.float64)
        if self.unit in MICROSECONDS:
            numbers = np.round(moments * MICROSECONDS[self.unit])
            self._check(numbers)
            return _dated(numbers.astype(np.int64))
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
        if self.precision == "W":
            weeks = (date.isocalendar() for date in dates.tolist())
            return [f"{week.year:04d}-W{week.week:02d}" for week in weeks]
        written = np.datetime_as_string(dates, unit=self.precision)
        zone = _zone(self.offset) if self.precision not in WHOLE_DAYS else ""
        return [str(text).replace("T", self.separator) + zone for text in written]

    def text(self, position: float) -> str:
        """One date as it is written."""
        return self.texts(np.array([position]))[0]

    def datetimes(self, positions: FloatArray) -> list[datetime]:
        """The dates as Python's own, with their zone if they have one."""
        zone = None if self.offset is None else timezone(timedelta(minutes=self.offset))
        return [date.replace(tzinfo=zone) for date in self.dates(positions).tolist()]

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


def length_of(unit: str, step: float) -> str:
    """A number of units of a calendar in words: "month", "3 months", "1.5 days"."""
    word = {"weekday": "working day"}.get(unit, unit)
    names = {("month", 3): "quarter", ("month", 12): "year", ("day", 7): "week"}
    if (unit, step) in names:
        return names[unit, int(step)]
    return word if step == 1 else f"{step:.6g} {word}s"


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
        """Return these dates' unit: months, working days, or the longest that they are whole in.

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


class _Written(NamedTuple):
    """One date as text: microseconds on its own clock, and how it was written."""

    microseconds: int
    precision: Precision
    separator: Literal["T", " "]
    offset: int | None


def _written(moment: datetime, precision: Precision, mark: str | None = None) -> _Written:
    zone = moment.utcoffset()
    clock = (moment.replace(tzinfo=None) - _EPOCH) // timedelta(microseconds=1)
    offset = None if zone is None else zone // timedelta(minutes=1)
    return _Written(clock, precision, " " if mark == " " else "T", offset)


def looks_like_date(text: str) -> bool:
    """Whether a person would read it as a date, ISO or not, and not as a number."""
    try:
        float(text)
    except ValueError:
        return bool(_ALIKE.fullmatch(text.strip())) or _is_iso(text.strip())
    return False


def _is_iso(text: str) -> bool:
    try:
        return _parsed(text) is not None
    except ValueError:
        return False


def _parsed(text: str) -> _Written | None:
    """An ISO date, week or month, or a quarter; None if it has another form.

    Raises:
        ValueError: there is no such day or hour, or it is finer than a microsecond.
    """
    if quarter := _QUARTER.fullmatch(text):
        return _written(datetime(int(quarter[1]), 3 * int(quarter[2]) - 2, 1), "Q")
    if week := _WEEK.fullmatch(text):
        return _written(datetime.fromisocalendar(int(week[1]), int(week[2]), 1), "W")
    match = _ISO.fullmatch(text)
    if match is None or (match["mark"] and not match["day"]):
        return None
    if match["day"] is None:
        return _written(datetime.fromisoformat(f"{text}-01"), "M")
    if match["mark"] is None:
        return _written(datetime.fromisoformat(text), "D")
    part = (match["part"] or "")[1:].rstrip("0")
    if len(part) > 6:
        raise ValueError("finer than a microsecond")
    precision: Precision = "h" if not match["minute"] else "m" if not match["second"] else "s"
    if match["part"]:
        precision = "ms" if len(part) <= 3 else "us"
    moment = datetime.fromisoformat(f"{text[:10]}T{''.join(text[11:].split())}")
    return _written(moment, precision, match["mark"])


def has_dates(column: pandas.Series) -> bool:
    """Whether a column of pandas has dates: by its type, or by the first value that is there."""
    import pandas

    if column.dtype.kind == "M" or isinstance(column.dtype, pandas.PeriodDtype):
        return True
    first = next(iter(column.dropna()), None) if column.dtype.kind == "O" else None
    return looks_like_date(first) if isinstance(first, str) else hasattr(first, "isoformat")


def read_dates(
    column: pandas.Series, place: Callable[[int], str], date_format: str | None = None
) -> Moments | None:
    """(N,) dates of a column of pandas, none of them missing; None where they are no dates.

    Args:
        place: how messages call the cell at a position.
        date_format: how texts are written, as ``datetime.strptime`` has it; default: ISO.

    Raises:
        DataError: a date cannot be read, or is written in another way than those before.
    """
    import pandas

    kind = column.dtype
    if isinstance(kind, pandas.PeriodDtype):
        moments = Moments.of(_microseconds(column.dt.to_timestamp()))
        letter = kind.freq.rule_code[0]
        return replace(moments, precision=letter) if letter in "QM" else moments
    if isinstance(kind, pandas.DatetimeTZDtype):
        clock = _microseconds(column.dt.tz_localize(None))
        utc = _microseconds(column.dt.tz_convert("UTC").dt.tz_localize(None))
        return _on_one_clock(Moments.of(clock), (clock - utc) // MICROSECONDS["minute"])
    if kind.kind == "M":
        return Moments.of(_microseconds(column))
    if date_format is None and not has_dates(column):
        return None
    objects = not isinstance(column.iloc[0], str)
    texts = column.map(lambda item: item.isoformat() if hasattr(item, "isoformat") else str(item))
    codes, distinct = pandas.factorize(texts.str.strip())
    _, first = np.unique(codes, return_index=True)
    dates: list[_Written] = []
    for text, at in zip(distinct, first.tolist(), strict=True):
        dates.append(_date(text, place(at), date_format))
        if (dates[0].offset is None) != (dates[-1].offset is None):
            has = "has no time zone, as those before have"
            if dates[0].offset is None:
                has = "has a time zone, those before it have none"
            raise DataError(f"{place(at)}: '{text}' {has}", "Write all dates in one way.")
    clock = np.array([d.microseconds for d in dates], dtype=np.int64)[codes]
    moments = Moments.of(clock)
    if not objects and date_format is None:  # as they are written, not as finely as they need
        precision = max((d.precision for d in dates), key=_FINENESS.index)
        moments = Moments(clock, precision, dates[0].separator)
    if dates[0].offset is None:
        return moments
    return _on_one_clock(moments, np.array([d.offset for d in dates], dtype=np.int64)[codes])


def _date(text: str, place: str, date_format: str | None) -> _Written:
    """One date; DataError where it is none."""
    shown = text if len(text) <= 30 else text[:29] + "…"
    try:
        if date_format is not None:
            return _written(datetime.strptime(text, date_format), "us")
        date = _parsed(text)
    except ValueError as error:
        if date_format is not None:
            raise DataError(
                f"{place}: '{shown}' is not written as --date-format {date_format} says",
                "For example %d.%m.%Y for 31.12.2020, %m/%d/%Y for 12/31/2020, %b %Y for Dec 2020.",
            ) from None
        raise DataError(f"{place}: '{shown}' is no date ({error})", ISO_HINT) from None
    if date is None:
        raise DataError(f"{place}: '{shown}' is not an ISO date", ISO_HINT)
    return date


def _microseconds(column: pandas.Series) -> IntArray:
    dates: DateArray = column.to_numpy().astype("datetime64[us]")
    return dates.astype(np.int64)


def _on_one_clock(moments: Moments, offsets: IntArray) -> Moments:
    """Dates of several zones (summer time and not) as days of their own clocks, else in UTC.

    Args:
        offsets: (N,) minutes from UTC.
    """
    if np.all(offsets == offsets[0]):
        return replace(moments, offset=int(offsets[0]))
    if not (moments.microseconds % _DAY).any():
        return Moments(moments.microseconds, "D")
    utc = moments.microseconds - offsets * MICROSECONDS["minute"]
    return replace(moments, microseconds=utc, offset=0)
