"""The one mixture: kinds of series, their shares, and how a series becomes numbers of a text.

A row is one series, or a group of related ones, one after the other. Each is cut in a history and
a future. It is scaled as a forecast scales it, by the history alone
(`lvlora.text.scaling.of_history`), so that what a scale tells (the largest number so far is 5)
holds in training as it does in use; the history is no target, because its scale would give away
where it goes. The other rows have the divisor of a data set, and all of them is target.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import cycles
import driven
import maps
import networks
import numpy as np
import oscillators
import outbreaks
import stochastic
from exponential_smoothing import exponential_smoothing
from gaussian_processes import kernel_draws
from observation import CLEAN, COUNTED, NOTED, RECORDED, SURVEYED, Observer
from parameters import Array, Rng, log_uniform
from seasonal_arima import seasonal_arima
from switching import switching

from lvlora.data.dataset import Series
from lvlora.text.scaling import of_history

COMMON_DIVISOR = 0.793
"""Of `lvlora simulate`'s default data set, by the data-set rule."""
_VIEWS = 1.25
"""How far forecasts move the scale of a history (`lvlora.forecast.reading.view_factors`)."""
_LARGEST = 500.0
"""A series ends where a number in the text would be larger."""
_SHORTEST_HISTORY, _LONGEST_HISTORY = 8, 1000
_SHORTEST_SERIES = 16
_GROUPED = 0.15
"""Share of the kinds' draws that are groups, where one series would fill the row as well."""
_INTEGRATED = 128
"""Steps of systems whose integration is slow."""
_DECIMALS, _DECIMALS_ALONE = (0.92, 0.03, 0.05), (0.72, 0.03, 0.25)
"""Shares of 2, 1 and 3 decimals: a lone variable has room for a third."""


Simulate = Callable[[Rng, int, int], Array]


@dataclass(frozen=True)
class Kind:
    """A share of the mixture.

    Attributes:
        share: of the rows, relative to the others'.
        simulate: (random numbers, n, n_steps) to (n, n_steps, V).
        n_variables: V that are seen; where ``simulate`` gives more, any of them.
        common: the share that has a data set's divisor.
        longest: steps that are simulated at a time.
    """

    share: float
    simulate: Simulate
    n_variables: int
    observer: Observer
    common: float = 0.0
    longest: int = 1280


@dataclass(frozen=True)
class Part:
    """A series: (T, V) numbers as the text has them, and the first step that is a target."""

    values: Array
    first: int


@dataclass(frozen=True)
class Row:
    """Series that stand one after the other, and the decimals of all of them."""

    parts: tuple[Part, ...]
    decimals: int


@dataclass(frozen=True)
class Drawing:
    """Options of the draws.

    Attributes:
        fewest, usual: tokens of a number: what nearly all have at least, and what most have.
        thirds: whether rows may have one or three decimals.
        clean_futures: noise, counts and rounding of an observer always end with the history.
        related: whether rows may be groups of related series.
    """

    fewest: int = 4
    usual: int = 5
    thirds: bool = True
    clean_futures: bool = False
    related: bool = True


def _wide(simulate: Callable[[Rng, int, int, int], Array], n_variables: int) -> Simulate:
    return lambda rng, n, n_steps: simulate(rng, n, n_steps, n_variables)


DEFAULT = partial(oscillators.predator_prey, kind="default")
SATURATING = partial(oscillators.predator_prey, kind="saturating")
LIMITED = partial(oscillators.predator_prey, kind="limited")
CLASSIC = partial(oscillators.predator_prey, kind="classic")


def _system(
    share: float, simulate: Simulate, n: int, observer: Observer, common: float = 0.0
) -> Kind:
    return Kind(share, simulate, n, observer, common, _INTEGRATED)


MIXTURE: dict[str, Kind] = {
    # clean systems
    "default systems": _system(0.20, DEFAULT, 2, CLEAN, 0.4),
    "rosenzweig-macarthur": _system(0.04, SATURATING, 2, CLEAN, 0.3),
    "self-limited": _system(0.02, LIMITED, 2, CLEAN, 0.3),
    "lotka-volterra": _system(0.02, CLASSIC, 2, CLEAN, 0.3),
    "food chain": _system(0.015, oscillators.food_chain, 3, CLEAN, 0.3),
    "van der pol": _system(0.015, oscillators.van_der_pol, 2, CLEAN),
    "one of default systems": _system(0.05, DEFAULT, 1, CLEAN, 0.3),
    "oscillation": Kind(0.015, _wide(oscillators.oscillation, 1), 1, CLEAN),
    "oscillations of 2": Kind(0.01, _wide(oscillators.oscillation, 2), 2, CLEAN),
    "oscillations of 4": Kind(0.01, _wide(oscillators.oscillation, 4), 4, CLEAN),
    "logistic growth": Kind(0.01, _wide(oscillators.logistic_growth, 2), 2, CLEAN),
    "cycle": Kind(0.02, _wide(cycles.cycles, 1), 1, CLEAN),
    "cycles of 2": Kind(0.02, _wide(cycles.cycles, 2), 2, CLEAN),
    "network": _system(0.01, _wide(networks.networks, 1), 1, CLEAN),
    "networks of 2": _system(0.015, _wide(networks.networks, 2), 2, CLEAN),
    # the same with noisy histories
    "noisy default systems": _system(0.10, DEFAULT, 2, SURVEYED, 0.4),
    "noisy rosenzweig-macarthur": _system(0.03, SATURATING, 2, SURVEYED, 0.3),
    "noisy self-limited": _system(0.015, LIMITED, 2, SURVEYED, 0.3),
    "noisy lotka-volterra": _system(0.01, CLASSIC, 2, SURVEYED, 0.3),
    "noisy one of default systems": _system(0.05, DEFAULT, 1, SURVEYED, 0.3),
    "noisy food chain": _system(0.01, oscillators.food_chain, 3, SURVEYED, 0.3),
    "noisy oscillations of 2": Kind(0.01, _wide(oscillators.oscillation, 2), 2, SURVEYED),
    "noisy cycle": Kind(0.02, _wide(cycles.cycles, 1), 1, SURVEYED),
    "noisy networks of 2": _system(0.01, _wide(networks.networks, 2), 2, SURVEYED),
    # populations with process and observation noise
    "shaken predators and prey": _system(0.02, stochastic.predator_prey, 2, COUNTED),
    "shaken one of two": _system(0.015, stochastic.predator_prey, 1, COUNTED),
    "community of 3": _system(0.01, _wide(stochastic.community, 3), 3, COUNTED),
    "community of 8": _system(0.006, _wide(stochastic.community, 8), 8, COUNTED),
    "ricker": Kind(0.008, maps.ricker, 1, COUNTED),
    "gompertz": Kind(0.02, maps.gompertz, 1, COUNTED),
    "theta-logistic": Kind(0.012, maps.theta_logistic, 1, COUNTED),
    "hassell": Kind(0.008, maps.hassell, 1, COUNTED),
    "moran": Kind(0.012, maps.moran, 1, COUNTED),
    "delayed": Kind(0.006, maps.delayed, 1, COUNTED),
    "host-parasitoid": Kind(0.006, maps.host_parasitoid, 2, COUNTED),
    "driven": Kind(0.02, driven.driven, 2, COUNTED),
    "epidemics": Kind(0.012, outbreaks.epidemics, 1, COUNTED),
    "pulses": Kind(0.006, outbreaks.pulses, 1, COUNTED),
    "told times": _system(0.008, driven.told_times(DEFAULT), 3, CLEAN),
    "noisy told times": _system(0.008, driven.told_times(SATURATING), 3, NOTED),
    # measurements of any kind
    "seasonal arima": Kind(0.11, _wide(seasonal_arima, 1), 1, RECORDED),
    "seasonal arima of 3": Kind(0.02, _wide(seasonal_arima, 3), 3, RECORDED),
    "seasonal arima of 12": Kind(0.008, _wide(seasonal_arima, 12), 12, RECORDED),
    "exponential smoothing": Kind(0.13, _wide(exponential_smoothing, 1), 1, RECORDED),
    "exponential smoothing of 3": Kind(0.02, _wide(exponential_smoothing, 3), 3, RECORDED),
    "exponential smoothing of 12": Kind(0.008, _wide(exponential_smoothing, 12), 12, RECORDED),
    "gaussian process": Kind(0.03, _wide(kernel_draws, 1), 1, RECORDED, longest=384),
    "gaussian process of 2": Kind(0.01, _wide(kernel_draws, 2), 2, RECORDED, longest=384),
    "switching": Kind(0.03, _wide(switching, 1), 1, RECORDED),
    "switching of 2": Kind(0.01, _wide(switching, 2), 2, RECORDED),
}


def draw(rng: Rng, n: int, n_tokens: int, options: Drawing | None = None) -> list[Row]:
    """Draw n rows, nearly all of them long enough for ``n_tokens``, shuffled."""
    options = options or Drawing()
    kinds = list(MIXTURE.values())
    shares = np.array([kind.share for kind in kinds])
    rows: list[Row] = []
    for kind, count in zip(kinds, rng.multinomial(n, shares / shares.sum()), strict=True):
        n_grouped = int(rng.binomial(count, _GROUPED)) if options.related else 0
        rows += _of_kind(rng, kind, int(count) - n_grouped, n_tokens, 1, options)
        n_series = int(rng.integers(2, 9))
        rows += _of_kind(rng, kind, n_grouped, n_tokens, n_series, options)
    while len(rows) < n:  # instead of what had nothing to tell
        rows.append(rows[int(rng.integers(len(rows)))])
    return [rows[i] for i in rng.permutation(len(rows))]


def _of_kind(
    rng: Rng, kind: Kind, n: int, n_tokens: int, n_series: int, options: Drawing
) -> list[Row]:
    """Draw up to n rows of ``n_series`` series, or more where one is too short for a row.

    The series of a group are pieces of one run, and so of one system, while its steps last; then
    they are of the same generator.
    """
    if n == 0:
        return []
    n_steps = n_tokens // (options.fewest * kind.n_variables) + 2
    length = min(max(n_steps // n_series, min(n_steps, _SHORTEST_SERIES)), kind.longest)
    n_series = -(-n_steps // length)
    pieces = max(1, min(n_series, kind.longest // length))
    runs = -(-n_series // pieces)
    values = kind.simulate(rng, n * runs, pieces * length)
    values = values.reshape(n, runs * pieces, length, values.shape[2])[:, :n_series]
    rows = []
    for group in values:
        if group.shape[2] > kind.n_variables:
            group = group[..., rng.permutation(group.shape[2])[: kind.n_variables]]
        row = one_row(rng, kind, group, options)
        if row is not None:
            rows.append(row)
    return rows


def one_row(rng: Rng, kind: Kind, group: Array, options: Drawing) -> Row | None:
    """Write a group (series, T, V) as it is read; None where no history says anything."""
    parts = [part for values in group if (part := _part(rng, kind, values, options)) is not None]
    shares = _DECIMALS if group.shape[2] > 1 else _DECIMALS_ALONE
    decimals = int(rng.choice([2, 1, 3], p=shares)) if options.thirds else 2
    return Row(tuple(parts), decimals) if parts else None


def _part(rng: Rng, kind: Kind, values: Array, options: Drawing) -> Part | None:
    if not np.isfinite(values).all():
        return None
    usually_read = int(len(values) * options.fewest / options.usual)
    longest = min(max(_SHORTEST_HISTORY, 0.75 * usually_read), _LONGEST_HISTORY)
    cut = int(log_uniform(rng, _SHORTEST_HISTORY, longest, 1)[0])
    noted = kind.observer.observe(rng, values, cut, clean_future=options.clean_futures)
    history = noted[:cut]
    if np.isfinite(history).sum() < 3 or np.nanmax(history) == np.nanmin(history):
        return None
    if rng.random() < kind.common:
        numbers = noted / (COMMON_DIVISOR * float(np.exp(rng.normal(0, 0.2))))
        cut = 0
    else:
        scale = of_history(Series("", np.arange(cut, dtype=float), history))
        view = 1.0 if rng.random() < 0.3 else float(log_uniform(rng, 1 / _VIEWS, _VIEWS, 1)[0])
        numbers = scale.times(view).apply(noted)
    too_large = np.flatnonzero((np.abs(numbers) > _LARGEST).any(axis=1))
    stop = int(too_large[0]) if len(too_large) else len(numbers)
    return Part(numbers[:stop], cut) if stop > cut + 1 else None
