"""Rivals: forecasters that are not language models, scored in the same table.

`contract` says what a rival is. A rival is added as a module of its own and a name in
`default_rivals`; tables, budgets, `lvlora baseline` and the tests of all rivals take it from there.
One that chooses settings on the history, iterates a map of the last steps or needs linear algebra
finds that in `parts/`. `processes` shares the work of slow rivals.

Rivals see histories as arrays, and nothing of text, tokens or torch.
"""

from lvlora.series.rivals.arima import AutoArima
from lvlora.series.rivals.contract import Prediction, Rival
from lvlora.series.rivals.echo_state import EchoState
from lvlora.series.rivals.equations import (
    BestEquations,
    EquationFit,
    lotka_volterra,
    rosenzweig_macarthur,
    self_limited,
)
from lvlora.series.rivals.fracast import Fracast
from lvlora.series.rivals.gaussian_process import GaussianProcess
from lvlora.series.rivals.naive import ContextMean, LastValue, SeasonalNaive
from lvlora.series.rivals.nvar import Nvar, VectorAutoregression
from lvlora.series.rivals.parroting import ContextParroting
from lvlora.series.rivals.refitted_rates import RefittedRates
from lvlora.series.rivals.ridge import GlobalRidge
from lvlora.series.rivals.rounding_floor import RoundingFloor
from lvlora.series.rivals.sindy import Sindy
from lvlora.series.rivals.smap import SMap


def quick_rivals() -> list[Rival]:
    """New, unfitted rivals that take a fraction of a second for a few dozen series."""
    return [
        LastValue(),
        ContextMean(),
        SeasonalNaive(),
        ContextParroting(),
        VectorAutoregression(),
        GlobalRidge(),
    ]


def default_rivals() -> list[Rival]:
    """New, unfitted rivals in the order of the table, from the plainest to the best informed.

    A rival is added here and nowhere else. Those of packages that are not installed do not apply
    to any data. `RoundingFloor` is not among them: it needs the truth.
    """
    return [
        *quick_rivals(),
        AutoArima(),
        Fracast(),
        SMap(),
        EchoState(),
        Nvar(),
        GaussianProcess(),
        Sindy(on_rates=False),
        Sindy(on_rates=True),
        RefittedRates(saturating=False),
        RefittedRates(saturating=True),
        lotka_volterra(),
        self_limited(),
        rosenzweig_macarthur(),
        BestEquations([lotka_volterra(), self_limited(), rosenzweig_macarthur()]),
    ]


def lone_rivals() -> list[Rival]:
    """Those of `default_rivals` that need no series but the one they forecast."""
    return [rival for rival in default_rivals() if not isinstance(rival, GlobalRidge)]


def naive_rivals() -> list[Rival]:
    """Those that learn nothing and take no time, so that they can stand beside any forecast."""
    return [LastValue(), ContextMean(), SeasonalNaive()]


__all__ = [
    "AutoArima",
    "BestEquations",
    "ContextMean",
    "ContextParroting",
    "EchoState",
    "EquationFit",
    "Fracast",
    "GaussianProcess",
    "GlobalRidge",
    "LastValue",
    "Nvar",
    "Prediction",
    "RefittedRates",
    "Rival",
    "RoundingFloor",
    "SMap",
    "SeasonalNaive",
    "Sindy",
    "VectorAutoregression",
    "default_rivals",
    "lone_rivals",
    "lotka_volterra",
    "naive_rivals",
    "quick_rivals",
    "rosenzweig_macarthur",
    "self_limited",
]
