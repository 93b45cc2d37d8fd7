"""Parts for training, validation and test: a function of the seed and the ids alone."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from lvlora.data.analysis.dynamics import cluster, measure
from lvlora.data.dataset import Dataset
from lvlora.settings.base import Split as Part
from lvlora.settings.shared import SplitSettings

SHARES = (0.70, 0.15, 0.15)
"""Shares of train, validation, test."""
STRATA = 4
"""Clusters of similar dynamics of which a stratified split has as much in each part."""


@dataclass(frozen=True)
class Split:
    """Three disjoint sets of ids that together are all ids.

    Each part is in the split's own random order, so that its first k series are a random sample
    of it.
    """

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    seed: int

    def part(self, name: Part) -> tuple[str, ...]:
        """The ids of train, validation, test or all."""
        if name == "all":
            return self.train + self.validation + self.test
        ids: tuple[str, ...] = getattr(self, name)
        return ids

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
        sizes_of, seen = Counter(strata), Counter[int]()
        place = {}
        for name in ids:
            label = stratum[name]
            place[name] = (seen[label] + 0.5) / sizes_of[label]
            seen[label] += 1
        ids.sort(key=lambda name: place[name])
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
    strata = []
    if settings.stratify:
        n_clusters = min(STRATA, len(dataset))
        clustering = cluster(dataset, measure(dataset), n_clusters, settings.split_seed)
        strata = clustering.labels.tolist()
    return split_ids(dataset, settings.split_seed, strata)
