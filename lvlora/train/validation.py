"""Validation during training: the loss of the validation part, and the error of its forecasts.

Knows: which series, which windows, what it costs at most. Does not know: when, or what for.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

from lvlora.flops import prices
from lvlora.flops.budget import NOTHING, Price
from lvlora.flops.executed import Head
from lvlora.flops.trainable import Lora
from lvlora.forecast.estimate import Estimate, of_forecasts
from lvlora.forecast.forecaster import Forecaster
from lvlora.forecast.sampling import Sampling
from lvlora.model.devices import peak_bytes
from lvlora.model.head import NumericHead
from lvlora.model.loading import BaseModel
from lvlora.series.dataset import Dataset, FloatArray, Series
from lvlora.series.histories import cut
from lvlora.settings.base import WindowStart
from lvlora.settings.training import LearningSettings
from lvlora.text.codec import Codec
from lvlora.text.scaling import Scale
from lvlora.text.windows import Batch, Windows
from lvlora.train.compilation import as_written
from lvlora.train.objective import Objective
from lvlora.train.step_plan import USUAL, Validations, choose_validations
from lvlora.train.validation_file import Scored

_GREEDY = Sampling(samples=1, greedy=True)
_LEAST_STEPS = 4
_MOST_STEPS = 100
"""Forecasts of longer series are scored on their last hundred steps."""


@dataclass(frozen=True)
class Validation:
    """What one validation found: nats per target; mean absolute error in original units.

    tokens: targets of the loss, and tokens that the forecasts wrote.
    scored, point: what it forecast, if anything, and how: (n, H, V).
    """

    loss: float
    mae: float | None
    seconds: float
    tokens: int
    price: Price
    scored: Scored | None = field(default=None, compare=False, repr=False)
    point: FloatArray | None = field(default=None, compare=False, repr=False)

    def score(self, objective: str) -> float:
        """What is to be small: ``error`` (the loss where no forecast can be scored) or ``loss``."""
        score = score_of({"loss": self.loss, "mae": self.mae}, objective)
        assert score is not None  # there is a loss
        return score


def score_of(found: Mapping[str, float | None] | None, objective: str) -> float | None:
    """`Validation.score` of one that is known by its ``loss`` and ``mae``; None of none."""
    if found is None:
        return None
    loss, mae = found.get("loss"), found.get("mae")
    return loss if objective == "loss" or mae is None else mae


def how_thorough(
    settings: LearningSettings, per_step: Price, windows: Windows, part: Dataset
) -> Validations:
    """As the settings say, or as thorough as the run's length allows.

    Args:
        windows: that the run trains on.
        part: the validation part.
    """
    if settings.validation_series is not None:
        return Validations(settings.validation_series, USUAL.times)
    codec = Codec(settings.decimals, len(part.variables), settings.number_format)
    n_steps, tokens_a_step = max(map(len, part)), codec.n_variables * codec.usual_tokens
    horizon = min(n_steps, _MOST_STEPS) // 2
    return choose_validations(
        settings,
        per_step,
        tokens_per_step=settings.batch_size * settings.accumulation * windows.width,
        tokens_read=min(n_steps * tokens_a_step, windows.width),
        tokens_a_step=tokens_a_step,
        calls_a_step=codec.n_variables * (codec.decimals + 1),
        horizon=horizon,
    )


class Validator:
    """The validation part of a run, ready to be scored again and again.

    Greedy forecasts of the second half of up to ``n_series`` series from their first half (of its
    first ``horizon`` steps, if given): the same series, windows and greedy choices every time.
    """

    def __init__(
        self,
        base: BaseModel,
        objective: Objective,
        part: Dataset,
        *,
        scale: Scale,
        codec: Codec,
        seq_len: int,
        batch_size: int,
        n_series: int,
        lora: Lora,
        head: Head,
        max_memory: int | None = None,
        horizon: int | None = None,
        window_start: WindowStart = "random",
    ) -> None:
        chosen = part.select([s.id for s in part][:n_series])
        self.n_series = len(chosen)
        self.base = base
        self.objective = objective
        self.scale = scale
        self.codec = codec
        self.lora = lora
        self.head = head
        self.max_memory = max_memory
        windows = Windows(
            chosen,
            scale,
            codec,
            base.alphabet,
            seq_len=seq_len,
            batch_size=min(batch_size, len(chosen)),
            seed=0,
            window_start=window_start,
        )
        self.batches: list[Batch] = []
        for begin in range(0, len(windows.series), windows.batch_size):
            batch = windows.batch(len(self.batches))
            rows = len(windows.series) - begin  # the last batch would go on with the next epoch
            self.batches.append(Batch(batch.inputs[:rows], batch.targets[:rows]))
        tails = [s.steps(max(0, len(s) - _MOST_STEPS), len(s)) for s in chosen]
        tails = [s for s in tails if len(s) >= _LEAST_STEPS]
        half = min((len(s) // 2 for s in tails), default=0)
        self.horizon = min(half, horizon or half)
        cuts = [cut(s, len(s) - half, self.horizon) for s in tails]
        cuts = [c for c in cuts if _has_values(c.history) and _has_values(c.future)]
        self.histories: list[Series] = [c.history for c in cuts]
        futures = [c.future for c in cuts]
        self.scored = Scored(self.histories, futures, part.variables, part.time_name)

    def loss_price(self) -> Price:
        """Exact: the forward passes of the loss."""
        shapes = [b.inputs.shape for b in self.batches]
        return sum(
            (
                prices.validation_batch(self.base.shape, b, s, lora=self.lora, head=self.head)
                for b, s in shapes
            ),
            NOTHING,
        )

    def most(self) -> Price:
        """The most that one validation can cost."""
        if not self.histories:
            return self.loss_price()
        return self.loss_price() + self._forecaster().at_most(self.histories, self.horizon, _GREEDY)

    def run(self) -> Validation:
        """Score the model as it is now."""
        with as_written():
            return self._run()

    def _run(self) -> Validation:
        begin = time.perf_counter()
        module = self.base.module
        training = [m for m in module.modules() if m.training]
        module.eval()
        total, n_targets = 0.0, 0
        with torch.no_grad():
            for batch in self.batches:
                total += float(self.objective.loss_sum(batch))
                n_targets += batch.n_targets
        mae, point, price, tokens = None, None, self.loss_price(), n_targets
        if self.histories:
            forecaster = self._forecaster()
            forecasts = forecaster.predict(self.histories, self.horizon, _GREEDY)
            point = np.stack([f.median for f in forecasts])
            mae = float(np.nanmean(self.scored.errors(point)))
            price += forecaster.usage.price
            tokens += sum(m for _, m in forecaster.usage.trace.futures)
        for part in training:
            part.training = True
        seconds = time.perf_counter() - begin
        return Validation(total / n_targets, mae, seconds, tokens, price, self.scored, point)

    def estimate(self) -> Estimate:
        """How long one validation takes, from one batch of its loss and a few forecasts."""
        with as_written(), torch.no_grad():
            self.objective.loss_sum(self.batches[0])  # the first one only makes room
            begin = time.perf_counter()
            self.objective.loss_sum(self.batches[0])
            seconds = (time.perf_counter() - begin) * len(self.batches)
            probe = prices.validation_batch(
                self.base.shape, *self.batches[0].inputs.shape, lora=self.lora, head=self.head
            )
            if not self.histories:
                device = self.base.placement.device
                return Estimate(seconds, peak_bytes(device), 2 * probe)
            found = of_forecasts(self._forecaster(), self.histories, self.horizon, _GREEDY)
        return Estimate(seconds + found.seconds, found.peak_bytes, 2 * probe + found.probe)

    def _forecaster(self) -> Forecaster:
        # a whole head that is trained moves on, so its rows are taken anew
        head = self.objective.head or NumericHead(self.base.module, self.base.alphabet)
        return Forecaster(
            self.base,
            head,
            decimals=self.codec.decimals,
            scale=self.scale,
            max_memory=self.max_memory,
            number_format=self.codec.number_format,
        )


def _has_values(series: Series) -> bool:
    """Whether there is a value to forecast from, or to compare with."""
    return bool(np.isfinite(series.values).any())
