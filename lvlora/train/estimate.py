"""How long a run will take and how much memory, from a few steps of it.

The steps are real ones
with the real optimiser; the adapter that they begin is thrown away with the process.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lvlora import durable
from lvlora.flops.budget import NOTHING, Price
from lvlora.forecast.estimate import Estimate
from lvlora.model.devices import peak_bytes
from lvlora.train import loop
from lvlora.train.loop import Loaded
from lvlora.train.validation import add_rivals, keep_forecasts

_LEAST_STEPS, _MOST_STEPS, _SECONDS = 2, 20, 2.0
"""The probe takes steps until it has had so many seconds of them."""


@dataclass(frozen=True)
class RunEstimate:
    """What a run will take on this machine.

    Attributes:
        first_seconds: of the first step, in which memory is had and layers are compiled.
        step_seconds: of each further one; validation_seconds: of each validation.
        ending_seconds: of rivals, figures and the page, after the last step.
        whole: steps, validations and ending together; what comes before is not in it.
    """

    first_seconds: float
    step_seconds: float
    validation_seconds: float
    ending_seconds: float
    whole: Estimate


def of_run(loaded: Loaded) -> RunEstimate:
    """A fresh run from its first step to its last; the loaded model is used up by it."""
    seconds, spent = _steps(loaded)
    first, each = seconds[0], statistics.median(seconds[1:] or seconds)
    validation = 0.0
    if loaded.validator is not None:
        found = loaded.validator.estimate()
        validation, spent = found.seconds, spent + found.probe
    ending = _ending(loaded)
    whole = (
        ending + first + (loaded.plan.n_steps - 1) * each + loaded.plan.n_validations * validation
    )
    peak = peak_bytes(loaded.base.placement.device)
    if loaded.validator is not None:
        peak = max(peak, found.peak_bytes)
    # saving holds the adapter's tensors twice beside those of the model
    peak += 2 * sum(q.numel() * q.element_size() for q in loaded.parameters.values())
    return RunEstimate(first, each, validation, ending, Estimate(whole, peak, spent))


def _ending(loaded: Loaded) -> float:
    """Seconds of the comparison and the pictures of a run like this; their memory is had after it.

    Libraries that draw and fit are loaded by then, which is more than all the pictures take.
    """
    from lvlora.report.document import Picture
    from lvlora.report.drawing import style
    from lvlora.report.page import Image
    from lvlora.report.run.forecasts import forecasts_of
    from lvlora.report.run.training import training_figure

    begin, validator = time.perf_counter(), loaded.validator
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "validation.json"
        if validator is not None and validator.part.histories:
            # the last value of each history: the pictures don't ask whose forecast it is
            last = [np.nan_to_num(h.values[-1:]) for h in validator.part.histories]
            point = np.stack([np.repeat(value, validator.part.horizon, axis=0) for value in last])
            keep_forecasts(file, validator.part.scored, point, "kept", 1)
            add_rivals(file, validator.part.scored, loaded.plan.train)
            for block in forecasts_of(durable.read_json_object(file, 2**28), 1):
                if isinstance(block, Picture):
                    Image.of(block)
    rows = [{"step": n, "loss": 1.0 / n, "flops": 1} for n in range(1, loaded.plan.n_steps + 1)]
    for kind in ("png", "svg"):
        style.render(training_figure(rows), kind)
    return time.perf_counter() - begin


def _steps(loaded: Loaded) -> tuple[list[float], Price]:
    settings = loaded.plan.settings
    begin, seconds, spent = time.perf_counter(), [], NOTHING
    for step in loop.steps(
        list(loaded.parameters.values()),
        loaded.optimizers,
        loaded.objective.loss_sum,
        loaded.plan.windows,
        loaded.plan.learning_rate,
        first=0,
        last=min(loaded.plan.n_steps, _MOST_STEPS),
        accumulation=settings.accumulation,
        clip_norm=settings.clip_norm,
        seed=loaded.plan.dropout_seed,
    ):
        seconds.append(step.seconds)
        spent += loaded.plan.trained.step(step.shapes)
        enough = time.perf_counter() - begin - seconds[0] > _SECONDS
        if len(seconds) > _LEAST_STEPS and enough:
            break
    return seconds, spent
