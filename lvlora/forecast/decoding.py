"""Constrained decoding: futures that are valid series of exactly the horizon, many at a time.

Knows: the grammar, the model's calls, the cache. Does not know: scales, files, quantiles.

Rows (one sample of one series) are decoded together. A forced symbol enters together with its
predecessor, so no call is spent on it. After the first digit of a number the point is likely but
not forced: it is fed along and taken back if the model wants another digit, which changes no draw.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lvlora.forecast.streams import stream, uniforms
from lvlora.model.cache import RowCache
from lvlora.model.head import NumericHead
from lvlora.model.loading import BaseModel
from lvlora.model.parts import cache_keyword, config_of, decoder_of, sliding_window_of
from lvlora.settings.forecasting import SamplingSettings
from lvlora.text.alphabet import SYMBOLS
from lvlora.text.grammar import START, Grammar

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PREFILL_TOKENS = 2048
"""Positions of one prefill call: enough to fill the processor, small enough for its memory."""


@dataclass(frozen=True)
class Sampling:
    """How a symbol is chosen: the likeliest, or drawn."""

    samples: int = 20
    greedy: bool = False
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int = 0
    views: int = 1
    """Scales at which a history is read; its samples are shared among them (`views`)."""

    @classmethod
    def of(cls, settings: SamplingSettings) -> Sampling:
        """As a command's settings say."""
        return cls(
            settings.samples, settings.greedy, settings.temperature, settings.top_p,
            settings.seed, settings.views,
        )  # fmt: skip

    @property
    def n_futures(self) -> int:
        """Futures of each series."""
        return 1 if self.greedy else self.samples


@dataclass(frozen=True)
class Prompt:
    """A history to go on from: a name for its random stream, its text, its grammar.

    Attributes:
        samples: which of its samples are drawn from this text; None is all.
    """

    series: str
    text: str
    grammar: Grammar
    samples: tuple[int, ...] | None = None


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


def legal_logits(logits: Floats, legal: NDArray[np.bool_]) -> Floats:
    """(rows, symbols) logits of the legal symbols, made finite; -inf for the others."""
    finite = np.nan_to_num(logits, nan=-1e30, posinf=1e30, neginf=-1e30)
    return np.where(legal, finite, -np.inf)


def choose(logits: Floats, legal: NDArray[np.bool_], sampling: Sampling, draws: Floats) -> Ints:
    """One legal symbol a row; probabilities are renormalised over the legal ones.

    Args:
        logits: (rows, symbols); legal: the same shape; draws: (rows,) in [0, 1).
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
    # rounding in the sum must never choose a symbol without weight
    last = weights.shape[1] - 1 - (weights[:, ::-1] > 0).argmax(axis=1)
    picked: Ints = np.minimum(chosen, last)
    return picked


class _Automaton:
    """The grammars of all rows as one table; a row's states are offset by its grammar's place."""

    def __init__(self, grammars: Sequence[Grammar]) -> None:
        distinct = list(dict.fromkeys(grammars))
        offsets = np.cumsum([0] + [len(g.transitions) for g in distinct])
        tables = [
            np.where(g.legal, g.transitions + o, -1)
            for g, o in zip(distinct, offsets[:-1], strict=True)
        ]
        self.transitions = np.concatenate(tables)
        self.legal = np.concatenate([g.legal for g in distinct])
        self.forced = np.concatenate([g.forced for g in distinct])
        self.guess = np.concatenate([g.guess for g in distinct])
        self.ends_step = np.concatenate([g.ends_step for g in distinct])
        place = {g: int(o) + START for g, o in zip(distinct, offsets[:-1], strict=True)}
        self.start: Ints = np.array([place[g] for g in grammars], dtype=np.int64)


class Decoder:
    """A model with its restricted head, ready to continue texts."""

    def __init__(self, base: BaseModel, head: NumericHead) -> None:
        self.base = base
        self.head = head
        self.backbone = decoder_of(base.module)
        self.cache_keyword = cache_keyword(self.backbone)
        self.n_layers = int(config_of(base.module).num_hidden_layers)
        self.window = sliding_window_of(base.module)
        self.device = base.placement.device
        self.token_ids: Ints = np.array(base.alphabet.ids, dtype=np.int64)

    @torch.no_grad()
    def decode(
        self, prompts: Sequence[Prompt], horizon: int, sampling: Sampling,
        *, max_rows: int = 256, trace: Trace | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> list[list[str]]:  # fmt: skip
        """Futures of every prompt, as texts of exactly ``horizon`` steps.

        Rows are decoded ``max_rows`` at a time. The split changes no draw; it changes the logits
        in their last bits, which only moves a draw that lies that near to a boundary.

        Args:
            progress: told how many rows have been finished.

        Raises:
            ValueError: an empty history, for a model without a start token.
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
        self, prompts: Sequence[Prompt], rows: Sequence[tuple[int, int]], horizon: int,
        sampling: Sampling, trace: Trace,
    ) -> list[str]:  # fmt: skip
        used = list(dict.fromkeys(p for p, _ in rows))
        cache, logits = self.prefill([prompts[p].text for p in used], trace)
        index = torch.tensor([used.index(p) for p, _ in rows], device=self.device)
        cache.repeat(index)
        logits = logits[index.cpu().numpy()]

        auto = _Automaton([prompts[p].grammar for p, _ in rows])
        streams = np.array(
            [stream(sampling.seed, prompts[p].series, s) for p, s in rows], dtype=np.uint64
        )
        n = len(rows)
        state = auto.start.copy()
        steps = np.zeros(n, dtype=np.int64)
        out: list[list[int]] = [[] for _ in range(n)]

        def pick(which: Ints, row_logits: Floats) -> Ints:
            positions = np.array([len(out[i]) for i in which], dtype=np.int64)
            draws = uniforms(streams[which], positions)
            return choose(row_logits, auto.legal[state[which]], sampling, draws)

        def emit(i: int, symbol: int) -> bool:
            """Append a symbol to row i; whether the row goes on."""
            out[i].append(symbol)
            steps[i] += bool(auto.ends_step[state[i], symbol])
            state[i] = auto.transitions[state[i], symbol]
            return bool(steps[i] < horizon)

        everyone = np.arange(n)
        chosen = dict(zip(everyone.tolist(), pick(everyone, logits).tolist(), strict=True))
        try:
            while chosen:
                chunks: dict[int, list[int]] = {}
                guessed: dict[int, int] = {}
                for i, symbol in chosen.items():
                    chunk = [symbol]
                    going = emit(i, symbol)
                    while going and auto.forced[state[i]] >= 0:
                        chunk.append(int(auto.forced[state[i]]))
                        going = emit(i, chunk[-1])
                    if not going:
                        continue
                    if auto.guess[state[i]] >= 0:
                        guessed[i] = int(auto.guess[state[i]])
                        chunk.append(guessed[i])
                    chunks[i] = chunk
                if not chunks:
                    break
                all_logits = self.step(cache, chunks, n, trace)
                chosen = {}
                counts = np.zeros(n, dtype=np.int64)
                active = np.array(list(chunks), dtype=np.int64)
                widths = np.array([len(chunks[int(i)]) for i in active])
                ahead = np.array([int(i) in guessed for i in active])
                # what follows the last certain symbol; where a guess was fed, it may be confirmed
                symbols = pick(active, all_logits[active, widths - 1 - ahead])
                confirmed: list[int] = []
                for i, width, fed_ahead, symbol in zip(active, widths, ahead, symbols, strict=True):
                    row = int(i)
                    counts[row] = width
                    if not fed_ahead:
                        chosen[row] = int(symbol)
                    elif int(symbol) == guessed[row]:
                        if emit(row, int(symbol)):
                            confirmed.append(row)
                    else:
                        counts[row] = width - 1
                        chosen[row] = int(symbol)
                        trace.taken_back += 1
                if confirmed:
                    rows_now = np.array(confirmed)
                    last = np.array([len(chunks[i]) - 1 for i in confirmed])
                    for i, symbol in zip(
                        confirmed, pick(rows_now, all_logits[rows_now, last]), strict=True
                    ):
                        chosen[i] = int(symbol)
                cache.keep(torch.from_numpy(counts))
        finally:  # what an interrupted decoding wrote was spent, too
            read = dict(zip(used, trace.histories[-len(used) :], strict=True))
            trace.futures += [(read[p], len(o)) for (p, _), o in zip(rows, out, strict=True)]
        return ["".join(SYMBOLS[s] for s in o) for o in out]

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
        logits: list[Tensor] = []
        for begin in range(0, len(ids), at_a_time):
            tokens = torch.from_numpy(padded[begin : begin + at_a_time]).to(self.device)
            lengths_now = lengths[begin : begin + at_a_time].to(self.device)
            cache = RowCache(self.n_layers, width + 1, self.device)
            # before the call: an interrupted one is paid for
            trace.calls.append(Call(len(tokens), width, width, len(tokens)))
            hidden = self.backbone(
                input_ids=tokens, use_cache=True, **{self.cache_keyword: cache}
            ).last_hidden_state
            rows = torch.arange(len(tokens), device=self.device)
            logits.append(self.head(hidden[rows, lengths_now - 1]))
            cache.began(lengths_now)
            if whole is None:
                whole = cache
            else:
                whole.append(cache)
        assert whole is not None  # there is at least one text
        found = _as_numpy(torch.cat(logits))
        trace.prefill_seconds += time.perf_counter() - begun
        return whole, found

    def step(self, cache: RowCache, chunks: dict[int, list[int]], n: int, trace: Trace) -> Floats:
        """Feed each row its chunk (finished rows a filler); logits (n, width, symbols)."""
        width = max(len(c) for c in chunks.values())
        symbols = np.zeros((n, width), dtype=np.int64)
        for i, chunk in chunks.items():
            symbols[i, : len(chunk)] = chunk
        tokens = torch.from_numpy(self.token_ids[symbols]).to(self.device)
        positions, mask = cache.prepare(width)
        # windowed layers (Gemma) see only the last places
        masks: Tensor | dict[str, Tensor] = mask
        if self.window is not None:
            places = torch.arange(cache.capacity, device=self.device)
            near = (places > positions[:, :, None] - self.window)[:, None]
            masks = {"full_attention": mask, "sliding_attention": mask & near}
        trace.calls.append(Call(n, width, cache.capacity, n * width))
        hidden = self.backbone(
            input_ids=tokens, attention_mask=masks, position_ids=positions,
            use_cache=True, **{self.cache_keyword: cache},
        ).last_hidden_state  # fmt: skip
        return _as_numpy(self.head(hidden))


def _as_numpy(logits: Tensor) -> Floats:
    return logits.double().cpu().numpy()
