"""How one token is chosen from logits: the likeliest legal one, or drawn."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lvlora.settings.checked import checked
from lvlora.settings.forecasting import SamplingSettings

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Sampling:
    """How a token is chosen: the likeliest, or drawn."""

    samples: int = 20
    greedy: bool = False
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int = 0
    views: int = 1
    """Scales at which a history is read; its samples are shared among them."""

    def __post_init__(self) -> None:
        """SettingsError for what the command would refuse, too."""
        given = {name: getattr(self, name) for name in self.__dataclass_fields__}
        allowed = checked(SamplingSettings, given)
        for name in given:  # numpy's numbers become Python's
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
    those and the seed: order, batching and the number of other series never change it.
    """
    text = f"{seed}\x1f{series}\x1f{sample}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def uniforms(streams: NDArray[np.uint64], positions: Ints) -> Floats:
    """One number in [0, 1) for each (stream, position), by SplitMix64 (Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        z = streams + (positions.astype(np.uint64) + np.uint64(1)) * _GOLDEN
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    mantissas: Floats = (z >> np.uint64(11)).astype(np.float64)
    return mantissas * 2.0**-53
