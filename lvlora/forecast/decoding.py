"""Constrained decoding: futures that are valid series of exactly the horizon, many at a time.

Rows (one sample of one series) are decoded together; what each is fed, and what it keeps of that,
is theirs to say (`rows`). A token that is taken back costs nothing but its column of a call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from lvlora.errors import NumericalError
from lvlora.forecast.continuation import (
    Backbone,
    Continuation,
    NativeContinuation,
    TorchContinuation,
)
from lvlora.forecast.pricing import Trace
from lvlora.forecast.rows import Prompt, Rows
from lvlora.forecast.sampling import STREAM_SEPARATOR, NotFinite, Sampling
from lvlora.model.head import NumericHead
from lvlora.model.loading import BaseModel
from lvlora.model.lora import largest_scaling, where_it_breaks
from lvlora.model.native.engine import Engine
from lvlora.text.codec import STEP_SEPARATOR


class Decoder:
    """A model with its restricted head, ready to continue texts.

    Attributes:
        name: of the model and its adapter, for messages.
    """

    def __init__(self, base: BaseModel, head: NumericHead, *, name: str = "") -> None:
        self.name = name or base.name
        self.base, self.head = base, head
        self.backbone = Backbone(base, head)

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
        used = list(dict.fromkeys(prompt for prompt, _ in rows))
        batch = Rows(prompts, rows, horizon, sampling, self.base.alphabet)
        continued = self.continuation(trace)
        try:
            logits = continued.begin([prompts[p].text for p in used])
            index = np.array([used.index(p) for p, _ in rows], dtype=np.int64)
            ratios = [horizon / max(1, prompts[p].text.count(STEP_SEPARATOR)) for p, _ in rows]
            continued.repeat(index, np.array(ratios))
            chosen = batch.begin(logits[index])
            while chunks := batch.feed(chosen):
                chosen, n_accepted = batch.settle(chunks, continued.feed(chunks))
                continued.keep(n_accepted)
        except NotFinite as error:
            series = prompts[rows[error.row][0]].series
            raise self.broken(series) from None
        finally:  # what an interrupted decoding wrote was spent, too
            continued.close()
            read = dict(zip(used, trace.histories[-len(used) :], strict=False))
            trace.futures += [
                (read[p], len(o)) for (p, _), o in zip(rows, batch.out, strict=True) if o
            ]
            trace.taken_back += batch.taken_back
        return batch.texts()

    def continuation(self, trace: Trace) -> Continuation:
        """Histories that are read, and gone on from, by what is fastest here."""
        engine = Engine.of(self.base.module, self.head)
        if engine is not None:
            return NativeContinuation(engine, self.backbone, trace)
        return TorchContinuation(self.backbone, trace)

    def broken(self, series: str) -> NumericalError:
        """Return the error to raise where the logits after a series are not finite.

        Args:
            series: its id, or the name of its random stream (which begins with the id).
        """
        where = where_it_breaks(self.base.module, self.head)
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
