"""Validation of a training: what it holds out, what it scores, and the gain that it measures.

Of few series, their own last steps are held out; of many, whole series.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from lvlora.answers import NOTHING, Price
from lvlora.data.dataset import Dataset, FloatArray, Series
from lvlora.data.splits import Cut, cut, last_windows
from lvlora.errors import SettingsError
from lvlora.flops.account import Trained
from lvlora.forecast.estimate import Benchmark, benchmark, benchmark_forecasts
from lvlora.forecast.language_model import LanguageModel
from lvlora.forecast.plan import OutlinedModel
from lvlora.forecast.pricing import updates_of
from lvlora.forecast.sampling import Sampling
from lvlora.model.loading import Outline
from lvlora.text.windows import Batch, Windows
from lvlora.train.record import Gain, Spending, Validation
from lvlora.train.settings import LearningSettings

_FEW_SERIES = 8
"""Fewer are validated by their last steps where nothing else is asked for."""
_SHARE = 4
"""Part of a series of middle length that is held out: one in so many, within these limits."""
_LEAST, _MOST = 4, 100
_WINDOWS = 6
"""Forecasts that a validation makes at least: several of each series where there are fewer."""
_LEAST_STEPS, _MOST_STEPS = 4, 100
"""Steps of a scored series: shorter ones are not forecast, of longer ones the last hundred."""
_SAMPLING = Sampling(samples=8)
"""As `lvlora forecast` draws, whose 20 futures have nearly the same median, for less."""


def held_out_steps(settings: LearningSettings, dataset: Dataset) -> int:
    """Return the steps to hold out of each series; 0: whole series are held out, or nothing is."""
    if not settings.validation:
        return 0
    lengths = [len(s) for s in dataset]
    longest = max(lengths, default=0)
    n_steps = settings.validation_steps
    if n_steps is None:
        if len(dataset) >= _FEW_SERIES or not len(dataset):
            return 0
        n_steps = min(max(int(np.median(lengths)) // _SHARE, _LEAST), _MOST)
        return n_steps if longest >= 2 * n_steps else 0
    if longest < 2 * n_steps:
        raise SettingsError(
            f"--validation-steps {n_steps}: no series has twice as many steps, "
            f"the longest {longest}",
            f"At most --validation-steps {longest // 2}; 0 holds out whole series.",
        )
    return n_steps


def trained_on(part: Dataset, n_steps: int) -> Dataset:
    """Return the series without the steps that are held out; of too short ones none are."""
    series = [s.steps(0, len(s) - n_steps) if len(s) >= 2 * n_steps else s for s in part]
    return replace(part, series=tuple(series)) if n_steps else part


def scorable(part: Dataset, n_steps: int) -> Dataset:
    """Return the series that are long enough for ``n_steps`` to be held out of each."""
    return replace(part, series=tuple(s for s in part if len(s) >= 2 * n_steps))


@dataclass(frozen=True)
class Scoring:
    """One validation that was made."""

    errors: Validation
    spending: Spending
    """Its tokens are targets of the loss, and tokens that the forecasts wrote."""
    maes: list[float | None]
    """Error of each forecast, to seven digits; empty where nothing was forecast."""


class ValidationPart:
    """Task of validations: the loss of some series, and medians of forecasts of their ends.

    The second half of each series is forecast from the first; of held-out steps, these, in several
    windows where there are few series. The same windows and random numbers every time.

    Args:
        windows: of what is trained on, whose text, scale and cut are those of validation.
        chosen: the series that are scored.
        n_held_out: steps at their ends that are not trained on; 0: the series are not at all.
    """

    def __init__(self, windows: Windows, chosen: Dataset, n_held_out: int = 0) -> None:
        self.n_series, self.n_held_out = len(chosen), n_held_out
        self.scale, self.codec = windows.scale, windows.codec
        if n_held_out:
            self.batches = windows.ends_of(chosen, n_held_out)
            cuts = _held_out(chosen, n_held_out)
        else:
            self.batches = _rows(windows.of_others(chosen))
            cuts = _second_halves(chosen)
        self.horizon = min((len(c.future) for c in cuts), default=0)
        # without a value there is nothing to forecast from, or to compare with
        pairs = [(c.history, c.future) for c in cuts]
        pairs = [p for p in pairs if all(np.isfinite(series.values).any() for series in p)]
        self.histories: list[Series] = [history for history, _ in pairs]
        self.futures: list[Series] = [future for _, future in pairs]

    def errors(self, point: FloatArray) -> FloatArray:
        """Return (n, H, V) absolute errors of forecasts, NaN where the truth is not known."""
        return np.asarray(np.abs(point - np.stack([f.values for f in self.futures])))

    def loss_price(self, trained: Trained) -> Price:
        """Return the exact price of the loss: its forward passes."""
        return sum((trained.validation_batch(*b.inputs.shape) for b in self.batches), NOTHING)

    def at_most(self, trained: Trained, model: Outline, max_memory: int | None) -> Price:
        """Return the most that one validation can cost, in ``max_memory`` bytes."""
        if not self.histories:
            return self.loss_price(trained)
        price = NOTHING
        for scale in (self.scale, None):  # without an adapter each history has its own
            outlined = OutlinedModel(
                model,
                updates_of(trained.lora, trained.shape),
                decimals=self.codec.decimals,
                number_format=self.codec.number_format,
                scale=scale,
                max_memory=max_memory,
            )
            price |= outlined.at_most(self.histories, self.horizon, _SAMPLING)
        return self.loss_price(trained) + price

    def score(
        self, forecaster: LanguageModel, loss_sum: Callable[[Batch], Tensor], trained: Trained
    ) -> Scoring:
        """Score a model as it is now, by the loss of a batch in nats and the prices of passes."""
        begin = time.perf_counter()
        training = [m for m in forecaster.base.module.modules() if m.training]
        forecaster.base.module.eval()
        total, n_targets = 0.0, 0
        with torch.no_grad():
            for batch in self.batches:
                total += float(loss_sum(batch))
                n_targets += batch.n_targets
        mae, price, tokens = None, self.loss_price(trained), n_targets
        maes: list[float | None] = []
        if self.histories:
            forecasts = forecaster.predict(self.histories, self.horizon, _SAMPLING)
            errors = self.errors(np.stack([f.median for f in forecasts]))
            mae = float(np.nanmean(errors))
            rounded = [float(f"{np.nanmean(e):.7g}") for e in errors]
            maes = [e if math.isfinite(e) else None for e in rounded]
            price += forecaster.usage.price
            tokens += sum(m for _, m in forecaster.usage.trace.futures)
        for module in training:
            module.training = True
        seconds = time.perf_counter() - begin
        spending = Spending(price=price, seconds=seconds, tokens=tokens)
        return Scoring(Validation(loss=total / n_targets, mae=mae), spending, maes)

    def benchmark(
        self, forecaster: LanguageModel, loss_sum: Callable[[Batch], Tensor], trained: Trained
    ) -> Benchmark:
        """Time a few forecasts of a validation, or, where there are none, batches of its loss."""
        if self.histories:
            return benchmark_forecasts(forecaster, self.histories, self.horizon, _SAMPLING)

        def losses() -> Iterator[Price]:
            for batch in self.batches:
                loss_sum(batch)
                yield trained.validation_batch(*batch.inputs.shape)

        return benchmark(losses(), forecaster.base.placement.device)


def _rows(windows: Windows) -> list[Batch]:
    """Return a row of each series."""
    batches: list[Batch] = []
    for begin in range(0, len(windows.series), windows.batch_size):
        batch = windows.batch(len(batches))
        rows = len(windows.series) - begin  # the last batch would go on with the next epoch
        batches.append(Batch(batch.inputs[:rows], batch.targets[:rows]))
    return batches


def _held_out(chosen: Dataset, n_steps: int) -> list[Cut]:
    """Return cuts of the held-out steps: one of each series, or several after one another."""
    n_windows = min(-(-_WINDOWS // len(chosen)), n_steps)
    horizon = n_steps // n_windows
    cuts = [c for series in chosen for c in last_windows(series, horizon, n_windows)]
    starts = [max(0, len(c.history) + horizon - _MOST_STEPS) for c in cuts]
    return [
        replace(c, history=c.history.steps(start, len(c.history)))
        for c, start in zip(cuts, starts, strict=True)
    ]


def _second_halves(chosen: Dataset) -> list[Cut]:
    """Return cuts of equally many steps, half of the shortest series'."""
    tails = [s.steps(max(0, len(s) - _MOST_STEPS), len(s)) for s in chosen]
    tails = [s for s in tails if len(s) >= _LEAST_STEPS]
    horizon = min((len(s) // 2 for s in tails), default=0)
    return [cut(s, len(s) - horizon, horizon) for s in tails]


def gain_in(
    before: Sequence[float | None], after: Sequence[float | None], of: Literal["series", "windows"]
) -> Gain | None:
    """Return how much smaller ``after`` is in the mean, (n,) errors each, with Student's interval.

    None is no error; the answer is None where nothing can be compared.
    """
    from scipy.special import stdtrit

    if len(before) != len(after):
        return None
    gains = np.array(before, dtype=float) - np.array(after, dtype=float)
    gains = gains[np.isfinite(gains)]
    if not len(gains):
        return None
    mean, reach = float(gains.mean()), float("nan")
    if len(gains) > 1:
        quantile = stdtrit(len(gains) - 1, 0.975)  # scipy.stats takes a second to import
        reach = float(quantile * gains.std(ddof=1) / np.sqrt(len(gains)))
    return Gain(mean=mean, low=mean - reach, high=mean + reach, n=len(gains), of=of)
