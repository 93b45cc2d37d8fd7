"""A chart of text for a terminal: history, forecast and band in braille dots or plain ASCII."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

_BRAILLE = 0x2800
# the bit of each dot in a cell of 2 columns and 4 rows (Unicode, "Braille Patterns")
_DOT_BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
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
    columns = width - gutter - 2
    canvas = _Canvas(columns, height, low, high, len(values), ascii_only)
    if band is not None:
        canvas.shade(len(past), *band)
    if 0 < len(past) < len(values):
        canvas.mark(len(past) - 1)
    # from the last observation on, so that the forecast is seen to begin there
    last = past[-1:] if len(future) else past[:0]
    canvas.line(len(past) - len(last), np.concatenate([last, future]), "o")
    canvas.line(0, past, "*")
    rule, tick = ("|", "+") if ascii_only else ("│", "┤")
    lines = [title] if title else []
    for row, text in enumerate(canvas.rows()):
        label = labels.get(row, "")
        lines.append(f"{label:>{gutter}} {tick if label else rule}{text}".rstrip())
    if time is not None:
        stamps = np.asarray(time)
        if stamps.dtype.kind == "U":
            begin, end = str(stamps[0]), str(stamps[-1])
        else:
            begin, end = (_label(float(stamp), float(np.ptp(stamps))) for stamp in stamps[[0, -1]])
        space = max(1, columns - len(begin) - len(end))
        lines.append(" " * (gutter + 2) + begin + " " * space + end)
    return "\n".join(lines)


class _Canvas:
    """Characters over a plane of steps (x) and values (y)."""

    def __init__(
        self, columns: int, rows: int, low: float, high: float, n_steps: int, ascii_only: bool
    ) -> None:
        self.across, self.down = (1, 1) if ascii_only else (2, 4)
        self.low, self.high, self.n_steps = low, high, n_steps
        self.dots = np.zeros((rows * self.down, columns * self.across), dtype=bool)
        self.letters = np.full((rows, columns), " ")
        self.shaded = np.zeros((rows, columns), dtype=bool)
        self.ascii_only = ascii_only
        self.start: int | None = None

    def x(self, step: float) -> int:
        """The dot column of a step."""
        last = self.dots.shape[1] - 1
        return round(step / max(1, self.n_steps - 1) * last)

    def y(self, value: float) -> int:
        """The dot row of a value; values out of range are moved to the edge."""
        last = self.dots.shape[0] - 1
        share = (value - self.low) / (self.high - self.low)
        return last - round(min(1.0, max(0.0, share)) * last)

    def line(self, first: int, values: FloatArray, letter: str) -> None:
        """Join neighbours that are both there; dots for those alone."""
        for i, value in enumerate(values):
            if not np.isfinite(value):
                continue
            x1, y1 = self.x(first + i), self.y(value)
            joined = i > 0 and np.isfinite(values[i - 1])
            x0, y0 = (self.x(first + i - 1), self.y(values[i - 1])) if joined else (x1, y1)
            n = max(abs(x1 - x0), abs(y1 - y0), 1)
            for k in range(n + 1):
                x, y = round(x0 + (x1 - x0) * k / n), round(y0 + (y1 - y0) * k / n)
                self.dots[y, x] = True
                self.letters[y // self.down, x // self.across] = letter

    def shade(self, first: int, lower: FloatArray, upper: FloatArray) -> None:
        """Fill the cells between two edges, between the steps too."""
        steps = np.arange(first, first + len(lower), dtype=np.float64)
        there = np.isfinite(lower) & np.isfinite(upper)
        if not there.any():
            return
        begin, end = self.x(steps[there][0]), self.x(steps[there][-1])
        for x in range(begin, end + 1):
            step = x / max(1, self.dots.shape[1] - 1) * max(1, self.n_steps - 1)
            bottom = float(np.interp(step, steps[there], lower[there]))
            top = float(np.interp(step, steps[there], upper[there]))
            rows = slice(self.y(top) // self.down, self.y(bottom) // self.down + 1)
            self.shaded[rows, x // self.across] = True

    def mark(self, step: int) -> None:
        """The vertical line where the forecast begins."""
        self.start = self.x(step) // self.across

    def rows(self) -> list[str]:
        """The text, top row first: dots over the vertical line over the shading."""
        shade, rule = (".", "|") if self.ascii_only else ("░", "┊")
        cells = np.where(self.shaded, shade, " ")
        if self.start is not None:
            cells[:, self.start] = rule
        for row, column in np.argwhere(self.letters != " "):
            cells[row, column] = (
                self.letters[row, column] if self.ascii_only else self._braille(row, column)
            )
        return ["".join(row) for row in cells]

    def _braille(self, row: int, column: int) -> str:
        bits = 0
        for down in range(4):
            for across in range(2):
                if self.dots[row * 4 + down, column * 2 + across]:
                    bits |= _DOT_BITS[down][across]
        return chr(_BRAILLE + bits)


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
