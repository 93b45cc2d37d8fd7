"""Parts for training, validation and test, and cuts into histories and futures.

Every series is cut here, so that nothing of a future can reach a forecast.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lvlora.data.dataset import Dataset, Series
from lvlora.settings.base import Split as Part
from lvlora.settings.shared import SplitSettings

SHARES = (0.70, 0.15, 0.15)
"""Shares of train, validation, test."""


@dataclass(frozen=True)
class Split:
    """Three disjoint sets of ids, each in random order: its first k are a random sample of it."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    seed: int

    def part(self, name: Part) -> tuple[str, ...]:
        """The ids of train, validation, test or all."""
        every = self.train + self.validation + self.test
        return every if name == "all" else tuple(getattr(self, name))

    @property
    def sha256(self) -> str:
        """A hash of who is where; the order within a part does not matter."""
        parts = [self.seed, sorted(self.train), sorted(self.validation), sorted(self.test)]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def to_json(self) -> str:
        """Return the text of split.json."""
        parts = {name: getattr(self, name) for name in ("train", "validation", "test")}
        return json.dumps({"sha256": self.sha256, "seed": self.seed, **parts}) + "\n"


def split_ids(dataset: Dataset, seed: int, strata: Sequence[int] = ()) -> Split:
    """70/15/15 by largest remainder, at random.

    A series' place in the random order is the SHA-256 of (seed, id): the split is the same
    whatever the order of the file. Small sets: one series trains; from two on at least one
    validates; from three on at least one tests.

    Args:
        strata: a label of each series, such as its cluster. Each part then has nearly the same
            share of every stratum (proportional allocation, Cochran 1977, chapter 5).
    """
    ids = sorted(
        (series.id for series in dataset),
        key=lambda name: hashlib.sha256(f"{seed}\x1f{name}".encode()).digest(),
    )
    if strata:
        stratum = dict(zip((series.id for series in dataset), strata, strict=True))
        sizes_of, seen, place = Counter(strata), Counter[int](), {}
        for name in ids:
            label = stratum[name]
            place[name] = (seen[label] + 0.5) / sizes_of[label]
            seen[label] += 1
        ids.sort(key=place.__getitem__)
    n = len(ids)
    quotas = [n * share for share in SHARES]
    sizes = [int(quota + 1e-9) for quota in quotas]
    order = sorted(range(3), key=lambda i: (-round(quotas[i] - sizes[i], 9), i))
    for i in order[: n - sum(sizes)]:
        sizes[i] += 1
    for i in range(3):
        if not sizes[i] and n > i:
            sizes[sizes.index(max(sizes))] -= 1
            sizes[i] += 1
    train, validation = sizes[0], sizes[0] + sizes[1]
    return Split(tuple(ids[:train]), tuple(ids[train:validation]), tuple(ids[validation:]), seed)


def split_of(dataset: Dataset, settings: SplitSettings) -> Split:
    """The split that the settings ask for."""
    seed = settings.split_seed
    if not settings.stratify:
        return split_ids(dataset, seed)
    from lvlora.data.analysis import strata

    return split_ids(dataset, seed, strata(dataset, seed).labels.tolist())


LEAST_HISTORY = 2
"""Steps of a history that a forecast from the end of a series needs at least."""


@dataclass(frozen=True)
class Cut:
    """The history of a forecaster, (T, V), and its future, (H, V)."""

    history: Series
    future: Series


def cut(series: Series, at: int, horizon: int) -> Cut:
    """The first ``at`` steps, and up to ``horizon`` after them.

    The history's arrays are its own: views would lead to what comes next. Of that it has the times
    and the columns that are known.
    """
    past = series.steps(0, at)
    arrays = {name: getattr(past, name) for name in ("time", "values", "absent", "known")}
    copies = {name: array.copy() for name, array in arrays.items() if array is not None}
    return Cut(replace(past, **copies), series.steps(at, at + horizon))


def last_windows(
    series: Series, horizon: int, n_windows: int = 1, context: int | None = None
) -> list[Cut]:
    """Forecasts from rolling origins, side by side: the last ends with the series.

    >>> import numpy as np
    >>> ten = Series("a", np.arange(10.0), np.zeros((10, 1)))
    >>> [len(c.history) for c in last_windows(ten, horizon=2, n_windows=3)]
    [4, 6, 8]

    Args:
        context: steps of each history; None for all that came before, `LEAST_HISTORY` at least.

    Returns:
        the cuts, the earliest first; none where the series is too short for all of them.
    """
    last = len(series) - horizon
    first = last - (n_windows - 1) * horizon
    if first < (LEAST_HISTORY if context is None else context):
        return []
    cuts = []
    for origin in range(first, last + 1, horizon):
        begin = 0 if context is None else origin - context
        cuts.append(cut(series.steps(begin, origin + horizon), origin - begin, horizon))
    return cuts


def learnable(train: Dataset, histories: Iterable[Series], before: float | None = None) -> Dataset:
    """Return the training series, but only the histories of series that are forecast.

    Args:
        histories: of all series that are forecast, in that part or in others; of several histories
            of one series the shortest counts.
        before: a time from which nothing may be learnt, of any series; None for no such time.
    """
    shortest: dict[str, Series] = {}
    for history in histories:
        earlier = shortest.setdefault(history.id, history)
        if len(history) < len(earlier):
            shortest[history.id] = history
    series = [shortest.pop(s.id, s) for s in train] + list(shortest.values())
    if before is not None:
        cuts = [(s, int(np.searchsorted(s.time, before))) for s in series]
        series = [s.steps(0, n) for s, n in cuts if n]
    return replace(train, series=tuple(series))
