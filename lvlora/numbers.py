"""Numbers as people read them."""

from __future__ import annotations

import itertools
import math

_SI = ("", "k", "M", "G", "T", "P", "E", "Z")


def count(number: int) -> str:
    """A whole number with thousands set apart: 540,672."""
    return f"{number:,}"


def si(number: float, unit: str = "") -> str:
    """Three significant digits and a prefix: 540672 → "541 k", 0.5 → "0.5"."""
    if not math.isfinite(number):
        return plain(number)
    scaled, power = float(number), 0
    while abs(float(f"{scaled:.3g}")) >= 1000 and power + 1 < len(_SI):
        scaled, power = scaled / 1000, power + 1
    return f"{scaled:.3g} {_SI[power]}{unit}".rstrip()


def flops(number: float) -> str:
    """FLOPs as a budget is written: 1.23e17; small counts in full."""
    if abs(number) < 1e6:
        return f"{number:,.0f}"
    mantissa, _, exponent = f"{number:.2e}".partition("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def plain(number: float | None, digits: int = 4) -> str:
    """A measured number with so many significant digits; "–" where there is none (NaN, None)."""
    if number is None or math.isnan(number):
        return "–"
    if math.isinf(number):
        return "inf" if number > 0 else "-inf"
    return f"{number:{_format(abs(number), digits)}}"


def _format(size: float, digits: int) -> str:
    """Return the format that shows so many significant digits of a number of this size."""
    if size != 0 and (size < 1e-4 or size >= 1e7):
        return f".{digits - 1}e"
    # where the first digit stands: 0 for 1.23, -2 for 0.0123
    leading = math.floor(math.log10(size)) if size else 0
    return f",.{max(0, digits - 1 - leading)}f"


def interval(low: float | None, high: float | None, digits: int = 3) -> str:
    """Both ends of an interval of differences, signed, in one form: +0.050 … +0.267.

    The larger end has so many significant digits, the other as many decimals; "–" where there is
    no interval.
    """
    ends = [end for end in (low, high) if end is not None and math.isfinite(end)]
    if len(ends) < 2:
        return "–"
    form = _format(max(map(abs, ends)), digits)
    return " … ".join(f"{end:+{form}}" for end in ends)


def share(fraction: float) -> str:
    """A part of the whole in percent: 27.6 %."""
    percent = 100 * fraction
    if percent != 0 and abs(percent) < 0.1:
        return f"{percent:.2g} %"
    return f"{percent:,.1f} %" if abs(percent) < 1e7 else f"{percent:.2e} %"


def duration(seconds: float) -> str:
    """2.3 s, 1 min 20 s, 3 h 5 min, 2 d 4 h."""
    if not math.isfinite(seconds):
        return "–"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole_seconds = round(seconds)
    if whole_seconds < 60:
        return f"{whole_seconds} s"
    for size, unit, below, lesser in ((86400, "d", 3600, "h"), (3600, "h", 60, "min")):
        if whole_seconds >= size:
            return f"{whole_seconds // size} {unit} {whole_seconds % size // below} {lesser}"
    return f"{whole_seconds // 60} min {whole_seconds % 60} s"


def size(n_bytes: float) -> str:
    """Bytes with a decimal prefix: 988 MB."""
    text = si(n_bytes)
    return f"{text}B" if text[-1].isalpha() else f"{text} B"


def binned(values: list[float], width: int) -> list[float]:
    """At most ``width`` means of equal shares of the values; missing ones are left out."""
    if len(values) <= width:
        return values
    edges = [round(i * len(values) / width) for i in range(width + 1)]
    bins = []
    for start, stop in itertools.pairwise(edges):
        finite = [value for value in values[start:stop] if math.isfinite(value)]
        bins.append(sum(value / len(finite) for value in finite) if finite else math.nan)
    return bins
