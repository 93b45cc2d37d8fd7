"""A chart of text for a terminal: history, forecast and band in plain characters."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

_LEAST_WIDTH, _LEAST_HEIGHT = 24, 3


def terminal_plot(
    history: ArrayLike,
    median: ArrayLike,
    lower: ArrayLike | None = None,
    upper: ArrayLike | None = None,
    width: int = 72,
    height: int = 10,
    *,
    time: ArrayLike | None = None,
    title: str = "",
) -> str:
    """One variable's history (*) and forecast (o) as lines of text, the band shaded by dots.

    Steps are evenly spaced from left to right, whatever their times.

    Args:
        history: (T,), NaN where missing; may be empty.
        median: (H,); may be empty, for a history alone.
        lower, upper: (H,) edges of the band; None for no band.
        width, height: in characters, all included but the title; at least 24 and 3 are taken.
        time: (T + H,) numbers or texts, label the first and the last step.

    Returns:
        Lines joined by newlines, none longer than ``width`` (at least 24), without one at the end.
    """
    past, future = _flat(history), _flat(median)
    values = np.concatenate([past, future])
    edges = [np.empty(0)] * 2 if lower is None or upper is None else [_flat(lower), _flat(upper)]
    low, high = _range(values, np.concatenate(edges))
    width, height = max(width, _LEAST_WIDTH), max(height, _LEAST_HEIGHT)
    labels = {0: _label(high, high - low), height - 1: _label(low, high - low)}
    if height % 2:  # an even number of rows has no middle
        labels[height // 2] = _label((low + high) / 2, high - low)
    gutter = max(map(len, labels.values()))
    columns = width - gutter - 2
    steps = np.linspace(0, max(len(values) - 1, 0), columns)
    cells = np.full((height, columns), " ")

    def rows(levels: FloatArray, first: int) -> NDArray[np.int64]:
        """The row of each column, -1 where there is no value."""
        if not len(levels):
            return np.full(columns, -1)
        at = np.interp(steps, first + np.arange(len(levels)), levels, np.nan, np.nan)
        share = (np.clip(at, low, high) - low) / (high - low)
        return np.where(np.isnan(at), -1, np.round((1 - np.nan_to_num(share)) * (height - 1)))

    bottoms, tops = (rows(edge, len(past)) for edge in edges)
    for column in np.flatnonzero((bottoms >= 0) & (tops >= 0)):
        cells[int(tops[column]) : int(bottoms[column]) + 1, column] = "."
    if 0 < len(past) < len(values):
        cells[:, int(np.searchsorted(steps, len(past) - 1))] = "|"
    # from the last observation on, so that the forecast is seen to begin there
    last = past[-1:] if len(future) else past[:0]
    ahead = np.concatenate([last, future])
    for letter, row in (("o", rows(ahead, len(past) - len(last))), ("*", rows(past, 0))):
        there = np.flatnonzero(row >= 0)
        cells[row[there].astype(np.int64), there] = letter
    lines = [title] if title else []
    for at, text in enumerate(cells):
        label = labels.get(at, "")
        lines.append(f"{label:>{gutter}} {'+' if label else '|'}{''.join(text)}".rstrip())
    if time is not None:
        stamps = np.asarray(time)
        begin, end = (
            str(stamp) if stamps.dtype.kind == "U" else _label(float(stamp), float(np.ptp(stamps)))
            for stamp in stamps[[0, -1]]
        )
        lines.append(" " * (gutter + 2) + begin + f" {end:>{columns - len(begin) - 1}}")
    return "\n".join(lines)


def _flat(values: ArrayLike) -> FloatArray:
    return np.asarray(values, dtype=np.float64).reshape(-1)


def _range(values: FloatArray, band: FloatArray) -> tuple[float, float]:
    """Lowest and highest value; a band counts as far as one more range of the values."""
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    edges = band[np.isfinite(band)]
    if edges.size:
        span = high - low or abs(high) or 1.0
        low, high = (
            max(min(low, float(edges.min())), low - span),
            min(max(high, float(edges.max())), high + span),
        )
    if high <= low:
        margin = abs(low) / 10 or 1.0
        low, high = low - margin, high + margin
    return low, high


def _label(value: float, span: float) -> str:
    """A number with as many digits as tell it from the others on the axis."""
    if not np.isfinite(value):
        return "?"
    if value != 0 and not 1e-4 <= max(abs(value), span) < 1e6:
        return f"{value:.3g}"
    digits = int(min(6, max(0, 2 - np.floor(np.log10(span)))) if span > 0 else 2)
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
