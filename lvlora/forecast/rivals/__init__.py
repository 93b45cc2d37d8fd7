"""Rivals: forecasters that are not language models, scored in the same table.

`contract` has what a rival is and what several share, `parts/` what they are made of. A rival is
added as a module of its own and a line in `default_rivals`, or by another package; tables, budgets,
`lvlora baseline` and the tests of all rivals take it from there.

Rivals see histories as arrays, and nothing of text, tokens or torch.
"""

from collections.abc import Iterator, Sequence

from lvlora.data.dataset import Dataset
from lvlora.errors import SettingsError, meant
from lvlora.forecast.rivals.contract import Rival
from lvlora.forecast.rivals.delay_maps import ContextParroting, Nvar, SMap, VectorAutoregression
from lvlora.forecast.rivals.equations import (
    BestEquations,
    lotka_volterra,
    rosenzweig_macarthur,
    self_limited,
)
from lvlora.forecast.rivals.exponential_smoothing import ExponentialSmoothing
from lvlora.forecast.rivals.gaussian_process import GaussianProcess
from lvlora.forecast.rivals.gompertz import Gompertz
from lvlora.forecast.rivals.naive import ContextMean, LastValue, SeasonalNaive
from lvlora.forecast.rivals.packages import MODELS, Fracast, Statistical
from lvlora.forecast.rivals.pooled_quantiles import PooledQuantiles
from lvlora.forecast.rivals.refitted_rates import RefittedRates
from lvlora.forecast.rivals.sindy import Sindy
from lvlora.settings.base import Season

GROUP = "lvlora.forecasters"
"""Entry points by which other packages add a rival: a name, and what makes one without arguments.
"""


def default_rivals(season: Season = "auto") -> list[Rival]:
    """New, unfitted rivals in the order of the table, from the plainest to the best informed.

    A rival is added here and nowhere else, or by another package (`GROUP`). Those of packages that
    are not installed refuse all data.

    Args:
        season: of those that have one.

    Raises:
        SettingsError: an installed package's rival cannot be made.
    """
    rivals: list[Rival] = [
        LastValue(),
        ContextMean(),
        SeasonalNaive(),
        ContextParroting(),
        VectorAutoregression(),
        ExponentialSmoothing(),
        Gompertz(),
        PooledQuantiles(),
        *(Statistical(name) for name in MODELS),
        Fracast(),
        SMap(),
        Nvar(),
        GaussianProcess(),
        Sindy(on_rates=False),
        Sindy(on_rates=True),
        RefittedRates(saturating=False),
        RefittedRates(saturating=True),
        lotka_volterra(),
        self_limited(),
        rosenzweig_macarthur(),
        BestEquations(),
        *_of_other_packages(),
    ]
    for rival in rivals:
        rival.season = season
    return rivals


def quick_rivals(season: Season = "auto") -> list[Rival]:
    """Those that take a fraction of a second for a few dozen series."""
    return [rival for rival in default_rivals(season) if rival.speed != "slow"]


def naive_rivals(season: Season = "auto") -> list[Rival]:
    """Those that learn nothing and take no time, so that they can stand beside any forecast."""
    return [rival for rival in default_rivals(season) if rival.speed == "instant"]


def rivals_for(
    dataset: Dataset,
    season: Season = "auto",
    every: Sequence[Rival] | None = None,
    learns_from: Dataset | None = None,
) -> tuple[list[Rival], str]:
    """The rivals that can forecast such data, and a sentence about the others; "" without any.

    Args:
        every: the rivals to choose among; default: all.
        learns_from: what those that learn from several series can learn from; default: the data.
    """
    usable, refused = [], dict[str, list[str]]()
    for rival in default_rivals(season) if every is None else every:
        decides = learns_from if rival.learns and learns_from is not None else dataset
        reason = rival.refusal(decides)
        if reason:
            refused.setdefault(reason, []).append(rival.name)
        else:
            usable.append(rival)
    reasons = [f"{', '.join(names)} ({reason})" for reason, names in refused.items()]
    return usable, f"Left out: {'; '.join(reasons)}." if reasons else ""


def option_name(name: str) -> str:
    """A rival's name as it is typed: ``sindy-on-rates``."""
    return name.replace(" ", "-")


def rival_for(word: str, dataset: Dataset, season: Season) -> Rival:
    """Return a new rival by its name as it is typed, for these data.

    Raises:
        SettingsError: there is none of that name, or it cannot forecast such data.
    """
    rivals = {option_name(rival.name): rival for rival in default_rivals(season)}
    if word not in rivals:
        names = ["lm", "auto", *rivals]
        raise SettingsError(
            f"--forecaster: should be {', '.join(names[:-1])} or {names[-1]}, got {word!r}",
            meant(word, names).strip() or "The names are those of lvlora baseline, with hyphens.",
        )
    if reason := rivals[word].refusal(dataset):
        raise SettingsError(
            f"--forecaster {word}: cannot forecast these data here: {reason}",
            "lvlora baseline says which forecasters can.",
        )
    return rivals[word]


def _of_other_packages() -> Iterator[Rival]:
    from importlib.metadata import entry_points

    for point in sorted(entry_points(group=GROUP), key=lambda p: p.name):
        try:
            rival: Rival = point.load()()
        except Exception as error:  # whatever another package does wrong
            raise SettingsError(
                f"{point.value}, an entry point of {GROUP}, makes no forecaster: {error}",
                "docs/howto/forecaster.md shows one that works; or uninstall its package.",
            ) from error
        yield rival
