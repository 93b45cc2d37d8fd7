"""What the text loses of each variable: the sentence that every command warns with.

Knows: when and how to say it. Does not know: scales, how it is counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lvlora.cli.terminal import numbers

if TYPE_CHECKING:
    from lvlora.forecast.forecaster import Forecaster
    from lvlora.series.dataset import Series
    from lvlora.text.scaling import Scale


def losses_of(
    forecaster: Forecaster,
    histories: Sequence[Series],
    variables: Sequence[str],
    context: int | None = None,
) -> str:
    """A sentence where a forecaster's text loses much of the histories' variables, else empty.

    Args:
        context: only this many last steps are read.
    """
    from lvlora.forecast.reading import scale_for

    used = [h.steps(max(0, len(h) - (context or len(h))), len(h)) for h in histories]
    used = [h for h in used if _has_values(h)]
    scales = [scale_for(h, forecaster.scale) for h in used]
    return losses(used, scales, forecaster.decimals, variables) if used else ""


def losses(
    series: Sequence[Series], scales: Sequence[Scale], decimals: int, variables: Sequence[str]
) -> str:
    """A sentence where the text of series at these scales loses more than 1 % of a spread."""
    from lvlora.text.scaling import MOST_LOST, lost

    shares = lost([s.values for s in series], scales, decimals)
    much = [
        f"{numbers.share(float(share))} of the spread of {name}"
        for name, share in zip(variables, shares, strict=True)
        if share > MOST_LOST
    ]
    if not much:
        return ""
    return (
        f"With {decimals} decimal{'' if decimals == 1 else 's'} the text loses {_listed(much)} by "
        "rounding."
    )


def _listed(words: Sequence[str]) -> str:
    shown = [*words[:3], *([f"{len(words) - 3} more"] if len(words) > 3 else [])]
    return ", ".join(shown[:-1]) + (" and " if len(shown) > 1 else "") + shown[-1]


def _has_values(series: Series) -> bool:
    import numpy as np

    return bool(np.isfinite(series.values).any())
