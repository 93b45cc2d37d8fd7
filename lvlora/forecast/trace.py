"""Record of a decoding, for its price."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Call:
    """One call of a model whose rows are padded to one width.

    Attributes:
        rows, width: new tokens are rows x width, padding included.
        attended: positions each of them is multiplied with.
        head_rows: hidden states that went through the head.
    """

    rows: int
    width: int
    attended: int
    head_rows: int

    @property
    def tokens(self) -> int:
        """All that went through the layers."""
        return self.rows * self.width


@dataclass(frozen=True)
class PackedCall:
    """One call of the native decoder: no padding, and in the last layer only what is wanted.

    Attributes:
        tokens: that went through the layers.
        wanted: of them those whose logits were wanted.
        pairs, last_pairs: products of a head's query with a position, in each layer but the last,
            and in the last.
    """

    tokens: int
    wanted: int
    pairs: int
    last_pairs: int


@dataclass
class Trace:
    """Calls and tokens of a decoding.

    Attributes:
        calls: every call of the model.
        histories: tokens of each history that was read.
        futures: (tokens of its history, tokens generated) of each future.
        taken_back: guesses that the model did not want.
        prefill_seconds: time in reading histories.
    """

    calls: list[Call | PackedCall] = field(default_factory=list)
    histories: list[int] = field(default_factory=list)
    futures: list[tuple[int, int]] = field(default_factory=list)
    taken_back: int = 0
    prefill_seconds: float = 0.0

    def add(self, other: Trace) -> None:
        """Add another decoding."""
        self.calls += other.calls
        self.histories += other.histories
        self.futures += other.futures
        self.taken_back += other.taken_back
        self.prefill_seconds += other.prefill_seconds
