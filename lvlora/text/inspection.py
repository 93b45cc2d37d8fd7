"""What a series looks like as text and tokens, and what is lost in writing it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lvlora.series.dataset import Series
from lvlora.text.alphabet import TokenAlphabet
from lvlora.text.codec import Codec
from lvlora.text.scaling import Scale


@dataclass(frozen=True)
class Inspection:
    """A series in the text form.

    Attributes:
        series: its id.
        steps: the text of each shown time step.
        ids: token ids of the shown steps, without the start token.
        n_steps, n_tokens: of the whole series.
        max_error: largest |decoded - value| of the whole series, in original units.
        max_error_half_units: the same in halves of the last decimal of the text; 1 at most, but for
            the last bits of a float.
    """

    series: str
    steps: tuple[str, ...]
    ids: tuple[int, ...]
    n_steps: int
    n_tokens: int
    max_error: float
    max_error_half_units: float

    @property
    def text(self) -> str:
        """The shown steps as one text."""
        return "".join(self.steps)

    @property
    def tokens_per_step(self) -> float:
        """Mean over the whole series."""
        return self.n_tokens / self.n_steps


def inspect(
    series: Series, scale: Scale, codec: Codec, alphabet: TokenAlphabet, n_shown: int
) -> Inspection:
    """Encode and decode a whole series; its first ``n_shown`` steps are kept for showing."""
    scaled = scale.apply(series.values)
    steps = codec.encode_steps(scaled)
    text = "".join(steps)
    decoded = codec.decode(text)
    errors = np.abs(scale.invert(decoded) - series.values)
    in_half_units = np.abs(decoded - scaled) / codec.half_unit
    return Inspection(
        series=series.id,
        steps=tuple(steps[:n_shown]),
        ids=tuple(alphabet.encode("".join(steps[:n_shown])).tolist()),
        n_steps=len(series),
        n_tokens=alphabet.count(text),
        max_error=_largest(errors),
        max_error_half_units=_largest(in_half_units),
    )


def _largest(errors: np.ndarray) -> float:
    known = errors[np.isfinite(errors)]
    return float(known.max()) if known.size else 0.0
