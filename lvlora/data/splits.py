"""Parts for training, validation and test: a function of the seed and the ids alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from lvlora.data.analysis.clusters import cluster
from lvlora.data.analysis.dynamics import measure
from lvlora.data.dataset import Dataset
from lvlora.settings.base import Split as Part
from lvlora.settings.shared import SplitSettings

SHARES = (0.70, 0.15, 0.15)
"""Shares of train, validation, test."""
STRATA = 4
"""Clusters of similar dynamics that a stratified split holds apart, and a table tells apart."""


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


def split_ids(dataset: Dataset, seed: int, strata: Sequence[int] | None = None) -> Split:
    """70/15/15 by largest remainder, at random.

    A series' place in the random order is the SHA-256 of (seed, id): the split is the same
    whatever the order of the file. Small sets: one series trains; from two on at least one
    validates; from three on at least one tests.

    Args:
        strata: a label for each series in file order (clusters of similar dynamics). Each stratum
            is then split by itself, and the rounding of one evens out that of those before; the
            guarantees for small sets come first, so a set they don't fit is split without strata.

    Raises:
        ValueError: another number of labels than of series.
    """
    labels = [0] * len(dataset) if strata is None else [int(label) for label in strata]
    if len(labels) != len(dataset):
        raise ValueError(f"{len(labels)} strata for {len(dataset)} series")
    members: dict[int, list[str]] = {}
    for series, label in zip(dataset, labels, strict=True):
        members.setdefault(label, []).append(series.id)
    parts: tuple[list[str], list[str], list[str]] = ([], [], [])
    for label in sorted(members, key=lambda each: (-len(members[each]), each)):
        ids = sorted(members[label], key=lambda name: _place(seed, name))
        sizes = _sizes(len(ids), [len(p) for p in parts])
        start = 0
        for part, size in zip(parts, sizes, strict=True):
            part.extend(ids[start : start + size])
            start += size
    if len(members) > 1 and any(
        len(part) < least for part, least in zip(parts, _least(len(dataset)), strict=True)
    ):
        return split_ids(dataset, seed)
    train, validation, test = (
        tuple(sorted(part, key=lambda name: _place(seed, name))) for part in parts
    )
    return Split(train, validation, test, seed)


def _place(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}\x1f{name}".encode()).digest()


def _least(n: int) -> tuple[int, int, int]:
    """The fewest series of each part in a set of n."""
    return (int(n >= 1), int(n >= 2), int(n >= 3))


def _sizes(n: int, before: Sequence[int]) -> list[int]:
    """How the n series of a stratum are divided, given how earlier strata were.

    Largest remainder; where remainders are equal, to the part that is furthest behind overall.
    """
    quotas = [n * share for share in SHARES]
    sizes = [int(quota + 1e-9) for quota in quotas]
    n_all = n + sum(before)
    behind = [n_all * share - b for share, b in zip(SHARES, before, strict=True)]
    order = sorted(
        range(3), key=lambda i: (-round(quotas[i] - sizes[i], 9), -round(behind[i], 9), i)
    )
    for i in order[: n - sum(sizes)]:
        sizes[i] += 1
    if not any(before):
        for i, least in enumerate(_least(n)):
            if sizes[i] < least:
                sizes[sizes.index(max(sizes))] -= 1
                sizes[i] += 1
    return sizes


def split_of(dataset: Dataset, settings: SplitSettings) -> Split:
    """The split that the settings ask for."""
    strata = None
    if settings.stratify:
        n_clusters = min(STRATA, len(dataset))
        clustering = cluster(dataset, measure(dataset), n_clusters, settings.split_seed)
        strata = [int(label) for label in clustering.labels]
    return split_ids(dataset, settings.split_seed, strata)
