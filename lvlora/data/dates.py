"""Dates as times: plain numbers that count units of a calendar, and the dates they stand for.

Months and working days differ in length, so one step is one of *them*, not a number of days.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from lvlora.errors import DataError

if TYPE_CHECKING:
    import pandas

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
DateArray = NDArray[np.datetime64]

Unit = Literal["month", "weekday", "day", "hour", "minute", "second", "millisecond", "microsecond"]
Precision = Literal["Q", "M", "W", "D", "h", "m", "s", "ms", "us"]
"""How far a date is written out, coarse to fine, in numpy's letters; Q is a quarter, W a week."""

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
_FINENESS: tuple[Precision, ...] = get_args(Precision)
_NEEDED: dict[Unit, Precision] = {"day": "D", "minute": "m", "second": "s", "millisecond": "ms"}
"""How far dates are written that are no texts, by the longest unit in which all are whole."""
_LAST_DAY = (datetime(9999, 12, 31) - datetime(1970, 1, 1)).days

_ISO = re.compile(
    r"\d{4}-\d{2}(-\d{2}([T ]\d{2}(:\d{2}(:\d{2}([.,]\d{1,9})?)?)?"
    r"\s?(?:Z|[+-]\d{2}(?::?\d{2})?)?)?)?"
)
_QUARTER = re.compile(r"(\d{4})-?Q([1-4])")
_WEEK = re.compile(r"(\d{4})-?W(\d{2})")
_ALIKE = re.compile(
    r"\d{1,4}[./-]\d{1,2}([./-]\d{1,4})?([T ].*)?|\d{4}-?(?-i:Q[1-4]|W[0-5]\d)"
    r"|.*\b(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\b.*\d.*",
    re.IGNORECASE,
)
ISO_HINT = (
    "Write dates as year-month-day, such as 2020-01-31 (or 2020-01, 2020-Q1, 2020-W05, "
    "2020-01-31T12:00), or say how they are written, such as --date-format %d.%m.%Y."
)


@dataclass(frozen=True)
class Calendar:
    """The unit of the times of a data set: whole units since 1970-01-01."""

    unit: Unit
    day: Annotated[int, Field(ge=1, le=31)] = 1
    """Of the month, where months are counted; 31 is the last, however long the month is."""
    precision: Precision = "D"
    separator: Literal["T", " "] = "T"
    """Before the hour."""
    offset: Annotated[int, Field(gt=-24 * 60, lt=24 * 60)] | None = None
    """Minutes from UTC that are written behind; None for times without a zone."""

    def dates(self, positions: FloatArray) -> DateArray:
        """(n,) datetime64[us] of times; one between two whole positions lies between their dates.

        Raises:
            DataError: beyond the year 9999.
        """
        moments = np.asarray(positions, dtype=np.float64)
        if self.unit in MICROSECONDS:
            numbers = np.round(moments * MICROSECONDS[self.unit])
            _check_year(numbers / _DAY)
            return numbers.astype(np.int64).astype("datetime64[us]")
        whole = np.floor(moments)
        # a month is no longer than 31 days, so what is refused may be a little nearer
        _check_year(whole * 31)
        here = self._whole(whole.astype(np.int64))
        if np.array_equal(whole, moments):
            return here
        length = (self._whole(whole.astype(np.int64) + 1) - here).astype(np.int64)
        between = np.round((moments - whole) * length).astype("timedelta64[us]")
        return np.asarray(here + between)

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
        zone = ""
        if self.offset is not None and self.precision not in WHOLE_DAYS:
            # the name of a zone is UTC+05:30
            zone = str(timezone(timedelta(minutes=self.offset)))[3:] or "Z"
        return [str(text).replace("T", self.separator) + zone for text in written]

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
            of_month = np.minimum(self.day, _lengths(months))
            day = months.astype("datetime64[D]") + (of_month - 1).astype("timedelta64[D]")
        return day.astype("datetime64[us]")

    def positions(self, microseconds: IntArray) -> FloatArray:
        """(n,) times of dates, in microseconds since 1970-01-01; the inverse of `dates`."""
        if self.unit in MICROSECONDS:
            return np.asarray(microseconds // MICROSECONDS[self.unit], dtype=np.float64)
        days = _days(microseconds)
        if self.unit == "month":
            return days.astype("datetime64[M]").astype(np.float64)
        return np.busday_count(np.datetime64(0, "D"), days).astype(np.float64)


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
        return calendar.texts(np.array([position]))[0]
    if float(position).is_integer() and abs(position) < 2**53:
        return str(int(position))
    whole_digits = len(str(int(min(abs(position), 1e17))))
    return f"{position:.{min(max(10, whole_digits + 6), 15)}g}"


def written(calendar: Calendar | None, times: FloatArray) -> list[str] | list[float]:
    """Times as files have them: texts where they are dates, else numbers."""
    return times.tolist() if calendar is None else calendar.texts(times)


def _unit(microseconds: IntArray, codes: IntArray) -> tuple[Unit, int]:
    """The unit of dates: months, working days, or the longest that all are whole in.

    Args:
        codes: (n,) which series each is of.

    Returns:
        the unit, and the day of the month where that is months.
    """
    if np.any(microseconds % _DAY):
        return next(u for u, n in MICROSECONDS.items() if not (microseconds % n).any()), 1
    days = _days(microseconds)
    months = days.astype("datetime64[M]")
    of_month = (days - months.astype("datetime64[D]")).astype(np.int64) + 1
    lengths = _lengths(months)
    latest = 31 if np.all(of_month == lengths) else int(of_month.max())
    if np.any(months != months[0]) and np.all(of_month == np.minimum(latest, lengths)):
        return "month", latest
    if np.is_busday(days).all():
        order = np.lexsort((days, codes))
        within = np.diff(codes[order]) == 0
        earlier, later = days[order][:-1][within], days[order][1:][within]
        working = np.busday_count(earlier, later)
        weekend = (later - earlier).astype(np.int64) > working
        if within.any() and np.median(working) == 1 and weekend.any():
            return "weekday", 1
    return "day", 1


def _check_year(days: FloatArray) -> None:
    if days.size and not np.all(np.abs(days) < _LAST_DAY):
        raise DataError("a date beyond the year 9999", "Ask for fewer steps, or use plain numbers.")


def _days(microseconds: IntArray) -> DateArray:
    return np.asarray((microseconds // _DAY).astype("datetime64[D]"))


def _lengths(months: DateArray) -> IntArray:
    """Days of months."""
    days = (months + 1).astype("datetime64[D]") - months.astype("datetime64[D]")
    return np.asarray(days, dtype=np.int64)


def looks_like_date(text: str) -> bool:
    """Whether a person would read a text as a date, ISO or not, and not as a number."""
    try:
        float(text)
    except ValueError:
        return _ALIKE.fullmatch(text.strip()) is not None
    return False


def _parsed(text: str) -> tuple[datetime, Precision] | None:
    """An ISO date, week or month, or a quarter, and how fine it is; None for another form.

    Raises:
        ValueError: there is no such day or hour, or it is finer than a microsecond.
    """
    if quarter := _QUARTER.fullmatch(text):
        return datetime(int(quarter[1]), 3 * int(quarter[2]) - 2, 1), "Q"
    if week := _WEEK.fullmatch(text):
        return datetime.fromisocalendar(int(week[1]), int(week[2]), 1), "W"
    match = _ISO.fullmatch(text)
    if match is None:
        return None
    depth = sum(part is not None for part in match.groups())
    if depth == 0:
        return datetime.fromisoformat(f"{text}-01"), "M"
    digits = (match[5] or "")[1:].rstrip("0")
    if len(digits) > 6:
        raise ValueError("finer than a microsecond")
    fineness: tuple[Precision, ...] = ("D", "h", "m", "s", "ms" if len(digits) <= 3 else "us")
    time = "".join(text[11:].split())
    return datetime.fromisoformat(text[:10] + (f"T{time}" if time else "")), fineness[depth - 1]


def has_dates(column: pandas.Series) -> bool:
    """Whether a column of pandas has dates: by its type, or by the first value that is there."""
    import pandas

    if column.dtype.kind == "M" or isinstance(column.dtype, pandas.PeriodDtype):
        return True
    first = next(iter(column.dropna()), None) if column.dtype.kind == "O" else None
    return looks_like_date(first) if isinstance(first, str) else hasattr(first, "isoformat")


def read_dates(
    column: pandas.Series,
    codes: IntArray,
    place: Callable[[int], str],
    date_format: str | None = None,
) -> tuple[FloatArray, Calendar] | None:
    """(N,) times of a column of pandas, and their calendar; None where they are no dates.

    Args:
        column: without missing values.
        codes: (N,) which series each is of.
        place: how messages call the cell at a position.
        date_format: how texts are written, as ``datetime.strptime`` has it; default: ISO.

    Raises:
        DataError: a date cannot be read, or is written in another way than those before.
    """
    import pandas

    period: Any = None
    if isinstance(column.dtype, pandas.PeriodDtype):
        period, column = column.dtype.freq.rule_code[0], column.dt.to_timestamp()
    if date_format is None and not has_dates(column):
        return None
    is_iso = date_format is None and isinstance(column.iloc[0], str)
    texts = column.map(lambda item: item.isoformat() if hasattr(item, "isoformat") else str(item))
    which, distinct = pandas.factorize(texts.str.strip())
    _, first = np.unique(which, return_index=True)
    read = [
        _date(text, place(at), None if hasattr(column.iloc[at], "isoformat") else date_format)
        for text, at in zip(distinct, first.tolist(), strict=True)
    ]
    dates = [date for date, _ in read]
    have_zones = [date.tzinfo is not None for date in dates]
    if len(set(have_zones)) > 1:
        other = have_zones.index(not have_zones[0])
        raise DataError(
            f"{place(int(first[other]))}: '{distinct[other]}' and a date before it are not both "
            "with a time zone",
            "Write all dates in one way.",
        )
    naive = np.array([date.replace(tzinfo=None) for date in dates], dtype="datetime64[us]")
    clock = naive.astype(np.int64)[which]
    if is_iso:  # as they are written, not as finely as they need
        mark: Literal["T", " "] = " " if distinct[0][10:11] == " " else "T"
        style = Calendar("microsecond", 1, max((p for _, p in read), key=_FINENESS.index), mark)
    else:
        fitting = (p for unit, p in _NEEDED.items() if not (clock % MICROSECONDS[unit]).any())
        needed: Precision = next(fitting, "us")
        style = Calendar("microsecond", 1, period if period in ("Q", "M") else needed)
    if have_zones[0]:
        minutes = [(d.utcoffset() or timedelta()) // timedelta(minutes=1) for d in dates]
        offsets = np.array(minutes, dtype=np.int64)[which]
        if np.all(offsets == offsets[0]):
            style = replace(style, offset=int(offsets[0]))
        elif (clock % _DAY).any():  # summer time and not: in UTC
            clock, style = clock - offsets * MICROSECONDS["minute"], replace(style, offset=0)
        else:  # days of their own clocks
            style = Calendar("microsecond")
    unit, day = _unit(clock, codes)
    calendar = replace(style, unit=unit, day=day)
    return calendar.positions(clock), calendar


def _date(text: str, place: str, date_format: str | None) -> tuple[datetime, Precision]:
    """One date and how fine it is; DataError where it is none."""
    shown = text if len(text) <= 30 else text[:29] + "…"
    if date_format is not None:
        try:
            return datetime.strptime(text, date_format), "us"
        except ValueError:
            raise DataError(
                f"{place}: '{shown}' is not written as --date-format {date_format} says",
                "For example %d.%m.%Y for 31.12.2020, %m/%d/%Y for 12/31/2020, %b %Y for Dec 2020.",
            ) from None
    try:
        date = _parsed(text)
    except ValueError as error:
        raise DataError(f"{place}: '{shown}' is no date ({error})", ISO_HINT) from None
    if date is None:
        raise DataError(f"{place}: '{shown}' is not an ISO date", ISO_HINT)
    return date
