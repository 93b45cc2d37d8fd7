"""How long a run will take and how much memory, from a few steps of it.

Knows: a prepared run, the loop, validation. Does not know: files, ledgers. The steps are real ones
with the real optimiser; the adapter that they begin is thrown away with the process.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

from lvlora.flops.budget import NOTHING, Price
from lvlora.forecast.estimate import Estimate
from lvlora.model.devices import peak_bytes
from lvlora.train import loop
from lvlora.train.setup import Prepared

_LEAST_STEPS, _MOST_STEPS, _SECONDS = 2, 20, 2.0
"""The probe takes steps until it has had so many seconds of them."""


@dataclass(frozen=True)
class RunEstimate:
    """What a run will take on this machine.

    Attributes:
        first_seconds: of the first step, in which memory is had and layers are compiled.
        step_seconds: of each further one; validation_seconds: of each validation.
        whole: steps and validations together; what comes before and after is not in it.
    """

    first_seconds: float
    step_seconds: float
    validation_seconds: float
    whole: Estimate


def of_run(prepared: Prepared) -> RunEstimate:
    """A fresh run from its first step to its last; the prepared model is used up by it."""
    seconds, spent = _steps(prepared)
    first, each = seconds[0], statistics.median(seconds[1:] or seconds)
    validation, n_validations = 0.0, 0
    if prepared.validator is not None:
        n_validations = 1 + len(prepared.validate_at)
        found = prepared.validator.estimate()
        validation, spent = found.seconds, spent + found.probe
    whole = first + (prepared.n_steps - 1) * each + n_validations * validation
    peak = peak_bytes(prepared.base.placement.device)
    if prepared.validator is not None:
        peak = max(peak, found.peak_bytes)
    return RunEstimate(first, each, validation, Estimate(whole, peak, spent))


def _steps(prepared: Prepared) -> tuple[list[float], Price]:
    settings = prepared.settings
    begin, seconds, spent = time.perf_counter(), [], NOTHING
    for step in loop.steps(
        list(prepared.parameters.values()), prepared.optimizers, prepared.objective.loss_sum,
        prepared.windows, prepared.learning_rate, first=0, last=min(prepared.n_steps, _MOST_STEPS),
        accumulation=settings.accumulation, clip_norm=settings.clip_norm,
        seed=prepared.dropout_seed,
    ):  # fmt: skip
        seconds.append(step.seconds)
        spent += prepared.step_price(step.shapes)
        enough = time.perf_counter() - begin - seconds[0] > _SECONDS
        if len(seconds) > _LEAST_STEPS and enough:
            break
    return seconds, spent
