"""Forecasters that are no language model, for the same table: honest rivals.

Knows: histories as arrays. Does not know: text, tokens, torch, how forecasts are scored.
"""

from lvlora.series.rivals.autoregression import VectorAutoregression
from lvlora.series.rivals.contract import Rival
from lvlora.series.rivals.naive import ContextMean, LastValue, SeasonalNaive
from lvlora.series.rivals.ode_fits import (
    EquationFit,
    lotka_volterra,
    rosenzweig_macarthur,
    self_limited,
)
from lvlora.series.rivals.parroting import ContextParroting
from lvlora.series.rivals.ridge import GlobalRidge
from lvlora.series.rivals.rounding_floor import RoundingFloor


def default_rivals() -> list[Rival]:
    """New, unfitted rivals in the order of the table, from the plainest to the best informed.

    `RoundingFloor` is not among them: it needs the truth.
    """
    return [
        LastValue(),
        ContextMean(),
        SeasonalNaive(),
        ContextParroting(),
        VectorAutoregression(),
        GlobalRidge(),
        lotka_volterra(),
        self_limited(),
        rosenzweig_macarthur(),
    ]


def naive_rivals() -> list[Rival]:
    """Those that learn nothing, fit nothing and take no time: they stand beside any forecast."""
    return [LastValue(), ContextMean(), SeasonalNaive()]


__all__ = [
    "ContextMean",
    "ContextParroting",
    "EquationFit",
    "GlobalRidge",
    "LastValue",
    "Rival",
    "RoundingFloor",
    "SeasonalNaive",
    "VectorAutoregression",
    "default_rivals",
    "lotka_volterra",
    "naive_rivals",
    "rosenzweig_macarthur",
    "self_limited",
]
