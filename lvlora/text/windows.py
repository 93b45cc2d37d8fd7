"""Token windows for training: which tokens of which series make up the batch of a step.

A batch is a pure function of (seed, step): nothing needs to be saved to go on with a run, and a
resumed run sees what the unbroken one would have seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from lvlora.data.dataset import Dataset, Series
from lvlora.data.gaps import n_short, without_short
from lvlora.errors import DataError
from lvlora.text.codec import VALUE_SEPARATOR, Codec, Ids, TokenAlphabet
from lvlora.text.scaling import Scale, of_beginning, of_dataset

Marks = NDArray[np.bool_]

IGNORED = -100
"""The class of a position that is no target (padding)."""
_SHORTEST_HISTORY = 8
_LONGEST_HISTORY = 0.75
"""Steps of the history by which a row is scaled, and its largest share of the row."""


@dataclass(frozen=True)
class TokenSeries:
    """One series as tokens."""

    series: Series
    ids: Ids
    starts: NDArray[np.int64]
    """(T + 1,) where each time step begins in the ids."""
    known: Marks
    """(N,) those of known columns, which are no targets."""


@dataclass(frozen=True)
class Batch:
    """inputs (B, S) token ids; targets (B, S) ids of the next token, `IGNORED` where padded."""

    inputs: Ids
    targets: Ids

    @property
    def n_targets(self) -> int:
        """Positions that count in the loss."""
        return int((self.targets != IGNORED).sum())


def tokenize_series(
    series: Series, scale: Scale, codec: Codec, alphabet: TokenAlphabet
) -> TokenSeries:
    """The tokens of one series, without the start token."""
    values, n_known = series.values, series.n_known
    if series.known is not None:
        values = np.column_stack([series.known[: len(series)], values])
    ids, is_known = [], []
    for step in codec.encode_steps(scale.apply(values)):
        # a token never reaches into two numbers
        *known, rest = step.split(VALUE_SEPARATOR, n_known)
        before = alphabet.encode("".join(number + VALUE_SEPARATOR for number in known))
        ids.append(np.concatenate([before, alphabet.encode(rest)]))
        is_known.append(np.arange(len(ids[-1])) < len(before))
    starts = np.concatenate([[0], np.cumsum([len(i) for i in ids])]).astype(np.int64)
    return TokenSeries(series, np.concatenate(ids), starts, np.concatenate(is_known))


def collate(rows: Sequence[tuple[Ids, Marks]]) -> Batch:
    """Rows of consecutive tokens to inputs and next-token targets, padded on the right.

    Of each row are given its ids, and which of them are no targets. Padding comes after the real
    tokens, so causal attention never sees it, and it is no target.
    """
    width = max(len(ids) for ids, _ in rows) - 1
    inputs = np.zeros((len(rows), width), dtype=np.int64)
    targets = np.full((len(rows), width), IGNORED, dtype=np.int64)
    for i, (ids, is_known) in enumerate(rows):
        n = len(ids) - 1
        inputs[i, :n] = ids[:-1]
        inputs[i, n:] = ids[-1]  # any valid id
        targets[i, :n] = np.where(is_known[1:], IGNORED, ids[1:])
    return Batch(inputs, targets)


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, n: int) -> Ids:
    return np.random.default_rng((seed, 0, epoch)).permutation(n)


class Windows:
    """Training windows of a data set, in an order fixed by the seed.

    Short gaps of its series are filled in, as forecasts read histories.

    Every epoch visits each series once, in a new order, at a random step boundary from which a
    whole window fits (at the beginning where the series is shorter than a window). Windows of
    other, simulated series may be mixed in: evenly, so that of the first n rows of a run
    ``floor(n · mix)`` are theirs, each of a series of its own, while the data's own windows come in
    the order in which they would come without them.

    Args:
        scale: of the data set; without one each row is scaled by its own first steps, as forecasts
            scale a history, and only what follows is a target: a scale tells what it was taken
            from (the largest number so far is 5). How many steps these are is drawn for each row,
            evenly in the logarithm: 8 to three quarters.
        scale_jitter: the numbers of each row are multiplied by exp(jitter · z), z standard normal
            and drawn anew for each row; 0 leaves them as they are.
        mix: share of the rows that are windows of ``simulated``, below 1.
        simulated: gives the series of a number, 0, 1, …, with as many variables as the data set;
            each is taken as it is, and scaled for itself, by the rule of data sets or of histories.
        halved: rows that are scaled by their first steps are by the first half, none drawn.

    Attributes:
        n_filled: how many values were filled in.
    """

    def __init__(
        self,
        dataset: Dataset,
        scale: Scale | None,
        codec: Codec,
        alphabet: TokenAlphabet,
        *,
        seq_len: int,
        batch_size: int,
        seed: int,
        scale_jitter: float = 0.0,
        mix: float = 0.0,
        simulated: Callable[[int], Series] | None = None,
        halved: bool = False,
    ) -> None:
        self.n_filled = n_short(dataset)
        dataset = replace(dataset, series=tuple(without_short(s) for s in dataset))
        self.scale, self.codec, self._alphabet = scale, codec, alphabet
        tokenized = (self._tokenize(s, scale or of_beginning(s, len(s))) for s in dataset)
        self.series = [tokens for tokens in tokenized if len(tokens.ids) >= 2]
        if not self.series:
            raise DataError(
                f"{dataset.source}: no series to train on", "Give a file with more series."
            )
        self._jitter, self._halved = scale_jitter, halved
        self._mix, self._simulated = mix, simulated
        self.start = alphabet.beginning
        self.seq_len, self.batch_size, self.seed = seq_len, batch_size, seed

    def of_others(self, dataset: Dataset) -> Windows:
        """Windows of other series, cut in the same way, as they are, and alike in every run."""
        return Windows(
            dataset,
            self.scale,
            self.codec,
            self._alphabet,
            seq_len=self.seq_len,
            batch_size=min(self.batch_size, len(dataset)),
            seed=0,
            halved=True,
        )

    @property
    def width(self) -> int:
        """Tokens in the longest row a batch can have (inputs)."""
        longest = max(len(s.ids) for s in self.series) + len(self.start)
        return min(self.seq_len, longest - 1)

    def batch(self, index: int) -> Batch:
        """The ``index``-th batch of the run."""
        first = index * self.batch_size
        return collate([self._row(first + i) for i in range(self.batch_size)])

    def ends_of(self, dataset: Dataset, n_steps: int) -> list[Batch]:
        """Return batches of rows that each end with a series, alike in every run.

        Targets are the last steps.

        A row has as many steps before these as fit; where not even they fit, the first of them are
        missing. Series without a target are left out.

        Args:
            dataset: other series, or longer parts of the same.
            n_steps: whose tokens are targets.
        """
        rows = []
        for series in dataset:
            read, before = without_short(series), len(series) - n_steps
            if before > 0 and read is not series:  # without a look at what comes after
                read.values[:before] = without_short(series.steps(0, before)).values
            before = max(before, 1)
            tokens = self._tokenize(read, self.scale or of_beginning(read, before))
            fitting = int(np.searchsorted(tokens.starts, len(tokens.ids) - self._room))
            begin = min(fitting, len(series) - 1)
            ids, is_known = self._cut(tokens, begin)
            first = tokens.starts[max(len(series) - n_steps, begin)] - tokens.starts[begin]
            is_known[: int(first) + len(self.start)] = True
            if not is_known[1:].all():
                rows.append((ids, is_known))
        begins = range(0, len(rows), self.batch_size)
        return [collate(rows[begin : begin + self.batch_size]) for begin in begins]

    def _row(self, sample: int) -> tuple[Ids, Marks]:
        """The ids of a row, and which of them are no targets."""
        tokens = self._series_of(sample)
        room = self.seq_len + 1 - len(self.start)
        fitting = int(np.searchsorted(tokens.starts, len(tokens.ids) - room, side="right"))
        rng = np.random.default_rng((self.seed, 1, sample))
        step = int(rng.integers(max(fitting, 1)))
        if self.scale is None:
            tokens, step = self._scaled_by_itself(tokens, step, sample), 0
        return self._cut(tokens, step)

    def _cut(self, tokens: TokenSeries, step: int) -> tuple[Ids, Marks]:
        """A row from a step on, after the start token, and which of its ids are known.

        With jitter a number may be longer than any in the data: no row is wider than planned.
        """
        part = slice(int(tokens.starts[step]), int(tokens.starts[step]) + self._room)
        return (
            np.concatenate([np.array(self.start, dtype=np.int64), tokens.ids[part]]),
            np.concatenate([np.zeros(len(self.start), dtype=bool), tokens.known[part]]),
        )

    @property
    def _room(self) -> int:
        """Tokens of a row, without the start token."""
        return self.width + 1 - len(self.start)

    def _series_of(self, sample: int) -> TokenSeries:
        mixed = math.floor(sample * self._mix)
        if self._simulated is not None and math.floor((sample + 1) * self._mix) > mixed:
            series = self._simulated(mixed)
            if self.scale is None:
                return self._tokenize(series, of_beginning(series, len(series)))
            scale = of_dataset(Dataset((series,), ("",) * len(self.scale.divisors)))
            return self._jittered(series, scale, sample)
        epoch, place = divmod(sample - mixed, len(self.series))
        tokens: TokenSeries = self.series[_order(self.seed, epoch, len(self.series))[place]]
        if self._jitter and self.scale is not None:
            return self._jittered(tokens.series, self.scale, sample)
        return tokens

    def _scaled_by_itself(self, tokens: TokenSeries, step: int, sample: int) -> TokenSeries:
        """The steps of a row from ``step`` on, scaled by the first of them, which are no targets.

        Args:
            tokens: of the whole series, at a scale that makes its numbers about as long.
        """
        stop = int(np.searchsorted(tokens.starts, tokens.starts[step] + self._room))
        row = tokens.series.steps(step, min(stop, len(tokens.series)))
        if self._halved:
            history = len(row) - len(row) // 2
        else:
            longest = max(1, int(_LONGEST_HISTORY * len(row)))
            shortest = min(_SHORTEST_HISTORY, longest)
            rng = np.random.default_rng((self.seed, 3, sample))
            drawn = math.exp(rng.uniform(math.log(shortest), math.log(longest + 1)))
            history = min(longest, int(drawn))
        in_tokens = self._jittered(row, of_beginning(row, history), sample)
        # where jitter has made numbers so long that nothing else fits, the last token is a target
        in_tokens.known[: min(int(in_tokens.starts[history]), self._room - 1)] = True
        return in_tokens

    def _tokenize(self, series: Series, scale: Scale) -> TokenSeries:
        return tokenize_series(series, scale, self.codec, self._alphabet)

    def _jittered(self, original: Series, scale: Scale, sample: int) -> TokenSeries:
        drawn = np.random.default_rng((self.seed, 2, sample)).standard_normal()
        factor = np.exp(self._jitter * drawn)
        # (factor · value - factor · offset) / divisor
        n_known, offsets = original.n_known, scale.offsets
        moved = (*offsets[:n_known], *(factor * offset for offset in offsets[n_known:]))
        series = replace(original, values=original.values * factor)
        return self._tokenize(series, replace(scale, offsets=moved))
