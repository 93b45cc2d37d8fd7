"""What rounding takes from each variable, in the sentence that every command warns with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lvlora import numbers
from lvlora.series.dataset import Series
from lvlora.text.scaling import MOST_LOST, Scale, lost


def losses(
    series: Sequence[Series], scales: Sequence[Scale], decimals: int, variables: Sequence[str]
) -> str:
    """A sentence where the text of series at these scales loses more than 1 % of a spread."""
    return of_shares(lost([s.values for s in series], scales, decimals), decimals, variables)


def of_shares(shares: Iterable[float], decimals: int, variables: Sequence[str]) -> str:
    """The same of the share of each variable's spread that is lost."""
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
