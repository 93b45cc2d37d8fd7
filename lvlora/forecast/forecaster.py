"""A base model, with or without an adapter, as a forecaster of series.

Knows: scales, texts, contexts, prices of what it ran. Does not know: files of data, terminals.

The three verbs: `predict` (samples), `predict_quantiles`, `to_rows`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from lvlora.errors import DataError, ModelError
from lvlora.flops.budget import NOTHING, Price
from lvlora.forecast import pricing
from lvlora.forecast.decoding import Decoder, Prompt, Sampling, Trace
from lvlora.model import adapter_files
from lvlora.model.head import NumericHead
from lvlora.model.loading import BaseModel
from lvlora.series.dataset import FloatArray, Series
from lvlora.text.codec import Codec
from lvlora.text.grammar import Grammar
from lvlora.text.scaling import Scale, of_history

DEFAULT_DECIMALS = 2
_FITTING = (0.3, 40.0)
"""A stored scale serves a history whose largest number in the text is in this range."""
_LEAST_CONTEXT = 0.5
"""A long horizon is forecast in pieces that leave at least this share of the window to history."""


@dataclass(frozen=True)
class Forecast:
    """The futures of one series.

    Attributes:
        series: its id.
        time: (H,) continues the history's time.
        samples: (S, H, V) in original units.
        scale: that was used; context: steps of history that the model saw.
    """

    series: str
    time: FloatArray
    samples: FloatArray
    scale: Scale
    context: int

    @property
    def median(self) -> FloatArray:
        """(H, V): the pointwise median of the samples; the point forecast."""
        return np.asarray(np.median(self.samples, axis=0), dtype=np.float64)

    @property
    def mean(self) -> FloatArray:
        """(H, V)."""
        return np.asarray(self.samples.mean(axis=0), dtype=np.float64)

    def quantile(self, level: float) -> FloatArray:
        """(H, V): an empirical quantile with linear interpolation."""
        return np.asarray(np.quantile(self.samples, level, axis=0), dtype=np.float64)


@dataclass
class Usage:
    """What forecasting took."""

    price: Price = NOTHING
    trace: Trace = field(default_factory=Trace)


class Forecaster:
    """Forecasts of a loaded model.

    Attributes:
        name: of the model and its adapter, for tables.
        decimals: of each number.
        scale: a data set's scale (from the training split, or stored with the adapter); without
            one each history has its own.
        usage: what all calls so far have cost.
    """

    def __init__(
        self, base: BaseModel, head: NumericHead | None = None, *, decimals: int = DEFAULT_DECIMALS,
        scale: Scale | None = None, adapter: str | None = None, max_rows: int | None = None,
    ) -> None:  # fmt: skip
        self.base = base
        self.head = head if head is not None else NumericHead(base.module, base.alphabet)
        self.decimals = decimals
        self.scale = scale
        self.adapter = adapter
        self.usage = Usage()
        self._max_rows = max_rows
        self._decoder = Decoder(base, self.head)

    @classmethod
    def with_adapter(
        cls, base: BaseModel, info: adapter_files.AdapterInfo | None, *, decimals: int | None = None
    ) -> Self:
        """Attach an adapter and take over its codec and scale; None is zero-shot."""
        if info is None:
            return cls(base, decimals=DEFAULT_DECIMALS if decimals is None else decimals)
        head = adapter_files.attach(base, info)
        stored = info.facts.get("scale")
        try:
            scale = None if stored is None else Scale.from_dict(stored)
            trained = int(info.facts.get("decimals", DEFAULT_DECIMALS))
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"{info.folder}: lvlora.json cannot be used: {error}") from None
        name = info.folder.parent.name if info.folder.name == "adapter" else info.folder.name
        return cls(
            base,
            head,
            decimals=trained if decimals is None else decimals,
            scale=scale,
            adapter=name,
        )

    @property
    def name(self) -> str:
        """For tables: the model, and its adapter."""
        return (
            f"{self.base.name} + {self.adapter}" if self.adapter else f"{self.base.name} zero-shot"
        )

    def predict(
        self, histories: Sequence[Series], horizon: int, sampling: Sampling,
        *, context: int | None = None, progress: Callable[[int], None] | None = None,
    ) -> list[Forecast]:  # fmt: skip
        """Samples of each history's future.

        Args:
            histories: series whose values are all known; V may differ between calls, not within.
            horizon: H steps.
            context: use only this many last steps.
            progress: told how many futures were finished.

        Returns:
            one `Forecast` a history, in order; samples (S, H, V).
        """
        plans = [self._plan(h, horizon, context) for h in histories]
        names = [h.id for h in histories]
        piece = min((p.piece for p in plans), default=horizon)
        # every sample has a history of its own as soon as the first piece is appended to it
        pasts = [[p.numbers] * sampling.n_futures for p in plans]
        futures: list[list[FloatArray]] = [
            [np.empty((0, p.codec.n_variables)) for _ in range(sampling.n_futures)] for p in plans
        ]
        trace = Trace()
        for begin in range(0, horizon, piece):
            steps = min(piece, horizon - begin)
            drawn = self._draw(
                plans, names, pasts, steps, sampling, begin, trace, progress
            )  # fmt: skip
            for i, samples in enumerate(drawn):
                for s, numbers in enumerate(samples):
                    futures[i][s] = np.concatenate([futures[i][s], numbers])
                    pasts[i][s] = np.concatenate([pasts[i][s], numbers])[-plans[i].window :]
        self.usage.trace.add(trace)
        self.usage.price += pricing.price_of(self, trace)
        return [
            Forecast(
                series=h.id,
                time=continue_time(h.time, horizon),
                samples=p.scale.invert(np.stack(f)),
                scale=p.scale,
                context=len(p.numbers),
            )
            for h, p, f in zip(histories, plans, futures, strict=True)
        ]

    def predict_quantiles(
        self, histories: Sequence[Series], horizon: int, sampling: Sampling,
        levels: Sequence[float] = (0.1, 0.5, 0.9),
    ) -> tuple[FloatArray, FloatArray]:  # fmt: skip
        """(n, H, V, levels) quantiles and (n, H, V) means."""
        forecasts = self.predict(histories, horizon, sampling)
        quantiles = np.stack([np.stack([f.quantile(q) for q in levels], -1) for f in forecasts])
        return quantiles, np.stack([f.mean for f in forecasts])

    def most(
        self, histories: Sequence[Series], horizon: int, sampling: Sampling,
        *, context: int | None = None,
    ) -> Price:  # fmt: skip
        """The most that `predict` with these arguments can cost."""
        plans = [self._plan(h, horizon, context) for h in histories]
        if not plans:
            return NOTHING
        texts = [p.codec.encode(p.numbers) for p in plans]
        digits = max(
            Grammar.for_history(p.codec, t).max_integer_digits
            for p, t in zip(plans, texts, strict=True)
        )
        n_variables = plans[0].codec.n_variables
        per_number = 1 + digits + 1 + self.decimals + 1
        piece = min(p.piece for p in plans)
        price = NOTHING
        for begin in range(0, horizon, piece):
            # later pieces read one history a future
            n_series = len(plans) * (1 if begin == 0 else sampling.n_futures)
            price += pricing.most(
                self, n_series=n_series, n_futures=sampling.n_futures if begin == 0 else 1,
                history_tokens=max(map(len, texts)) if begin == 0 else self.base.max_positions,
                horizon=min(piece, horizon - begin), tokens_per_number=per_number,
                n_variables=n_variables,
            )  # fmt: skip
        return price

    def context_note(self, histories: Sequence[Series], forecasts: Sequence[Forecast]) -> str:
        """A sentence when histories were cut from the left, else empty."""
        cut = [
            (len(h), f.context)
            for h, f in zip(histories, forecasts, strict=True)
            if f.context < len(h)
        ]
        if not cut:
            return ""
        before, after = cut[0]
        return (
            f"{len(cut)} of {len(histories)} histories were cut from the left "
            f"({before} to the last {after} steps for the first): the model reads "
            f"{self.base.max_positions} tokens"
        )

    def _plan(self, history: Series, horizon: int, context: int | None) -> _Plan:
        if len(history) == 0:
            raise DataError(f"series {history.id!r}: the history is empty")
        codec = Codec(self.decimals, history.values.shape[1])
        used = (
            history
            if context is None
            else history.steps(max(0, len(history) - context), len(history))
        )
        scale = self._scale_for(used)
        numbers = scale.apply(used.values)
        # a future step is taken to be as long as the average past one; rotary positions a little
        # beyond the model's range do no harm
        per_step = len(codec.encode(numbers)) / len(numbers)
        readable = int((self.base.max_positions - 1) / per_step)
        fits = len(numbers) + horizon <= readable
        piece = horizon if fits else min(horizon, max(1, int(readable * (1 - _LEAST_CONTEXT))))
        window = max(1, readable - piece)
        return _Plan(codec, scale, numbers[-window:], window, piece)

    def _scale_for(self, history: Series) -> Scale:
        """The stored scale where it fits the history, else the history's own."""
        stored = self.scale
        if stored is None:
            return of_history(history)
        if len(stored.divisors) != history.values.shape[1]:
            if len(set(stored.divisors)) > 1:
                return of_history(history)
            stored = Scale(stored.divisors[:1] * history.values.shape[1], stored.rule)
        numbers = np.abs(stored.apply(history.values))
        top = float(np.max(numbers[np.isfinite(numbers)], initial=0.0))
        return stored if _FITTING[0] <= top <= _FITTING[1] else of_history(history)

    def _draw(
        self, plans: Sequence[_Plan], names: Sequence[str],
        pasts: Sequence[Sequence[FloatArray]], steps: int, sampling: Sampling, begin: int,
        trace: Trace, progress: Callable[[int], None] | None,
    ) -> list[list[FloatArray]]:  # fmt: skip
        """Numbers (steps, V) of the next piece, for each history and sample."""
        shared = begin == 0
        prompts: list[Prompt] = []
        for i, (plan, past) in enumerate(zip(plans, pasts, strict=True)):
            for s in range(1 if shared else sampling.n_futures):
                text = plan.codec.encode(past[s])
                key = names[i] if shared else f"{names[i]}\x1f{begin}\x1f{s}"
                prompts.append(Prompt(key, text, Grammar.for_history(plan.codec, text)))
        one = sampling if shared else Sampling(
            1, sampling.greedy, sampling.temperature, sampling.top_p, sampling.seed
        )  # fmt: skip
        texts = self._decoder.decode(
            prompts, steps, one, max_rows=self._rows_at_a_time(plans, steps), trace=trace,
            progress=progress,
        )  # fmt: skip
        flat = [t for group in texts for t in group]
        per = sampling.n_futures
        return [
            [plan.codec.decode(t) for t in flat[i * per : (i + 1) * per]]
            for i, plan in enumerate(plans)
        ]

    def _rows_at_a_time(self, plans: Sequence[_Plan], steps: int) -> int:
        """Rows whose caches fit into about 2 GiB."""
        if self._max_rows is not None:
            return self._max_rows
        shape = self.base.shape
        tokens = self.base.max_positions
        if plans:
            longest = max(len(p.codec.encode(p.numbers)) for p in plans)
            step = max(longest // max(1, len(p.numbers)) for p in plans) + 4
            tokens = min(tokens, longest + steps * step + 256)
        item = 2 if self.base.placement.dtype.itemsize == 2 else 4
        row = 2 * shape.layers * shape.kv_heads * shape.head_dim * tokens * item
        return int(max(1, min(1024, 2 * 2**30 // row)))


@dataclass(frozen=True)
class _Plan:
    """How one history is read: numbers (T, V) in text units, at most ``window`` steps of them;
    futures are drawn ``piece`` steps at a time."""

    codec: Codec
    scale: Scale
    numbers: FloatArray
    window: int
    piece: int


def continue_time(time: FloatArray, horizon: int) -> FloatArray:
    """(H,) the median interval of the history, repeated."""
    interval = float(np.median(np.diff(time))) if len(time) > 1 else 1.0
    future: FloatArray = time[-1] + interval * np.arange(1, horizon + 1)
    return future


def to_rows(
    forecasts: Sequence[Forecast], variables: Sequence[str], levels: Sequence[float],
    time_name: str = "time",
) -> list[dict[str, Any]]:  # fmt: skip
    """A long table: one row a series, time and variable, with median, mean and quantiles."""
    rows: list[dict[str, Any]] = []
    for forecast in forecasts:
        quantiles = {level: forecast.quantile(level) for level in levels}
        median, mean = forecast.median, forecast.mean
        for h, t in enumerate(forecast.time):
            for v, variable in enumerate(variables):
                rows.append(
                    {
                        "id": forecast.series,
                        time_name: float(t),
                        "variable": variable,
                        "median": float(median[h, v]),
                        "mean": float(mean[h, v]),
                        **{f"{level:g}": float(q[h, v]) for level, q in quantiles.items()},
                    }
                )
    return rows
