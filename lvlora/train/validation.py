"""Validation during training: the loss of the validation part, and the error of its forecasts."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

from lvlora.flops.budget import NOTHING, Price
from lvlora.flops.prices import Trained
from lvlora.forecast.estimate import Estimate, of_forecasts
from lvlora.forecast.forecaster import Forecaster
from lvlora.forecast.plan import Plan
from lvlora.forecast.pricing import updates_of
from lvlora.forecast.sampling import Sampling
from lvlora.model.devices import peak_bytes
from lvlora.model.head import NumericHead
from lvlora.model.loading import BaseModel, Outline
from lvlora.series.dataset import Dataset, FloatArray, Series
from lvlora.series.histories import Cut, cut
from lvlora.text.windows import Batch, Windows
from lvlora.train import held_out
from lvlora.train.compilation import as_written
from lvlora.train.objective import Objective
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

    @property
    def score(self) -> float:
        """What is to be small: the error, or the loss where no forecast can be scored."""
        return self.loss if self.mae is None else self.mae


def score_of(facts: Mapping[str, float | None] | None) -> float | None:
    """`Validation.score` of one that is known by its ``loss`` and ``mae``; None of none."""
    if facts is None:
        return None
    mae = facts.get("mae")
    return facts.get("loss") if mae is None else mae


class ValidationPart:
    """What validations score: the loss of some series, and forecasts of the end of each.

    Greedy forecasts of the second half of each series from its first half; or, where steps are held
    out, of these from what comes before, in several windows where there are fewer than six series,
    and the loss of these steps alone. The same series, windows and greedy choices every time. No
    weights are needed to price them.

    Args:
        windows: of what is trained on, whose text, scale and cut are those of validation.
        chosen: the series that are scored.
        n_held_out: steps at their ends that are not trained on; 0: the series are not at all.

    Attributes:
        batches: of the loss.
        scored: histories and futures, each of ``horizon`` steps.
    """

    def __init__(self, windows: Windows, chosen: Dataset, n_held_out: int = 0) -> None:
        self.n_series = len(chosen)
        self.scale, self.codec = windows.scale, windows.codec
        if n_held_out:
            self.batches = windows.ends_of(chosen, n_held_out)
            cuts = held_out.windows_of(chosen, n_held_out, _MOST_STEPS)
        else:
            self.batches = _whole_series(windows.of_others(chosen))
            cuts = _second_halves(chosen)
        self.horizon = min((len(c.future) for c in cuts), default=0)
        cuts = [c for c in cuts if _has_values(c.history) and _has_values(c.future)]
        self.histories: list[Series] = [c.history for c in cuts]
        futures = [c.future for c in cuts]
        self.scored = Scored(
            self.histories, futures, chosen.variables, chosen.time_name, n_held_out
        )

    def loss_price(self, trained: Trained) -> Price:
        """Exact: the forward passes of the loss."""
        return sum((trained.validation_batch(*b.inputs.shape) for b in self.batches), NOTHING)

    def at_most(self, trained: Trained, model: Outline, max_memory: int | None) -> Price:
        """The most that one validation can cost.

        Raises:
            SettingsError: not one forecast fits into ``max_memory`` bytes.
        """
        if not self.histories:
            return self.loss_price(trained)
        plan = Plan(
            model,
            updates_of(trained.lora, trained.shape),
            decimals=self.codec.decimals,
            number_format=self.codec.number_format,
            scale=self.scale,
            max_memory=max_memory,
        )
        return self.loss_price(trained) + plan.at_most(self.histories, self.horizon, _GREEDY)


class Validator:
    """A model and the validation part that it is scored on, again and again.

    Args:
        max_memory: bytes for the caches of forecasts.
    """

    def __init__(
        self,
        base: BaseModel,
        objective: Objective,
        part: ValidationPart,
        trained: Trained,
        max_memory: int | None = None,
    ) -> None:
        self.base = base
        self.objective = objective
        self.part = part
        self.trained = trained
        self.max_memory = max_memory

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
            for batch in self.part.batches:
                total += float(self.objective.loss_sum(batch))
                n_targets += batch.n_targets
        mae, point, price, tokens = None, None, self.part.loss_price(self.trained), n_targets
        if self.part.histories:
            forecaster = self._forecaster()
            forecasts = forecaster.predict(self.part.histories, self.part.horizon, _GREEDY)
            point = np.stack([f.median for f in forecasts])
            mae = float(np.nanmean(self.part.scored.errors(point)))
            price += forecaster.usage.price
            tokens += sum(m for _, m in forecaster.usage.trace.futures)
        for part in training:
            part.training = True
        seconds = time.perf_counter() - begin
        return Validation(total / n_targets, mae, seconds, tokens, price, self.part.scored, point)

    def estimate(self) -> Estimate:
        """How long one validation takes, from one batch of its loss and a few forecasts."""
        with as_written(), torch.no_grad():
            self.objective.loss_sum(self.part.batches[0])  # the first one only makes room
            begin = time.perf_counter()
            self.objective.loss_sum(self.part.batches[0])
            seconds = (time.perf_counter() - begin) * len(self.part.batches)
            probe = self.trained.validation_batch(*self.part.batches[0].inputs.shape)
            if not self.part.histories:
                device = self.base.placement.device
                return Estimate(seconds, peak_bytes(device), 2 * probe)
            found = of_forecasts(
                self._forecaster(), self.part.histories, self.part.horizon, _GREEDY
            )
        return Estimate(seconds + found.seconds, found.peak_bytes, 2 * probe + found.probe)

    def _forecaster(self) -> Forecaster:
        # a whole head that is trained moves on, so its rows are taken anew
        head = self.objective.head or NumericHead(self.base.module, self.base.alphabet)
        return Forecaster(
            self.base,
            head,
            decimals=self.part.codec.decimals,
            scale=self.part.scale,
            max_memory=self.max_memory,
            number_format=self.part.codec.number_format,
        )


def _whole_series(own: Windows) -> list[Batch]:
    """A row of each series."""
    batches: list[Batch] = []
    for begin in range(0, len(own.series), own.batch_size):
        batch = own.batch(len(batches))
        rows = len(own.series) - begin  # the last batch would go on with the next epoch
        batches.append(Batch(batch.inputs[:rows], batch.targets[:rows]))
    return batches


def _second_halves(chosen: Dataset) -> list[Cut]:
    """Of equally many steps, half of the shortest series'."""
    tails = [s.steps(max(0, len(s) - _MOST_STEPS), len(s)) for s in chosen]
    tails = [s for s in tails if len(s) >= _LEAST_STEPS]
    horizon = min((len(s) // 2 for s in tails), default=0)
    return [cut(s, len(s) - horizon, horizon) for s in tails]


def _has_values(series: Series) -> bool:
    """Whether there is a value to forecast from, or to compare with."""
    return bool(np.isfinite(series.values).any())
