"""How one token is chosen from logits: the likeliest legal one, or drawn."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lvlora.forecast.settings import SamplingSettings
from lvlora.settings.fields import checked

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
STREAM_SEPARATOR = "\x1f"
"""In the name of a random stream, behind the id of its series."""
_SHARED = STREAM_SEPARATOR + "parts"
"""Behind a series' name: the streams by which its samples share out [0, 1)."""
_BELOW_ONE = 1.0 - 2.0**-53


@dataclass(frozen=True)
class Sampling:
    """How futures are drawn; the defaults are those of ``lvlora forecast``."""

    samples: int = 20
    greedy: bool = False
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int = 0
    views: int = 4
    """Scales at which a history is read; its samples are shared among them."""

    def __post_init__(self) -> None:
        """SettingsError for what the command would refuse, too."""
        options = {name: getattr(self, name) for name in self.__dataclass_fields__}
        allowed = checked(SamplingSettings, options)
        for name in options:  # numpy's numbers become Python's
            object.__setattr__(self, name, getattr(allowed, name))

    @classmethod
    def of(cls, settings: SamplingSettings) -> Sampling:
        """As a command's settings say."""
        return cls(
            settings.samples,
            settings.greedy,
            settings.temperature,
            settings.top_p,
            settings.seed,
            settings.views,
        )

    @property
    def n_futures(self) -> int:
        """Futures of each series."""
        return 1 if self.greedy else self.samples


class NotFinite(ArithmeticError):
    """A logit of a legal token is no finite number.

    Attributes:
        row: the first row of the logits with one.
    """

    def __init__(self, row: int) -> None:
        super().__init__(f"row {row}: a logit of a legal token is not finite")
        self.row = row


def legal_logits(logits: Floats, legal: NDArray[np.bool_]) -> Floats:
    """(rows, tokens) logits of the legal tokens; -inf for the others, whatever theirs are.

    Raises:
        NotFinite: one of them is NaN or infinite: the model is broken, and whatever is made of it
            would look like a forecast.
    """
    broken = (legal & ~np.isfinite(logits)).any(axis=1)
    if broken.any():
        raise NotFinite(int(broken.argmax()))
    return np.where(legal, logits, -np.inf)


def choose(logits: Floats, legal: NDArray[np.bool_], sampling: Sampling, draws: Floats) -> Ints:
    """One legal token a row; probabilities are renormalised over the legal ones.

    Args:
        logits: (rows, tokens); legal: the same shape; draws: (rows,) in [0, 1).

    Raises:
        NotFinite: as `legal_logits`.
    """
    masked = legal_logits(logits, legal)
    if sampling.greedy:
        best: Ints = masked.argmax(axis=1)
        return best
    masked = (masked - masked.max(axis=1, keepdims=True)) / sampling.temperature
    weights = np.exp(masked)
    if sampling.top_p < 1.0:
        order = np.argsort(-weights, axis=1, kind="stable")
        ranked = np.take_along_axis(weights, order, axis=1)
        before = np.cumsum(ranked, axis=1) - ranked
        dropped = before >= sampling.top_p * ranked.sum(axis=1, keepdims=True)
        dropped[:, 0] = False
        np.put_along_axis(weights, order, np.where(dropped, 0.0, ranked), axis=1)
    cumulative = np.cumsum(weights, axis=1)
    chosen = (cumulative <= (draws * cumulative[:, -1])[:, None]).sum(axis=1)
    # rounding in the sum must never choose a token without weight
    last = weights.shape[1] - 1 - (weights[:, ::-1] > 0).argmax(axis=1)
    picked: Ints = np.minimum(chosen, last)
    return picked


def stream(seed: int, series: str, sample: int) -> int:
    """The 64-bit key of one sample's stream of random numbers.

    The draw for token ``position`` of sample ``sample`` of series ``series`` is a pure function of
    those, the seed and how many samples the series has: order, batching and other series never
    change it.
    """
    text = f"{seed}\x1f{series}\x1f{sample}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


class Draws:
    """The random numbers of rows: one sample of one series each.

    The samples of a series share out [0, 1) at every place: of n samples each has another n-th of
    it, which one is random (Latin hypercube sampling: McKay, Beckman and Conover 1979). What a
    sample draws is distributed as if it were alone; together they lie more evenly, so that their
    median and quantiles vary less.
    """

    def __init__(self, sampling: Sampling, rows: Sequence[tuple[str, int]]) -> None:
        """Args:
        rows: the name of its series' stream and the number of its sample, of each.
        """
        seed, self._n = sampling.seed, sampling.n_futures
        self._own = np.array([stream(seed, name, s) for name, s in rows], dtype=np.uint64)
        names = list(dict.fromkeys(name for name, _ in rows))
        place = {name: i for i, name in enumerate(names)}
        self._series = np.array([place[name] for name, _ in rows], dtype=np.int64)
        self._sample = np.array([s for _, s in rows], dtype=np.int64)
        self._shared = np.array(
            [[stream(seed, f"{name}{_SHARED}", s) for s in range(self._n)] for name in names],
            dtype=np.uint64,
        )

    def at(self, rows: Sequence[int], positions: Ints) -> Floats:
        """One number in [0, 1) for each row at its place.

        Args:
            rows: indices; positions: of each, the token that is to be chosen.
        """
        which = list(rows)
        within = uniforms(self._own[which], positions)
        if self._n == 1:
            return within
        # rows of one series that are at one place share one permutation
        pairs = np.stack([self._series[which], positions], axis=1)
        distinct, of_row = np.unique(pairs, axis=0, return_inverse=True)
        bits = _mixed(self._shared[distinct[:, 0]], distinct[:, 1:])
        parts = np.argsort(bits, axis=1)[of_row.reshape(-1), self._sample[which]]
        draws: Floats = np.minimum((parts + within) / self._n, _BELOW_ONE)
        return draws


def uniforms(streams: NDArray[np.uint64], positions: Ints) -> Floats:
    """One number in [0, 1) for each (stream, position)."""
    mantissas: Floats = (_mixed(streams, positions) >> np.uint64(11)).astype(np.float64)
    return mantissas * 2.0**-53


def _mixed(streams: NDArray[np.uint64], positions: Ints) -> NDArray[np.uint64]:
    """64 random bits for each (stream, position), by SplitMix64 (Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        z = streams + (positions.astype(np.uint64) + np.uint64(1)) * _GOLDEN
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        bits: NDArray[np.uint64] = z ^ (z >> np.uint64(31))
    return bits
