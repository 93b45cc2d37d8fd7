"""The mixture of stages 4 to 9: clean systems as before, and all that real series are made of.

Each row is one series cut in a history and a future. Its numbers are scaled as a forecast scales
them, by the history alone (`lvlora.text.scaling.of_history`), so that what a scale tells (the
largest number so far is 5) holds in training as it does in use; the history then is no target,
because its scale would give away where it goes. The other rows have the divisor of a data set, and
all of them is target.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import autoregressions
import climbs
import cycles
import driven
import maps
import networks
import numpy as np
import outbreaks
import seasonal
import stochastic
from families import FAMILIES, MIXTURES
from observation import CLEAN, COUNTED, NOTED, SURVEYED, Observer
from parameters import Array, Rng, log_uniform

from lvlora.series.dataset import Series
from lvlora.text.scaling import of_history

COMMON_DIVISOR = 0.793
"""Of `lvlora simulate`'s default data set, by the data-set rule."""
_VIEWS = 1.25
"""How far forecasts move the scale of a history (`lvlora.forecast.reading.view_factors`)."""
_LARGEST = 500.0
"""A row ends where a number in the text would be larger."""
_SHORTEST_HISTORY = 8
_DECIMALS, _DECIMALS_ALONE = (0.92, 0.03, 0.05), (0.72, 0.03, 0.25)
"""Shares of 2, 1 and 3 decimals: a lone variable has room for a third."""


@dataclass(frozen=True)
class Kind:
    """A share of the mixture.

    Attributes:
        share: of the rows, relative to the others'.
        simulate: (random numbers, n, n_steps) to (n, n_steps, V).
        n_variables: V that are seen; where ``simulate`` gives more, any of them.
        common: the share that has a data set's divisor.
    """

    share: float
    simulate: Callable[[Rng, int, int], Array]
    n_variables: int
    observer: Observer
    common: float = 0.0


@dataclass(frozen=True)
class Row:
    """(T, V) numbers as the text has them, its decimals, and the first step that is a target."""

    values: Array
    decimals: int
    first: int


def _of(name: str) -> Callable[[Rng, int, int], Array]:
    return {**FAMILIES, **MIXTURES["default"]}[name][1]


MIXTURE: dict[str, Kind] = {
    "default systems": Kind(0.36, _of("default systems"), 2, CLEAN, 0.5),
    "rosenzweig-macarthur": Kind(0.07, _of("rosenzweig-macarthur"), 2, CLEAN, 0.4),
    "self-limited": Kind(0.04, _of("self-limited"), 2, CLEAN, 0.4),
    "lotka-volterra": Kind(0.03, _of("lotka-volterra"), 2, CLEAN, 0.4),
    "food chain": Kind(0.02, _of("food chain"), 3, CLEAN, 0.4),
    "van der pol": Kind(0.02, _of("van der pol"), 2, CLEAN),
    "oscillation 1": Kind(0.02, _of("oscillation 1"), 1, CLEAN),
    "oscillation 2": Kind(0.025, _of("oscillation 2"), 2, CLEAN),
    "oscillation 4": Kind(0.02, _of("oscillation 4"), 4, CLEAN),
    "logistic growth": Kind(0.01, _of("logistic growth"), 2, CLEAN),
    "one of default systems": Kind(0.06, _of("default systems"), 1, CLEAN, 0.4),
    "noisy default systems": Kind(0.19, _of("default systems"), 2, SURVEYED, 0.5),
    "noisy rosenzweig-macarthur": Kind(0.05, _of("rosenzweig-macarthur"), 2, SURVEYED, 0.3),
    "noisy self-limited": Kind(0.02, _of("self-limited"), 2, SURVEYED, 0.3),
    "noisy lotka-volterra": Kind(0.02, _of("lotka-volterra"), 2, SURVEYED, 0.3),
    "noisy one of default systems": Kind(0.07, _of("default systems"), 1, SURVEYED, 0.3),
    "noisy one of two": Kind(0.025, _of("rosenzweig-macarthur"), 1, SURVEYED, 0.3),
    "noisy food chain": Kind(0.01, _of("food chain"), 3, SURVEYED, 0.3),
    "noisy oscillation 1": Kind(0.015, _of("oscillation 1"), 1, SURVEYED),
    "noisy oscillation 2": Kind(0.015, _of("oscillation 2"), 2, SURVEYED),
    "shaken predators and prey": Kind(0.028, stochastic.predator_prey, 2, COUNTED, 0.1),
    "shaken one of two": Kind(0.021, stochastic.predator_prey, 1, COUNTED),
    "community of 3": Kind(0.0105, lambda r, n, t: stochastic.community(r, n, t, 3), 3, COUNTED),
    "community of 5": Kind(0.007, lambda r, n, t: stochastic.community(r, n, t, 5), 5, COUNTED),
    "community of 8": Kind(0.0035, lambda r, n, t: stochastic.community(r, n, t, 8), 8, COUNTED),
    "ricker": Kind(0.0105, maps.ricker, 1, COUNTED),
    "gompertz": Kind(0.014, maps.gompertz, 1, COUNTED),
    "theta-logistic": Kind(0.0105, maps.theta_logistic, 1, COUNTED),
    "hassell": Kind(0.0105, maps.hassell, 1, COUNTED),
    "moran": Kind(0.014, maps.moran, 1, COUNTED),
    "delayed": Kind(0.007, maps.delayed, 1, COUNTED),
    "host-parasitoid": Kind(0.007, maps.host_parasitoid, 2, COUNTED),
    "log walk": Kind(0.021, lambda r, n, t: autoregressions.log_walk(r, n, t, 1), 1, COUNTED),
    "log walks": Kind(0.007, lambda r, n, t: autoregressions.log_walk(r, n, t, 3), 3, COUNTED),
    "level walk": Kind(0.007, lambda r, n, t: autoregressions.level_walk(r, n, t, 1), 1, COUNTED),
    "white": Kind(0.0105, lambda r, n, t: autoregressions.white(r, n, t, 1), 1, COUNTED),
    "whites": Kind(0.0035, lambda r, n, t: autoregressions.white(r, n, t, 2), 2, COUNTED),
    "log autoregression": Kind(
        0.014, lambda r, n, t: autoregressions.log_autoregression(r, n, t, 1), 1, COUNTED
    ),
    "log autoregressions": Kind(
        0.007, lambda r, n, t: autoregressions.log_autoregression(r, n, t, 4), 4, COUNTED
    ),
    "oscillating levels": Kind(
        0.007, lambda r, n, t: autoregressions.oscillating_levels(r, n, t, 1), 1, COUNTED
    ),
    "regimes": Kind(0.014, lambda r, n, t: autoregressions.regimes(r, n, t, 1), 1, COUNTED),
    "trend": Kind(0.0105, lambda r, n, t: autoregressions.trend(r, n, t, 1), 1, COUNTED),
    "season": Kind(0.03, lambda r, n, t: seasonal.seasonal(r, n, t, 1), 1, COUNTED),
    "seasons": Kind(0.01, lambda r, n, t: seasonal.seasonal(r, n, t, 2), 2, COUNTED),
    "driven": Kind(0.03, driven.driven, 2, COUNTED),
    "told times": Kind(0.01, driven.told_times("default systems"), 3, CLEAN),
    "noisy told times": Kind(0.01, driven.told_times("rosenzweig-macarthur"), 3, NOTED),
    "cycle": Kind(0.025, lambda r, n, t: cycles.cycles(r, n, t, 1), 1, CLEAN),
    "cycles of 2": Kind(0.035, lambda r, n, t: cycles.cycles(r, n, t, 2), 2, CLEAN),
    "cycles of 3": Kind(0.01, lambda r, n, t: cycles.cycles(r, n, t, 3), 3, CLEAN),
    "noisy cycle": Kind(0.02, lambda r, n, t: cycles.cycles(r, n, t, 1), 1, SURVEYED),
    "noisy cycles of 2": Kind(0.02, lambda r, n, t: cycles.cycles(r, n, t, 2), 2, SURVEYED),
    "network": Kind(0.01, lambda r, n, t: networks.networks(r, n, t, 1), 1, CLEAN),
    "networks of 2": Kind(0.02, lambda r, n, t: networks.networks(r, n, t, 2), 2, CLEAN),
    "networks of 3": Kind(0.01, lambda r, n, t: networks.networks(r, n, t, 3), 3, CLEAN),
    "noisy networks of 2": Kind(0.01, lambda r, n, t: networks.networks(r, n, t, 2), 2, SURVEYED),
    "profile": Kind(0.035, lambda r, n, t: cycles.profiles(r, n, t, 1), 1, COUNTED),
    "profiles": Kind(0.01, lambda r, n, t: cycles.profiles(r, n, t, 2), 2, COUNTED),
    "climb": Kind(0.03, lambda r, n, t: climbs.climbs(r, n, t, 1), 1, COUNTED),
    "climbs": Kind(0.01, lambda r, n, t: climbs.climbs(r, n, t, 2), 2, COUNTED),
    "lagged": Kind(0.02, lambda r, n, t: autoregressions.lagged(r, n, t, 1), 1, COUNTED),
    "lagged of 2": Kind(0.01, lambda r, n, t: autoregressions.lagged(r, n, t, 2), 2, COUNTED),
    "epidemics": Kind(0.0105, outbreaks.epidemics, 1, COUNTED),
    "pulses": Kind(0.007, outbreaks.pulses, 1, COUNTED),
}


def draw(rng: Rng, n: int, n_tokens: int, fewest: int = 4, usual: int = 5) -> list[Row]:
    """n rows, nearly all of them long enough for ``n_tokens``, shuffled.

    Args:
        fewest, usual: tokens of a number: what nearly all have at least, and what most have.
    """
    kinds = list(MIXTURE.values())
    shares = np.array([kind.share for kind in kinds])
    rows: list[Row] = []
    for kind, count in zip(kinds, rng.multinomial(n, shares / shares.sum()), strict=True):
        n_steps = n_tokens // (fewest * kind.n_variables) + 2
        for values in kind.simulate(rng, int(count), n_steps) if count else ():
            row = one_row(rng, kind, values, fewest / usual)
            if row is not None:
                rows.append(row)
    while len(rows) < n:  # instead of what had nothing to tell
        rows.append(rows[int(rng.integers(len(rows)))])
    return [rows[i] for i in rng.permutation(len(rows))]


def one_row(rng: Rng, kind: Kind, values: Array, read: float = 0.8) -> Row | None:
    """A simulated series (T, V) as it is read; None where its history says nothing.

    Args:
        read: the share of it that usually fits into a row of tokens.
    """
    if values.shape[1] > kind.n_variables:
        values = values[:, rng.permutation(values.shape[1])[: kind.n_variables]]
    if not np.isfinite(values).all():
        return None
    longest = max(_SHORTEST_HISTORY, 0.75 * int(read * len(values)))
    cut = int(log_uniform(rng, _SHORTEST_HISTORY, longest, 1)[0])
    noted = kind.observer.observe(rng, values, cut)
    history = noted[:cut]
    if np.isfinite(history).sum() < 3 or np.nanmax(history) == np.nanmin(history):
        return None
    decimals = int(rng.choice([2, 1, 3], p=_DECIMALS if noted.shape[1] > 1 else _DECIMALS_ALONE))
    if rng.random() < kind.common:
        numbers = noted / (COMMON_DIVISOR * float(np.exp(rng.normal(0, 0.2))))
        cut = 0
    else:
        scale = of_history(Series("", np.arange(cut, dtype=float), history))
        view = 1.0 if rng.random() < 0.3 else float(log_uniform(rng, 1 / _VIEWS, _VIEWS, 1)[0])
        numbers = scale.times(view).apply(noted)
    too_large = np.flatnonzero((np.abs(numbers) > _LARGEST).any(axis=1))
    stop = int(too_large[0]) if len(too_large) else len(numbers)
    return Row(numbers[:stop], decimals, cut) if stop > cut + 1 else None
