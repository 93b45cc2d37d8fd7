"""Dates in HDF5: units such as "days since 1970-01-01" (CF Conventions 1.11, section 4.4)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import numpy as np

from lvlora.series.dates import MICROSECONDS, Calendar, FloatArray, Moments, Unit
from lvlora.series.files.hdf5.checks import check_strings

_UNITS = re.compile(
    r"(day|hour|minute|second|millisecond|microsecond)s? since (\d{1,4})-(\d{1,2})-(\d{1,2})"
    r"([T ]0{1,2}:0{1,2}(:0{1,2}(\.0*)?)?)?\s?(Z|UTC|\+00:?00)?"
)
_OUR_DAYS = ("", "standard", "gregorian", "proleptic_gregorian")
_LONGEST_TEXT = 200
_ROUNDED_TO = 1_000  # microseconds: fractions of a day are not exact
_FARTHEST = 2.5e17  # microseconds, about the year 9890


def as_dates(
    data: Any, file: Any, times: FloatArray, where: str
) -> tuple[FloatArray, Calendar | None]:
    """Times in their calendar, where their units say that they are dates.

    Args:
        data: the dataset of times; times: (n, T) what it holds, NaN after a shorter series.

    Returns:
        the same times without a calendar where the units are others, or days of another calendar.

    Raises:
        DataError: an attribute that would be read is no text that is safe to read.
    """
    found = _UNITS.fullmatch(_text(data, "units", file, where))
    if found is None or _text(data, "calendar", file, where).lower() not in _OUR_DAYS:
        return times, None
    unit: Unit = found[1]  # type: ignore[assignment]  # the pattern has no others
    try:
        first = datetime(int(found[2]), int(found[3]), int(found[4]))
    except ValueError:
        return times, None
    start = (first - datetime(1970, 1, 1)).days * MICROSECONDS["day"]
    there = np.isfinite(times)
    clock = times[there] * float(MICROSECONDS[unit]) + start
    if not clock.size or np.any(np.abs(clock) > _FARTHEST):
        return times, None
    size = 1 if unit in ("millisecond", "microsecond") else _ROUNDED_TO
    whole = (np.round(clock / size) * size).astype(np.int64)
    moments = _as_written(whole, _text(data, "date_precision", file, where), found[8])
    both = there[:, 1:] & there[:, :-1]
    filled = np.zeros(times.shape, dtype=np.int64)
    filled[there] = whole
    order = np.sort(filled, axis=1) if np.all(there) else filled
    calendar = moments.calendar(order[:, :-1][both], order[:, 1:][both])
    positions = np.full(times.shape, np.nan)
    positions[there] = moments.positions(calendar)
    return positions, calendar


def _as_written(whole: Any, written: str, zone: str | None) -> Moments:
    """The dates, written as finely as the file says or as they need."""
    default = Moments.of(whole, 0 if zone else None)
    parts = written.split(",")
    try:
        offset = int(parts[2]) if parts[2] else None
        mark = " " if parts[1] == "space" else "T"
        Calendar("day", 1, parts[0], mark, offset)  # type: ignore[arg-type]  # it looks itself
    except (IndexError, ValueError):
        return default
    return Moments(whole, parts[0], mark, offset)  # type: ignore[arg-type]


def attributes(
    calendar: Calendar | None,
) -> tuple[Mapping[str, str], Callable[[FloatArray], FloatArray]]:
    """The attributes that say what times are, and (T,) times -> the numbers that are stored."""
    if calendar is None:
        return {}, lambda times: times
    unit = calendar.unit if calendar.unit in MICROSECONDS else "day"
    mark = "space" if calendar.separator == " " else "T"
    offset = "" if calendar.offset is None else str(calendar.offset)

    def stored(times: FloatArray) -> FloatArray:
        clock = calendar.dates(times).astype(np.int64)
        return np.asarray(clock / MICROSECONDS[unit], dtype=np.float64)

    return {
        "units": f"{unit}s since 1970-01-01",
        "calendar": "proleptic_gregorian",
        "date_precision": f"{calendar.precision},{mark},{offset}",
    }, stored


def _text(data: Any, name: str, file: Any, where: str) -> str:
    """An attribute that is one short text, else nothing."""
    if name not in data.attrs:
        return ""
    attribute = data.attrs.get_id(name)
    if attribute.shape != () or attribute.dtype.kind not in "SO":
        return ""
    if attribute.dtype.itemsize > _LONGEST_TEXT:
        return ""
    check_strings(attribute, file, where)
    value = data.attrs[name]
    text = value.decode("utf-8", errors="replace") if isinstance(value, bytes) else str(value)
    return text.strip()[:_LONGEST_TEXT]
