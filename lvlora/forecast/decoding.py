"""Constrained decoding: futures that are valid series of exactly the horizon, many at a time.

Rows (one sample of one series) are decoded together; what each is fed, and what it keeps of that,
is theirs to say (`rows`). A token that is taken back costs nothing but its column of a call.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from lvlora.errors import NumericalError
from lvlora.forecast.rows import Prompt, Rows
from lvlora.forecast.sampling import Floats, Ints, NotFinite, Sampling
from lvlora.model.cache import RowCache
from lvlora.model.head import NumericHead
from lvlora.model.loading import BaseModel
from lvlora.model.parts import cache_argument, decoder_of, sliding_window_of
from lvlora.model.soundness import largest_scaling, where_it_breaks

STREAM_SEPARATOR = "\x1f"
"""In the name of a random stream, behind the id of its series."""

PREFILL_TOKENS = 2048
"""Positions of one prefill call: enough to fill the processor, small enough for its memory."""


@dataclass(frozen=True)
class Call:
    """One call of the model, for its price.

    Attributes:
        rows, width: new tokens are rows x width, padding included.
        attended: positions each of them is multiplied with.
        head_rows: hidden states that went through the head.
    """

    rows: int
    width: int
    attended: int
    head_rows: int


@dataclass
class Trace:
    """What a decoding did.

    Attributes:
        calls: every call of the model.
        histories: tokens of each history that was read.
        futures: (tokens of its history, tokens generated) of each future.
        taken_back: guesses that the model did not want.
        prefill_seconds: time in reading histories.
    """

    calls: list[Call] = field(default_factory=list)
    histories: list[int] = field(default_factory=list)
    futures: list[tuple[int, int]] = field(default_factory=list)
    taken_back: int = 0
    prefill_seconds: float = 0.0

    def add(self, other: Trace) -> None:
        """What another decoding did, too."""
        self.calls += other.calls
        self.histories += other.histories
        self.futures += other.futures
        self.taken_back += other.taken_back
        self.prefill_seconds += other.prefill_seconds


class Decoder:
    """A model with its restricted head, ready to continue texts.

    Attributes:
        name: of the model and its adapter, for messages.
    """

    def __init__(self, base: BaseModel, head: NumericHead, *, name: str = "") -> None:
        self.name = name or base.name
        self.base = base
        self.head = head
        self.backbone = decoder_of(base.module)
        self.given = cache_argument(self.backbone)
        self.window = sliding_window_of(base.module)
        self.device = base.placement.device
        self.token_ids: Ints = np.array(base.alphabet.ids, dtype=np.int64)

    @torch.no_grad()
    def decode(
        self,
        prompts: Sequence[Prompt],
        horizon: int,
        sampling: Sampling,
        *,
        max_rows: int = 256,
        trace: Trace | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> list[list[str]]:
        """Futures of every prompt, as texts of exactly ``horizon`` steps.

        Rows are decoded ``max_rows`` at a time. The split changes no draw; it changes the logits
        in their last bits, which only moves a draw that lies that near to a boundary.

        Args:
            progress: told how many rows have been finished.

        Raises:
            ValueError: an empty history, for a model without a start token.
            NumericalError: the model gives no finite numbers.
        """
        trace = Trace() if trace is None else trace
        every = tuple(range(sampling.n_futures))
        samples = [every if p.samples is None else p.samples for p in prompts]
        if horizon < 1:
            return [[""] * len(s) for s in samples]
        futures: list[list[str]] = [[] for _ in prompts]
        rows = [(p, s) for p in range(len(prompts)) for s in samples[p]]
        for begin in range(0, len(rows), max_rows):
            part = rows[begin : begin + max_rows]
            texts = self._decode_rows(prompts, part, horizon, sampling, trace)
            for (prompt, _), text in zip(part, texts, strict=True):
                futures[prompt].append(text)
            if progress is not None:
                progress(len(part))
        return futures

    def _decode_rows(
        self,
        prompts: Sequence[Prompt],
        rows: Sequence[tuple[int, int]],
        horizon: int,
        sampling: Sampling,
        trace: Trace,
    ) -> list[str]:
        used = list(dict.fromkeys(p for p, _ in rows))
        cache, logits = self.prefill([prompts[p].text for p in used], trace)
        index = torch.tensor([used.index(p) for p, _ in rows], device=self.device)
        cache.repeat(index)
        logits = logits[index.cpu().numpy()]

        batch = Rows(prompts, rows, horizon, sampling, self.base.alphabet)
        try:
            chosen = batch.begin(logits)
            while chunks := batch.feed(chosen):
                fed = {i: chunk.tokens for i, chunk in chunks.items()}
                chosen, kept = batch.settle(chunks, self.step(cache, fed, len(rows), trace))
                cache.keep(torch.from_numpy(kept))
        except NotFinite as error:
            series = prompts[rows[error.row][0]].series
            raise self.broken(series, cache, error.row) from None
        finally:  # what an interrupted decoding wrote was spent, too
            read = dict(zip(used, trace.histories[-len(used) :], strict=True))
            trace.futures += [(read[p], len(o)) for (p, _), o in zip(rows, batch.out, strict=True)]
            trace.taken_back += batch.taken_back
        return batch.texts()

    def broken(self, series: str, cache: RowCache | None = None, row: int = 0) -> NumericalError:
        """What is to be raised where the logits after a series are not finite.

        Args:
            series: its id, or the name of its random stream (which begins with the id).
            cache: of the call, and the row that it was found in.
        """
        where = where_it_breaks(self.base.module, self.head, cache, row)
        scaling = largest_scaling(self.base.module)
        times = f" (it multiplies its updates by up to {scaling:.3g})" if scaling else ""
        return NumericalError(
            f"{self.name}: its logits for series {series.partition(STREAM_SEPARATOR)[0]!r} are not "
            f"finite numbers{': ' if where else ''}{where}",
            f"Is its adapter broken{times}? --adapter none tries the base alone."
            if scaling
            else "The model is broken: take it from its source again. "
            "A sound one may need --dtype float32.",
        )

    def logits(self, hidden: Tensor) -> Floats:
        """(…, tokens) of hidden states (…, hidden), as float64 on the CPU.

        NaN where a hidden state is all zeros: a norm makes that of numbers whose squares overflow,
        and the logits would be those of a model that finds every digit as likely as any other.
        """
        found: Floats = self.head(hidden).double().cpu().numpy()
        found[~hidden.any(-1).cpu().numpy()] = np.nan
        return found

    def prefill(self, texts: Sequence[str], trace: Trace) -> tuple[RowCache, Floats]:
        """Feed every distinct history once; the cache, and logits after each history."""
        begun = time.perf_counter()
        start = self.base.alphabet.beginning
        ids = [
            np.concatenate([np.array(start, np.int64), self.base.alphabet.encode(t)]) for t in texts
        ]
        lengths = torch.tensor([len(i) for i in ids])
        width = int(lengths.max())
        if int(lengths.min()) == 0:
            raise ValueError("an empty history, and the model has no start token")
        trace.histories += [len(i) for i in ids]
        padded = np.full((len(ids), width), self.token_ids[0], dtype=np.int64)
        for row, one in zip(padded, ids, strict=True):
            row[: len(one)] = one
        at_a_time = max(1, PREFILL_TOKENS // width)
        whole: RowCache | None = None
        logits: list[Floats] = []
        for begin in range(0, len(ids), at_a_time):
            tokens = torch.from_numpy(padded[begin : begin + at_a_time]).to(self.device)
            lengths_now = lengths[begin : begin + at_a_time].to(self.device)
            cache = RowCache(self.base.shape.layers, width + 1, self.device)
            # before the call: an interrupted one is paid for
            trace.calls.append(Call(len(tokens), width, width, len(tokens)))
            hidden = self.backbone(
                input_ids=tokens, use_cache=True, **self.given(cache)
            ).last_hidden_state
            rows = torch.arange(len(tokens), device=self.device)
            logits.append(self.logits(hidden[rows, lengths_now - 1]))
            cache.began(lengths_now)
            if whole is None:
                whole = cache
            else:
                whole.append(cache)
        assert whole is not None  # there is at least one text
        found = np.concatenate(logits)
        trace.prefill_seconds += time.perf_counter() - begun
        return whole, found

    def step(self, cache: RowCache, chunks: dict[int, list[int]], n: int, trace: Trace) -> Floats:
        """Feed each row its chunk (finished rows a filler); logits (n, width, tokens)."""
        width = max(len(c) for c in chunks.values())
        fed = np.zeros((n, width), dtype=np.int64)
        for i, chunk in chunks.items():
            fed[i, : len(chunk)] = chunk
        tokens = torch.from_numpy(self.token_ids[fed]).to(self.device)
        positions, mask = cache.prepare(width)
        # windowed layers (Gemma) see only the last places
        everywhere = self._added(mask)
        masks: Tensor | dict[str, Tensor] = everywhere
        if self.window is not None:
            places = torch.arange(cache.capacity, device=self.device)
            near = (places > positions[:, :, None] - self.window)[:, None]
            masks = {"full_attention": everywhere, "sliding_attention": self._added(mask & near)}
        trace.calls.append(Call(n, width, cache.capacity, n * width))
        hidden = self.backbone(
            input_ids=tokens,
            attention_mask=masks,
            position_ids=positions,
            use_cache=True,
            **self.given(cache),
        ).last_hidden_state
        return self.logits(hidden)

    def _added(self, mask: Tensor) -> Tensor:
        """A mask to be added to scores: once a call, where every layer would fill its own."""
        dtype = self.base.placement.dtype
        none = torch.zeros(mask.shape, dtype=dtype, device=mask.device)
        return none.masked_fill_(~mask, torch.finfo(dtype).min)
