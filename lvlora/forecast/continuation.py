"""Histories that are read once, and rows that go on from them.

PyTorch and the native decoder give the same numbers but for rounding. PyTorch pads all rows of a
call to one width, and each row has its history's keys and values; the native decoder pads nothing
and keeps a history once.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lvlora.forecast.pricing import Call, PackedCall, Trace
from lvlora.forecast.sampling import Floats, Ints
from lvlora.model.cache import RowCache
from lvlora.model.head import NumericHead, cache_argument, decoder_of, sliding_window_of
from lvlora.model.loading import BaseModel
from lvlora.model.native.engine import Engine, Row

PREFILL_TOKENS = 1024
"""Positions of one call that reads: enough to fill the processor, small enough for its memory."""
_LEEWAY = 1.04
"""Numbers may become longer; a future that outgrows its memory moves to another place."""


@dataclass
class Chunk:
    """Input of one row in a call.

    Attributes:
        certain: tokens that are written.
        guess: one that may follow them, and what is given then; empty where none is likely.
    """

    certain: list[int]
    guess: list[int]

    @property
    def tokens(self) -> list[int]:
        """All that is fed."""
        return [*self.certain, *self.guess]


class Backbone:
    """A model's layers, its head, and what a call of them needs.

    Attributes:
        cache_keywords: from a cache to the arguments that pass it.
        window: positions that windowed layers see; None where there are none.
        token_ids: rows of the embedding, of the alphabet's tokens in order.
    """

    def __init__(self, base: BaseModel, head: NumericHead) -> None:
        self.base, self.head = base, head
        self.module = decoder_of(base.module)
        self.cache_keywords = cache_argument(self.module)
        self.window = sliding_window_of(base.module)
        self.device = base.placement.device
        self.token_ids: Ints = np.array(base.alphabet.ids, dtype=np.int64)

    def logits(self, hidden: Tensor) -> Floats:
        """(…, tokens) of hidden states (…, hidden), as float64 on the CPU.

        NaN where a hidden state is all zeros: a norm makes that of numbers whose squares overflow,
        and the logits would be those of a model that finds every digit as likely as any other.
        """
        logits: Floats = self.head(hidden).double().cpu().numpy()
        logits[~hidden.any(-1).cpu().numpy()] = np.nan
        return logits


class Continuation(ABC):
    """Histories, and rows behind them. Tokens are places in the alphabet.

    Args:
        trace: gets every call before it is made: an interrupted one is paid for.
    """

    def __init__(self, backbone: Backbone, trace: Trace) -> None:
        self._backbone, self._trace = backbone, trace

    def begin(self, texts: Sequence[str]) -> Floats:
        """Read every history once; (histories, tokens) logits after each.

        Raises:
            ValueError: an empty history, for a model without a start token.
        """
        begun, alphabet = time.perf_counter(), self._backbone.base.alphabet
        start = np.array(alphabet.beginning, np.int64)
        ids = [np.concatenate([start, alphabet.encode(text)]) for text in texts]
        if min(len(i) for i in ids) == 0:
            raise ValueError("an empty history, and the model has no start token")
        self._trace.histories += [len(i) for i in ids]
        logits = np.concatenate(self._read_histories(ids))
        self._trace.prefill_seconds += time.perf_counter() - begun
        return logits

    @abstractmethod
    def _read_histories(self, ids: Sequence[Ints]) -> list[Floats]:
        """Read rows of the embedding; the logits after each history, in blocks."""

    @abstractmethod
    def repeat(self, histories: Ints, ratios: Floats) -> None:
        """Rows that go on, as places in the histories that were read; equal ones together.

        Args:
            ratios: of each, how many times as long as its history it is likely to get.
        """

    @abstractmethod
    def feed(self, chunks: Mapping[int, Chunk]) -> Floats:
        """Feed rows their chunks, in order.

        Returns:
            (wanted, tokens) logits: of each row after what is certain, and behind that after its
            guess if it has one.
        """

    @abstractmethod
    def keep(self, counts: Ints) -> None:
        """How many of the tokens that each row was fed stay, after each `feed`."""

    @abstractmethod
    def close(self) -> None:
        """Give memory back; no other call may follow."""


def _looked_at(chunks: Sequence[Chunk]) -> list[tuple[int, int]]:
    """(place in the chunks, token in it) of the tokens whose logits are wanted."""
    rows = []
    for n, chunk in enumerate(chunks):
        rows.append((n, len(chunk.certain) - 1))
        if chunk.guess:
            rows.append((n, len(chunk.certain) + len(chunk.guess) - 1))
    return rows


class TorchContinuation(Continuation):
    """Any model on any device, rows padded to one width."""

    def __init__(self, backbone: Backbone, trace: Trace) -> None:
        super().__init__(backbone, trace)
        self._cache = RowCache(0, 0, backbone.device)

    def _read_histories(self, ids: Sequence[Ints]) -> list[Floats]:
        backbone = self._backbone
        lengths = torch.tensor([len(i) for i in ids])
        width = int(lengths.max())
        padded = np.full((len(ids), width), backbone.token_ids[0], dtype=np.int64)
        for row, one in zip(padded, ids, strict=True):
            row[: len(one)] = one
        at_a_time = max(1, PREFILL_TOKENS // width)
        full_cache: RowCache | None = None
        logits: list[Floats] = []
        for begin in range(0, len(ids), at_a_time):
            tokens = torch.from_numpy(padded[begin : begin + at_a_time]).to(backbone.device)
            lengths_now = lengths[begin : begin + at_a_time].to(backbone.device)
            cache = RowCache(backbone.base.shape.layers, width + 1, backbone.device)
            self._trace.calls.append(Call(len(tokens), width, width, len(tokens)))
            hidden = backbone.module(
                input_ids=tokens, use_cache=True, **backbone.cache_keywords(cache)
            ).last_hidden_state
            rows = torch.arange(len(tokens), device=backbone.device)
            logits.append(backbone.logits(hidden[rows, lengths_now - 1]))
            cache.began(lengths_now)
            if full_cache is None:
                full_cache = cache
            else:
                full_cache.append(cache)
        assert full_cache is not None  # there is at least one text
        self._cache = full_cache
        return logits

    def repeat(self, histories: Ints, ratios: Floats) -> None:
        self._cache.repeat(torch.from_numpy(histories).to(self._backbone.device))

    def feed(self, chunks: Mapping[int, Chunk]) -> Floats:
        backbone, cache = self._backbone, self._cache
        n, width = len(cache.lengths), max(len(chunk.tokens) for chunk in chunks.values())
        fed = np.zeros((n, width), dtype=np.int64)  # a filler for the rows that are done
        for i, chunk in chunks.items():
            fed[i, : len(chunk.tokens)] = chunk.tokens
        tokens = torch.from_numpy(backbone.token_ids[fed]).to(backbone.device)
        positions, mask = cache.prepare(width)
        # windowed layers (Gemma) see only the last places
        everywhere = self._added(mask)
        masks: Tensor | dict[str, Tensor] = everywhere
        if backbone.window is not None:
            places = torch.arange(cache.capacity, device=backbone.device)
            near = (places > positions[:, :, None] - backbone.window)[:, None]
            masks = {"full_attention": everywhere, "sliding_attention": self._added(mask & near)}
        row, looked_at = list(chunks), _looked_at(list(chunks.values()))
        self._trace.calls.append(Call(n, width, cache.capacity, len(looked_at)))
        hidden = backbone.module(
            input_ids=tokens,
            attention_mask=masks,
            position_ids=positions,
            use_cache=True,
            **backbone.cache_keywords(cache),
        ).last_hidden_state
        wanted = [(row[place], token) for place, token in looked_at]
        rows, places_in = torch.tensor(wanted, device=backbone.device).T
        return backbone.logits(hidden[rows, places_in])

    def keep(self, counts: Ints) -> None:
        self._cache.keep(torch.from_numpy(counts))

    def close(self) -> None:
        self._cache = RowCache(0, 0, self._backbone.device)

    def _added(self, mask: Tensor) -> Tensor:
        """A mask to be added to scores: once a call, where every layer would fill its own."""
        dtype = self._backbone.base.placement.dtype
        none = torch.zeros(mask.shape, dtype=dtype, device=mask.device)
        return none.masked_fill_(~mask, torch.finfo(dtype).min)


class NativeContinuation(Continuation):
    """Llama and Qwen2 on a CPU, by the compiled decoder."""

    def __init__(self, engine: Engine, backbone: Backbone, trace: Trace) -> None:
        super().__init__(backbone, trace)
        self._engine = engine
        self._histories: list[int] = []
        self._shared: list[int] = []
        self._own: list[int] = []
        self._before: Ints = np.zeros(0, dtype=np.int64)

    def _read_histories(self, ids: Sequence[Ints]) -> list[Floats]:
        self._histories = [self._engine.segment() for _ in ids]
        logits: list[Floats] = []
        batch: list[Row] = []
        for segment, one in zip(self._histories, ids, strict=True):
            if batch and sum(len(row.ids) for row in batch) + len(one) > PREFILL_TOKENS:
                logits.append(self._read(batch))
                batch = []
            batch.append(Row(-1, segment, one))
        return [*logits, self._read(batch)]

    def repeat(self, histories: Ints, ratios: Floats) -> None:
        self._shared = [self._histories[i] for i in histories]
        lengths = np.array([self._engine.length(segment) for segment in self._shared])
        expected = np.ceil(_LEEWAY * ratios * lengths)
        self._own = [self._engine.segment(int(positions)) for positions in expected]

    def feed(self, chunks: Mapping[int, Chunk]) -> Floats:
        engine = self._engine
        self._before = np.array([engine.length(segment) for segment in self._own], dtype=np.int64)
        rows = [
            Row(self._shared[i], self._own[i], self._backbone.token_ids[chunk.tokens])
            for i, chunk in chunks.items()
        ]
        lengths = np.array([len(row.ids) for row in rows], dtype=np.int64)
        first = np.cumsum(lengths) - lengths
        wanted = [first[n] + token for n, token in _looked_at(list(chunks.values()))]
        return self._run(rows, np.array(wanted, dtype=np.int64))

    def keep(self, counts: Ints) -> None:
        for segment, length in zip(self._own, self._before + counts, strict=True):
            self._engine.cut(segment, int(length))

    def close(self) -> None:
        self._engine.close()

    def _read(self, rows: Sequence[Row]) -> Floats:
        """Logits after the last token of each row."""
        return self._run(rows, np.cumsum([len(row.ids) for row in rows]) - 1)

    def _run(self, rows: Sequence[Row], want: Ints) -> Floats:
        pairs = self._engine.prepare(rows, want)
        tokens = sum(len(row.ids) for row in rows)
        self._trace.calls.append(PackedCall(tokens, len(want), pairs.each, pairs.last))
        return self._engine.run().astype(np.float64)
