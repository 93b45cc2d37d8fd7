"""One look for all figures: colours, fonts, sizes, and how a figure becomes a file.

matplotlib's figures are used without pyplot, whose state is the caller's.
"""

from __future__ import annotations

import base64
import contextlib
import io
import math
import textwrap
import unicodedata
import warnings
from collections.abc import Iterable, Iterator
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lvlora.durable import write_bytes
from lvlora.errors import SettingsError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

    from lvlora.data.dates import Calendar

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#8C6D00", "#56B4E9", "#6A3D9A", "#555555")
"""Prey blue, predator vermilion, then the others: Okabe & Ito (2008), told apart in every kind of
colour blindness; their yellow and orange, too light on paper, are replaced by an ochre."""

INK = "#1f2328"
"""Text and axes."""
FAINT = "#6b7280"
"""Notes, reference lines."""
ACCENT = PALETTE[0]
"""The subject of a figure: the model among its rivals."""
REST = "#9aa5b1"
"""The rivals of the subject."""

WIDTH = 8.0
"""Inches; at 800 px a 10 pt letter is 14 px high."""

DASHES = (3.2, 1.3)
"""Dashes of a forecast's line: lengths of mark and gap."""

SUFFIXES = (".png", ".svg", ".pdf")

_OTHER_SCRIPTS = ("Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans", "Arial Unicode MS")
"""Taken where they are installed, for names that the shipped font has no letters for."""
_LOOK = Path(__file__).with_name("look.mplstyle")
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@contextlib.contextmanager
def look() -> Iterator[None]:
    """Matplotlib's defaults with this look on top, whatever the user's own style file says."""
    import matplotlib
    from matplotlib.font_manager import get_font_names

    with matplotlib.rc_context(), warnings.catch_warnings():
        # a name in a script that the shipped font lacks is no reason to say anything
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(
            matplotlib.rc_params_from_file(_LOOK, use_default_template=False)
        )
        installed = set(get_font_names())
        others = [name for name in _OTHER_SCRIPTS if name in installed]
        matplotlib.rcParams["font.family"] = ["DejaVu Sans", *others, "sans-serif"]
        yield


def new_figure(width: float = WIDTH, height: float = 4.0) -> Figure:
    """An empty figure, inches, that lays itself out; to be made and filled inside ``look()``."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def check_suffix(path: Path) -> str:
    """The format that a figure file's suffix asks for: "png", "svg" or "pdf".

    Raises:
        SettingsError: another suffix, or none.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise SettingsError(
            f"{path}: a figure cannot be saved as {suffix or 'a file without a suffix'}",
            f"End the file's name in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}.",
        )
    return suffix[1:]


def lay_out(figure: Figure) -> None:
    """Put everything in its place, as drawing would: what is measured then is as it will be."""
    figure.draw_without_rendering()


def render(figure: Figure, format: str) -> bytes:
    """A figure as the bytes of a PNG, SVG or PDF file; the same figure gives the same bytes."""
    undated: dict[str, dict[str, Any]] = {
        "svg": {"Date": None},
        "png": {"Software": None},
        "pdf": {"CreationDate": None, "Producer": None},
    }
    buffer = io.BytesIO()
    with look():
        figure.savefig(buffer, format=format, metadata=undated[format])
    return buffer.getvalue()


def image_tag(figure: Figure, text: str) -> str:
    """Return a figure as an HTML image that needs no file, with its text for screen readers."""
    picture = base64.b64encode(render(figure, "png")).decode()
    return f'<img alt="{escape(text)}" src="data:image/png;base64,{picture}">'


def save(figure: Figure, path: Path) -> None:
    """Write a figure in the format of the path's suffix, whole or not at all.

    Raises:
        SettingsError: not one of `SUFFIXES`.
        LvloraError: the file cannot be written.
    """
    format = check_suffix(path)
    write_bytes(path, render(figure, format))


def colour(index: int) -> str:
    """The colour of the ``index``-th variable (or cluster); they repeat after eight."""
    return PALETTE[index % len(PALETTE)]


def plain(text: str, limit: int = 40) -> str:
    """Text from a file as text in a figure: on one line, not too long, "$" no start of a formula.

    >>> plain("US$ or $")
    'US\\\\$ or \\\\$'
    """
    one_line = "".join(
        " " if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") else c for c in text
    )
    one_line = " ".join(one_line.split())
    if len(one_line) > limit:
        one_line = one_line[: limit - 1].rstrip() + "…"
    return one_line.replace("$", r"\$")


def lines(text: str, letters: int, at_most: int = 2) -> str:
    """`plain` text in up to ``at_most`` lines of ``letters``; what is left over becomes "…".

    >>> lines("temperature in degrees", 14)
    'temperature in\\ndegrees'
    """
    wrapped = textwrap.wrap(plain(text, 90), letters, max_lines=at_most, placeholder="…")
    return "\n".join(wrapped)


def short(number: float) -> str:
    """A number for a tick or a label: 0.032, 1.5, 200, 3×10⁷.

    >>> [short(x) for x in (0.0, 0.0321, 1.5, 200.0, 3e7, -2.5e-5, float("nan"))]
    ['0', '0.0321', '1.5', '200', '3×10⁷', '-2.5×10⁻⁵', '–']
    """
    if not math.isfinite(number):
        return "–"
    if number == 0:
        return "0"
    if 1e-3 <= abs(number) < 1e5:
        return f"{number:.3g}" if abs(number) < 1000 else f"{number:.0f}"
    mantissa, exponent = f"{number:.2e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".")
    power = "10" + str(int(exponent)).translate(_SUPERSCRIPTS)
    return power if mantissa == "1" else f"{mantissa}×{power}"


def plain_log_ticks(axis: Axis) -> None:
    """Few, plain tick labels on a logarithmic axis, also where it spans less than a decade."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axis.get_view_interval()
    decades = math.log10(high) - math.log10(low) if low > 0 and high > low else 1.0
    subs = (1.0,) if decades > 3 else (1.0, 3.0) if decades > 1.5 else (1.0, 2.0, 3.0, 5.0, 7.0)
    axis.set_major_locator(LogLocator(subs=subs, numticks=8))
    axis.set_major_formatter(FuncFormatter(lambda x, _: short(x)))
    axis.set_minor_formatter(NullFormatter())


def legend_below(figure: Figure, handles: list[Any], *, columns: int = 4, note: str = "") -> None:
    """One legend for all panels, under them, where it covers no data; small print above it."""
    if handles:
        legend = figure.legend(
            handles=handles,
            loc="outside lower center",
            ncols=max(1, min(columns, len(handles), int(figure.get_figwidth() * columns / WIDTH))),
            handlelength=2.0,
            columnspacing=1.6,
            title=plain(note, 160) or None,
            title_fontsize=8.5,
        )
        legend.get_title().set_color(FAINT)
    elif note:
        figure.supxlabel(plain(note, 160), fontsize=8.5, color=FAINT)


def times(axes: Axes, positions: NDArray[np.float64], calendar: Calendar | None) -> Any:
    """Places on the axis of time; dates have an axis of dates, with few and short labels."""
    if calendar is None:
        return positions
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num

    locator = AutoDateLocator(minticks=3, maxticks=7)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(
        ConciseDateFormatter(locator)  # type: ignore[no-untyped-call]
    )
    numbers = date2num(calendar.dates(positions))  # type: ignore[no-untyped-call]
    return np.asarray(numbers, dtype=np.float64)


def line(
    axes: Axes, x: NDArray[np.float64], y: NDArray[np.float64], *, dashed: bool = False, **how: Any
) -> None:
    """A line, and a dot for every value that has no neighbour to be joined with."""
    axes.plot(x, y, dashes=DASHES if dashed else (None, None), **how)
    there = np.r_[False, np.isfinite(y), False]
    alone = there[1:-1] & ~there[:-2] & ~there[2:]
    if alone.any():
        axes.plot(x[alone], y[alone], ".", color=how["color"], markersize=4)


def widely_spread(values: Iterable[float], times: float) -> bool:
    """Whether positive values differ by so many times that only a logarithmic axis shows all."""
    known = [value for value in values if math.isfinite(value)]
    return len(known) > 1 and min(known) > 0 and max(known) > times * min(known)


def lighten(axes: Axes) -> None:
    """Fewer ticks for a small panel."""
    from matplotlib.dates import AutoDateLocator
    from matplotlib.ticker import MaxNLocator

    dated = axes.xaxis.get_major_locator()
    if isinstance(dated, AutoDateLocator):
        dated.maxticks = dict.fromkeys(dated.maxticks, 5)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_locator(MaxNLocator(4))
