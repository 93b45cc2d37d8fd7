"""A chart of text for a terminal: history, forecast and band in braille dots or plain ASCII."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

_BRAILLE = 0x2800
# the bit of each dot in a cell of 2 columns and 4 rows (Unicode, "Braille Patterns")
_DOT_BITS = np.array([(0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80)])
_LEAST_WIDTH, _LEAST_HEIGHT = 24, 3


def terminal_plot(
    history: ArrayLike,
    median: ArrayLike,
    lower: ArrayLike | None = None,
    upper: ArrayLike | None = None,
    width: int = 72,
    height: int = 10,
    ascii_only: bool = False,
    *,
    time: ArrayLike | None = None,
    title: str = "",
) -> str:
    """One variable's history and forecast as lines of text.

    Steps are evenly spaced from left to right, whatever their times. The forecast's start is a
    vertical line, its band is shaded.

    Args:
        history: (T,), NaN where missing; may be empty.
        median: (H,); may be empty, for a history alone.
        lower, upper: (H,) edges of the band; None for no band.
        width, height: in characters, all included but the title; at least 24 and 3 are taken.
        ascii_only: no character beyond ASCII (but those of the title).
        time: (T + H,) numbers or texts, label the first and the last step.

    Returns:
        Lines joined by newlines, none longer than ``width`` (at least 24), without one at the end.
    """
    past, future = _flat(history), _flat(median)
    values = np.concatenate([past, future])
    band = None if lower is None or upper is None else (_flat(lower), _flat(upper))
    low, high = _range(values, band)
    width, height = max(width, _LEAST_WIDTH), max(height, _LEAST_HEIGHT)
    at = {0: high, height - 1: low}
    if height % 2:  # an even number of rows has no middle
        at[height // 2] = (low + high) / 2
    labels = {row: _label(value, high - low) for row, value in at.items()}
    gutter = max(map(len, labels.values()))
    across, down = (1, 1) if ascii_only else (2, 4)
    shade, start, rule, tick = (".", "|", "|", "+") if ascii_only else ("░", "┊", "│", "┤")
    columns = width - gutter - 2
    dots = np.zeros((height * down, columns * across), dtype=bool)
    most, n_steps = dots.shape[1] - 1, max(1, len(values) - 1)

    def x(steps: ArrayLike) -> NDArray[np.int64]:
        return np.round(np.asarray(steps) / n_steps * most).astype(np.int64)

    def y(levels: FloatArray) -> NDArray[np.int64]:
        share = np.clip((np.nan_to_num(levels) - low) / (high - low), 0.0, 1.0)
        return len(dots) - 1 - np.round(share * (len(dots) - 1)).astype(np.int64)

    cells = np.full((height, columns), " ")
    known = np.array([]) if band is None else np.flatnonzero(np.isfinite(band).all(axis=0))
    if band is not None and len(known):
        begin, end = x(len(past) + known[[0, -1]])
        places = np.arange(begin, end + 1)
        steps = places / max(1, most) * n_steps - len(past)
        bottoms, tops = (y(np.interp(steps, known, edge[known])) // down for edge in band)
        for column, top, bottom in zip(places // across, tops, bottoms, strict=True):
            cells[top : bottom + 1, column] = shade
    if 0 < len(past) < len(values):
        cells[:, x(len(past) - 1) // across] = start
    # from the last observation on, so that the forecast is seen to begin there
    last = past[-1:] if len(future) else past[:0]
    for letter, first, part in (
        ("o", len(past) - len(last), np.concatenate([last, future])),
        ("*", 0, past),
    ):
        for column, row in _trace(x(first + np.arange(len(part))), y(part), np.isfinite(part)):
            dots[row, column] = True
            cells[row // down, column // across] = letter
    if not ascii_only:
        bits = (dots.reshape(height, 4, columns, 2) * _DOT_BITS[None, :, None]).sum(axis=(1, 3))
        cells = np.where(bits > 0, np.array([chr(_BRAILLE + b) for b in range(256)])[bits], cells)
    lines = [title] if title else []
    for row, text in enumerate(cells):
        label = labels.get(row, "")
        lines.append(f"{label:>{gutter}} {tick if label else rule}{''.join(text)}".rstrip())
    if time is not None:
        stamps = np.asarray(time)
        begin, end = (
            str(stamp) if stamps.dtype.kind == "U" else _label(float(stamp), float(np.ptp(stamps)))
            for stamp in stamps[[0, -1]]
        )
        lines.append(" " * (gutter + 2) + begin + f" {end:>{columns - len(begin) - 1}}")
    return "\n".join(lines)


def _trace(
    x: NDArray[np.int64], y: NDArray[np.int64], there: NDArray[np.bool_]
) -> Iterator[tuple[int, int]]:
    """The dots (column, row) of a line that joins neighbours that are both there."""
    for i in np.flatnonzero(there):
        before = i - 1 if i > 0 and there[i - 1] else i
        across, down = x[i] - x[before], y[i] - y[before]
        n = max(abs(across), abs(down), 1)
        shares = np.arange(n + 1)
        yield from zip(
            np.round(x[before] + across * shares / n).astype(int).tolist(),
            np.round(y[before] + down * shares / n).astype(int).tolist(),
            strict=True,
        )


def _flat(values: ArrayLike) -> FloatArray:
    return np.asarray(values, dtype=np.float64).reshape(-1)


def _range(values: FloatArray, band: tuple[FloatArray, FloatArray] | None) -> tuple[float, float]:
    """Lowest and highest value; a band counts as far as one more range of the values."""
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        finite = np.zeros(1)
    low, high = float(finite.min()), float(finite.max())
    if band is not None:
        edges = np.concatenate(band)
        edges = edges[np.isfinite(edges)]
        span = high - low or abs(high) or 1.0
        if edges.size:
            low = max(min(low, float(edges.min())), low - span)
            high = min(max(high, float(edges.max())), high + span)
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
