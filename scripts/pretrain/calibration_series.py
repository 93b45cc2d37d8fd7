"""Series whose future is known, for what a model's folder says of the width of its intervals.

Fitted on: systems of the mixture with another seed than the pretraining's, predators and prey as
`lvlora simulate` draws them, families that are in no mixture (`others`), and measured series
(`development.measured`) in two halves, each of which is tested by what was fitted without it.
Series of one source are all in one half. Tested on: other families outside the mixture, and other
predators and prey.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import development
import numpy as np
from mixture import MIXTURE, Kind
from observation import CLEAN, COUNTED, SURVEYED
from others import OTHERS
from parameters import Rng, log_uniform

from lvlora.data.dataset import FloatArray, Series
from lvlora.data.settings import SimulateSettings
from lvlora.data.simulate import observe, simulate

SEED = 61_907
"""No pool of pretraining and no other script has it."""
HORIZONS = (10, 20, 50)
_OFTEN = (0.65, 0.25, 0.1)
_SHORTEST, _LONGEST = 12, 150
"""Steps of a history."""
_LONGEST_OTHER = 100
GROUPS = {"clean": CLEAN, "noisy": SURVEYED, "like real": COUNTED}
"""Names of the mixture's three parts, by their observer."""
SYSTEMS = "predators and prey"
FOREIGN = "in no mixture"
NOISES_AND_GAPS = ((0.0, 0.0), (0.02, 0.0), (0.05, 0.0), (0.1, 0.0), (0.0, 0.2), (0.05, 0.2))
"""Of histories: the standard deviation of the logs, and the share of values that are missing."""
PROTOCOLS = ((50, 50), (80, 20))
"""Steps that are read, and that are forecast."""
MEASURED = "measured"
_HALF = ("datasets", "Measles", "Mumps", "HistData", "treering", "boot", "woolyrnq")
"""Words in the names of the measured series of one half; see `half_of`."""


@dataclass(frozen=True)
class Known:
    """A history and what came next.

    Attributes:
        group: what kind of series it is.
        future: (H, V), NaN where it is not known.
        noisy: (H, V) the future with noise like the history's, where ``future`` has none.
        half: of a measured series, 0 or 1; None of others.
    """

    group: str
    history: Series
    future: FloatArray
    noisy: FloatArray | None = None
    half: int | None = None

    @property
    def alike(self) -> tuple[int, int]:
        """H and V: what can be forecast in one call."""
        return self.future.shape[0], self.future.shape[1]


def fitted(n: int) -> list[Known]:
    """About n series of each part of the mixture and of none, half as many more systems, and all
    measured ones."""
    results = [one for group in GROUPS for one in _of_mixture(group, n)]
    results += _of_others(max(1, n // len(OTHERS)))
    each = max(1, 3 * n // 2 // (len(NOISES_AND_GAPS) * len(PROTOCOLS)))
    results += [replace(one, group=SYSTEMS) for one in _systems(each, SEED + 1)]
    for series in development.measured():
        results += _origins(series)
    return results


def tested(n: int) -> Iterator[Known]:
    """n systems of each kind of history and protocol, and n series of each family."""
    yield from _systems(n, SEED)
    for place, (name, (make, noise)) in enumerate(development.UNSEEN.items()):
        rng = np.random.default_rng((SEED, place))
        values = observe(make(rng, n, 80), rng, noise=noise)
        for i, one in enumerate(values):
            series = Series(f"{name} {i}", np.arange(80.0), one)
            yield Known(f"unseen: {name}", series.steps(0, 60), one[60:])


def _systems(n: int, seed: int) -> Iterator[Known]:
    """n systems of each kind of history and protocol, with clean futures."""
    clean = list(simulate(SimulateSettings(n_series=n, seed=seed)))
    for noise, gaps in NOISES_AND_GAPS:
        seen = list(simulate(SimulateSettings(n_series=n, seed=seed, noise=noise, gaps=gaps)))
        missing = f", {100 * gaps:g} % missing" if gaps else ""
        for context, horizon in PROTOCOLS:
            for noted, true in zip(seen, clean, strict=True):
                future, noisy = (s.values[context : context + horizon] for s in (true, noted))
                history = noted.steps(0, context)
                group = f"{100 * noise:g} % noise{missing}"
                yield Known(group, history, future, noisy if noise else None)


def half_of(name: str) -> int:
    """The half that a measured series is in, by its source."""
    return int(name == "hares and lynxes" or any(word in name.split()[:2] for word in _HALF))


def _of_mixture(group: str, n: int) -> Iterator[Known]:
    """About n series of the kinds that have the group's observer, as often as the mixture."""
    kinds = {k: v for k, v in MIXTURE.items() if v.observer is GROUPS[group]}
    rng = np.random.default_rng((SEED, list(GROUPS).index(group)))
    shares = np.array([kind.share for kind in kinds.values()])
    counts = rng.multinomial(n, shares / shares.sum())
    for (name, kind), count in zip(kinds.items(), counts, strict=True):
        values = kind.simulate(rng, int(count), _LONGEST + max(HORIZONS)) if count else ()
        for i, one in enumerate(values):
            known = _cut(rng, kind, f"{name} {i}", one, group)
            if known is not None:
                yield known


def _of_others(n: int) -> Iterator[Known]:
    """n series of each family that is in no mixture, every other one with noise."""
    for place, (name, make) in enumerate(OTHERS.items()):
        rng = np.random.default_rng((SEED, len(GROUPS) + place))
        for i, true in enumerate(make(rng, n, _LONGEST_OTHER + max(HORIZONS))):
            noise = float(log_uniform(rng, 0.01, 0.2, 1)[0]) if i % 2 else 0.0
            (values,) = observe(true[None], rng, noise=noise)
            horizon = int(rng.choice(HORIZONS, p=_OFTEN))
            cut = int(log_uniform(rng, 2 * _SHORTEST, _LONGEST_OTHER, 1)[0])
            history = Series(f"{name} {i}", np.arange(cut, dtype=float), values[:cut])
            if np.isfinite(values).all() and np.ptp(values[:cut], axis=0).min() > 0:
                yield Known(FOREIGN, history, values[cut : cut + horizon])


def _cut(rng: Rng, kind: Kind, name: str, values: FloatArray, group: str) -> Known | None:
    """A simulated series (T, V) as it is noted; None where its history says nothing."""
    if values.shape[1] > kind.n_variables:
        values = values[:, rng.permutation(values.shape[1])[: kind.n_variables]]
    horizon = int(rng.choice(HORIZONS, p=_OFTEN))
    cut = int(log_uniform(rng, _SHORTEST, _LONGEST, 1)[0])
    if not np.isfinite(values).all():
        return None
    noted = kind.observer.observe(rng, values[: cut + horizon * 2], cut)
    history, future = noted[:cut], noted[cut : cut + horizon]
    known = np.isfinite(history).sum(axis=0)
    if len(future) < horizon or known.min() < 3 or np.nanmax(history) == np.nanmin(history):
        return None
    return Known(group, Series(name, np.arange(cut, dtype=float), history), future)


def _origins(series: Series) -> Iterator[Known]:
    """A measured series from its last two origins that leave it 15 steps."""
    for i in range(2):
        cut = len(series) - 10 * (i + 1)
        if cut >= 15:
            future = series.values[cut : cut + 10]
            yield Known(MEASURED, series.steps(0, cut), future, half=half_of(series.id))


def batches(known: Sequence[Known], size: int) -> Iterator[list[int]]:
    """Positions of what can be forecast together, at most so many, similar histories together."""
    alike: dict[tuple[int, int], list[int]] = {}
    for i, one in enumerate(known):
        alike.setdefault(one.alike, []).append(i)
    for of in alike.values():
        of.sort(key=lambda i: len(known[i].history))
        yield from (of[i : i + size] for i in range(0, len(of), size))
